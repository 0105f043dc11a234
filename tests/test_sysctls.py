"""sysctls: what a file says, what the kernel takes, and that nothing outside the lab's own network is ever touched."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import LabError
from harness.kernel import sysctls
from harness.kernel.sysctls import Setting

FIN_TIMEOUT = "net.ipv4.tcp_fin_timeout"


def host_has(key):
    return Path("/proc/sys", key.replace(".", "/")).read_text().strip()


@pytest.mark.parametrize(
    "key",
    ["kernel.hostname", "vm.swappiness", "fs.file-max", "net", "net.", "", ".net.ipv4", "net..x", "net.ipv4.",
     "net.ipv4/../../kernel/hostname", "net.ipv4.../../kernel", "net/ipv4/tcp_sack", "/proc/sys/net/ipv4/tcp_sack",
     "network.ipv4", "net.ipv4.tcp_sack\n", "net.ipv4.tcp sack", "net.ipv4.tcp_sack\0"],
)  # fmt: skip
def test_a_key_that_is_not_of_a_network_is_refused(key):
    with pytest.raises(LabError, match="never touches the host"):
        sysctls.read(key)


def test_nor_is_it_written():
    with pytest.raises(LabError, match="never touches the host"):  # a name that would do no harm
        sysctls.write(Setting("kernel.no_such_key", "1", optional=True))


@given(st.text("net.ipv4/_-\\\0 ", max_size=30).map("net".__add__))
@settings(deadline=None)
def test_no_key_leads_out_of_the_networks_folder(key):
    try:
        path = sysctls._path(key)
    except LabError:
        return
    assert path.is_relative_to("/proc/sys/net")
    assert ".." not in path.parts


def test_a_value_is_the_labs_own(lab):
    before = host_has(FIN_TIMEOUT)
    another = str(int(before) + 7)
    lab.set_sysctl(FIN_TIMEOUT, another)
    lab.set_sysctl("net.ipv4.ip_local_port_range", "45000 45001")
    assert lab.sysctl(FIN_TIMEOUT) == another
    assert lab.sysctl("net.ipv4.ip_local_port_range") == "45000 45001"
    assert host_has(FIN_TIMEOUT) == before


def test_an_unknown_key_is_told_its_nearest_neighbour(lab):
    for attempt in (
        lambda: lab.sysctl("net.ipv4.tcp_fin_timout"),
        lambda: lab.set_sysctl("net.ipv4.tcp_fin_timout", 1),
    ):
        with pytest.raises(
            LabError, match=r"no sysctl net\.ipv4\.tcp_fin_timout .*did you mean net\.ipv4\.tcp_fin_timeout\?"
        ):
            attempt()
    assert lab.sysctl("net.ipv4.tcp_fin_timout", default="none") == "none"


@pytest.mark.parametrize("key", ["net.ipv4", "net.ipv4.tcp_sack.deeper", "net.no_such_folder.tcp_sack"])
def test_a_folder_is_no_key_and_a_key_no_folder(lab, key):
    for attempt in (lambda: lab.sysctl(key), lambda: lab.set_sysctl(key, 1)):
        with pytest.raises(LabError, match="this kernel has no sysctl"):
            attempt()


@pytest.mark.parametrize(
    ("key", "value"), [("net.ipv4.tcp_syn_retries", 0), ("net.ipv4.tcp_syn_retries", 128), (FIN_TIMEOUT, "soon")]
)
def test_a_value_that_the_kernel_refuses_is_told_with_the_one_in_force(lab, key, value):
    with pytest.raises(LabError, match=rf"refuses {key} = '{value}' \(EINVAL\); in force: {lab.sysctl(key)}\. Hint"):
        lab.set_sysctl(key, value)


def test_a_key_of_the_whole_host_is_read_only_in_a_lab(lab):
    with pytest.raises(LabError, match=r"rmem_max .*(read-only in|in) a network namespace"):
        lab.set_sysctl("net.core.rmem_max", 1_000_000)


def test_an_optional_key_that_is_absent_is_forgiven():
    assert sysctls.write(Setting("net.ipv4.no_such_key", "1", optional=True)) is False
    with pytest.raises(LabError, match="no sysctl"):
        sysctls.write(Setting("net.ipv4.no_such_key", "1"))
