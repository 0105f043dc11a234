"""A private network without actors: what it costs, that it ends, and that it is never the host's."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness.errors import LabError, LabUnavailable
from harness.inside.channel import Channel
from harness.inside.network_keeper import NetworkKeeper, serve
from harness.kernel.sysctls import Setting
from harness.lab.sandbox import network
from tests.playing import GENEROUS_S, ROOT, clean_environment

RETRIES = "net.ipv4.tcp_syn_retries"

AS_AN_ORDINARY_USER = """
import ctypes, os
from harness.lab.sandbox import network
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: as a program is that this user has started
"""

COUNTED = """
import os, sys
def note(event, arguments):
    if event in ("os.fork", "os.exec", "os.posix_spawn", "subprocess.Popen"):
        os.write(2, f"{event}\\n".encode())
    if event == "socket.__new__" and arguments[1] == 17:  # AF_PACKET
        os.write(2, b"capture\\n")
sys.addaudithook(note)
from harness.cli.main import main
main(["explain", "docs/99-tuning.conf"])
"""


@pytest.fixture(autouse=True)
def _needs_namespaces():
    try:
        with network([]):
            pass
    except LabUnavailable as error:
        pytest.skip(str(error))


def run(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, env=clean_environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_explain_forks_once_and_starts_no_program_and_no_capture():
    output, notes = run(COUNTED).communicate()
    assert "net.ipv4.tcp_fin_timeout" in output
    assert notes.splitlines() == ["os.fork"]


def test_what_is_written_stays_inside():
    outside = Path("/proc/sys/net/ipv4/tcp_syn_retries").read_text()
    with network([Setting(RETRIES, "3")]) as one, network([]) as other:
        other.ask("write_sysctl", key=RETRIES, value="4")
        assert [each.ask("read_sysctl", key=RETRIES) for each in (one, other)] == ["3", "4"]
    assert Path("/proc/sys/net/ipv4/tcp_syn_retries").read_text() == outside


@pytest.mark.parametrize("closed_first", [0, 1])
def test_each_can_be_closed_while_another_is_open(closed_first):
    before = psutil.Process().children()
    stacks = [contextlib.ExitStack() for _ in range(2)]
    keepers = [stack.enter_context(network([])) for stack in stacks]
    stacks[closed_first].close()
    assert keepers[1 - closed_first].ask("read_sysctl", key=RETRIES)
    stacks[1 - closed_first].close()
    assert psutil.Process().children() == before


@pytest.mark.parametrize("as_user", ["", AS_AN_ORDINARY_USER], ids=["as I am", "ordinary user"])
def test_it_ends_with_a_parent_that_is_killed(as_user):
    story = (
        "from harness.lab.sandbox import network\n"
        "with network([]) as keeper:\n    print('open', flush=True)\n    input()"
    )
    with run(as_user + story) as parent:
        assert parent.stdout.readline() == "open\n"
        keepers = psutil.Process(parent.pid).children()
        parent.kill()
    assert len(keepers) == 1
    assert psutil.wait_procs(keepers, timeout=GENEROUS_S)[1] == []


def test_an_ordinary_user_may_set_sysctls_there():
    story = (
        f"with network([]) as keeper:\n    keeper.ask('write_sysctl', key='{RETRIES}', value='4')\n"
        f"    print(os.geteuid() != 0, keeper.ask('read_sysctl', key='{RETRIES}'))"
    )
    output, errors = run(AS_AN_ORDINARY_USER + story).communicate()
    assert output == "True 4\n", errors


def test_it_has_the_addresses_of_a_lab():
    before = set(psutil.Process().children())  # for example a helper of this worker
    with network([]) as keeper:
        assert keeper.ask("read_sysctl", key="net.ipv4.conf.lo.forwarding") == "0"
        (child,) = set(psutil.Process().children()) - before
        routes = Path(f"/proc/{child.pid}/net/fib_trie").read_text()
    assert "192.0.2.2" in routes


def test_the_network_of_the_host_is_refused():
    with pytest.raises(LabError, match="refuses to change anything there"):
        NetworkKeeper([], os.stat("/proc/self/ns/net").st_ino)


def test_an_error_at_the_set_up_reaches_the_caller():
    before = psutil.Process().children()
    with pytest.raises(LabError, match="this kernel has no sysctl"), network([Setting("net.ipv4.no_such_key", "1")]):
        pass
    assert psutil.Process().children() == before


class NoNetwork(NetworkKeeper):
    """A keeper that is set up at once, without a namespace."""

    def __init__(self) -> None:
        self.not_set, self.refused = [], []


def refuses(error: Exception) -> NetworkKeeper:
    raise error


@pytest.mark.parametrize(
    "set_up",
    [NoNetwork, lambda: refuses(LabError("no")), lambda: refuses(OSError("no"))],
    ids=["it stands", "an error of ours", "an error of the kernel"],
)
def test_a_keeper_ends_silently_if_its_caller_is_already_gone(set_up):
    ours, theirs = Channel.pair()
    theirs.close()
    serve(ours, set_up)
    ours.close()


def test_a_keeper_ends_silently_if_its_reply_is_never_read():
    """The next send then fails with ECONNRESET, not EPIPE (net/unix/af_unix.c, unix_release_sock)."""
    ours, theirs = Channel.pair()
    theirs.send((1, "read_sysctl", {"key": RETRIES}))

    class Gone(NoNetwork):
        def read_sysctl(self, key: str) -> tuple[object, tuple[int, ...]]:
            theirs.close()
            return "", ()

    serve(ours, Gone)
    ours.close()
