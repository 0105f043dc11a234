"""sysctls: what a file sets, what the kernel accepts, and that nothing outside the lab's own network is changed."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LabError, ReadOnlySysctl, SharedSysctl
from harness.explain.explain import Kind, accepted_range, explain
from harness.explain.profile import governing
from harness.explain.reference import reference_profile
from harness.inside import nursery
from harness.kernel import sysctls
from harness.kernel.netns_keys import belongs_to_a_namespace
from harness.kernel.sysctls import Setting
from harness.lessons import lessons
from harness.sysctl_files.lines import Line

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
    with pytest.raises(LabError, match="the lab never changes"):
        sysctls.read(key)


def test_it_is_not_written():
    with pytest.raises(LabError, match="the lab never changes"):  # a name that would do no harm
        sysctls.write(Setting("kernel.no_such_key", "1", optional=True))


@given(st.text("net.ipv4/_-\\\0 ", max_size=30).map("net".__add__))
def test_no_key_leads_outside_the_networks_folder(key):
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


def test_an_unknown_keys_verdict_suggests_the_nearest_one(lab):
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
def test_a_folder_is_not_a_key_and_a_key_not_a_folder(lab, key):
    for attempt in (lambda: lab.sysctl(key), lambda: lab.set_sysctl(key, 1)):
        with pytest.raises(LabError, match="this kernel has no sysctl"):
            attempt()


@pytest.mark.parametrize(
    ("key", "value"), [("net.ipv4.tcp_syn_retries", 0), ("net.ipv4.tcp_syn_retries", 128), (FIN_TIMEOUT, "soon")]
)
def test_a_refused_value_is_reported_with_the_current_one(lab, key, value):
    with pytest.raises(
        LabError, match=rf"refuses {key} = '{value}' \(EINVAL\); current value: {lab.sysctl(key)}\. Hint"
    ):
        lab.set_sysctl(key, value)


def test_a_host_wide_key_is_read_only_in_a_lab(lab):
    with pytest.raises(LabError, match=r"rmem_max .*(read-only in|in) a network namespace"):
        lab.set_sysctl("net.core.rmem_max", 1_000_000)


def test_an_optional_key_may_be_absent():
    assert sysctls.write(Setting("net.ipv4.no_such_key", "1", optional=True)) is False
    with pytest.raises(LabError, match="no sysctl"):
        sysctls.write(Setting("net.ipv4.no_such_key", "1"))


REACH_THE_HOST = [
    "net.ipv4.tcp_allowed_congestion_control", "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets",
    "net.netfilter.nf_conntrack_expect_max", "net.netfilter.nf_conntrack_log_invalid",
    "net.netfilter.nf_hooks_lwtunnel",
]  # fmt: skip
"""Keys that are in a namespace's tables, but do not belong only to the namespace."""

FROM_A_NEWER_KERNEL = "net.ipv4.tcp_from_a_newer_kernel"
NOT_THE_NAMESPACES = [*REACH_THE_HOST, FROM_A_NEWER_KERNEL, "net.core.rmem_max", "net.netfilter.nf_log_all_netns"]


class Files:
    """Ordinary files instead of /proc/sys/net: every key of this kernel and some more, all of them writable.

    The object is also a keeper that reads and writes them as a lab's keeper does.
    """

    def __init__(self, root: Path) -> None:
        real = {str(path.relative_to("/proc/sys")): path for path in Path("/proc/sys/net").rglob("*") if path.is_file()}
        added = [key.replace(".", "/") for key in NOT_THE_NAMESPACES]
        for name in {*real, *added}:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("1")
        (root / "net/ipv4/tcp_available_congestion_control").write_text("reno cubic bbr")
        (root / "net/ipv4/tcp_allowed_congestion_control").write_text("reno cubic")
        (root / "net/ipv4/tcp_congestion_control").write_text("reno")
        self._root = root
        self._before = self._values()

    def _values(self) -> dict[str, str]:
        files = [path for path in self._root.rglob("*") if path.is_file()]
        return {str(path.relative_to(self._root)).translate(sysctls._SWAP): path.read_text() for path in files}

    @property
    def keys(self) -> list[str]:
        return sorted(self._before)

    def changed(self) -> set[str]:
        return {key for key, value in self._values().items() if value != self._before[key]}

    def ask(self, command: str, key: str, value: str = "") -> str:
        if command == "read_sysctl":
            return sysctls.read(key)
        sysctls.write(Setting(key, value))
        return ""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(sysctls, "_ROOT", tmp_path)
    monkeypatch.setattr("harness.explain.explain.ROOT", tmp_path)
    return Files(tmp_path)


def test_only_what_is_known_to_be_the_namespaces_is_written(files):
    for key in files.keys:
        try:
            sysctls.write(Setting(key, "2"))
        except SharedSysctl:
            continue
        except LabError:
            assert key == "net.ipv4.tcp_congestion_control"
    assert files.changed().isdisjoint(NOT_THE_NAMESPACES)
    on_the_list = {key for key in files.keys if belongs_to_a_namespace(key)}
    assert files.changed() == on_the_list - {"net.ipv4.tcp_congestion_control"}
    assert len(on_the_list) > 200


@pytest.mark.parametrize("key", NOT_THE_NAMESPACES)
@pytest.mark.parametrize("value", ["1", "2", "no number"])
def test_explain_does_not_try_it_with_any_value(files, key, value):
    (verdict,) = explain([Line(key, value, "a.conf", 1, 1)], lambda _: "1", files)
    assert (verdict.kind, verdict.text[:11]) == (Kind.HOST_WIDE, "not tried: ")
    assert files.changed() == set()


@pytest.mark.parametrize("key", NOT_THE_NAMESPACES[1:])  # the first has no number
def test_its_range_is_not_searched(files, key):
    with pytest.raises(SharedSysctl):
        accepted_range(key, files)
    assert files.changed() == set()


def test_explain_has_the_reason_for_not_trying_a_key(files):
    lines = [Line(key, "2", "a.conf", 1, 1) for key in (REACH_THE_HOST[-1], FROM_A_NEWER_KERNEL)]
    assert [each.text.removeprefix("not tried: ") for each in explain(lines, lambda _: "1", files)] == [
        "it permanently enables a static branch of the whole machine (net/netfilter/nf_hooks_lwtunnel.c)",
        "it is not known to belong to a network namespace, so it might change the host",
    ]


def test_a_restricted_congestion_control_is_not_set(files):
    """Before Linux 5.13, setting one in a namespace allows it for every user of the machine (8d432592f30f)."""
    sysctls.write(Setting("net.ipv4.tcp_congestion_control", "cubic"))
    assert files.changed() == {"net.ipv4.tcp_congestion_control"}
    with pytest.raises(ReadOnlySysctl, match=r"would allow bbr to every user of this host \(allowed now: reno cubic\)"):
        sysctls.write(Setting("net.ipv4.tcp_congestion_control", "bbr"))
    assert sysctls.read("net.ipv4.tcp_congestion_control") == "cubic"


def test_every_key_that_the_lab_itself_sets_is_the_namespaces():
    named = {
        key
        for path in lessons.FOLDER.glob("*/*.py")
        for key in re.findall(r"net\.[a-z0-9_.]+[a-z0-9]", path.read_text())
    }
    used = {setting.key for setting in reference_profile()} | governing() | {*nursery._SIZED_BY_THE_TABLE}
    assert len(used) > 30
    assert {key for key in used if not belongs_to_a_namespace(key)} == set()
    written = {key for key in named if Path("/proc/sys", key.replace(".", "/")).is_file()}
    assert {key for key in written if not belongs_to_a_namespace(key)} <= {
        "net.ipv4.tcp_available_congestion_control", "net.ipv4.tcp_allowed_congestion_control",
        "net.core.rmem_max", "net.core.wmem_max",
    }  # fmt: skip
