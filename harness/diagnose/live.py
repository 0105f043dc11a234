"""Snapshots of a live network namespace: this process's own, another process's, or one named by `ip netns`."""

import contextlib
import errno
import os
import pickle
import platform
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.diagnose import snapshot
from harness.diagnose.pasted import proc_net_tcp
from harness.errors import LabError, LabUnavailable
from harness.evidence import sockets
from harness.kernel import namespace

_NAMED = Path("/run/netns")  # ip-netns(8)
_PART = 1 << 16

_NOT_LOADED = (
    "the sockets' backlogs, memory and tcp_info: the module tcp_diag is not loaded, and diagnose loads no module. "
    "Hint: `ss -t` loads it"
)

LONGEST_INTERVAL_S = 24 * 3600.0
"""The longest interval: two looks that are farther apart show little of the time between them."""


@dataclass(frozen=True, slots=True)
class Source:
    """An open namespace. `pid`: a process in it, for its files in /proc. `place`: its name in reports."""

    table: socket.socket
    pid: int
    sysctls: dict[str, str]
    place: str

    def take(self) -> snapshot.Snapshot:
        """Take a snapshot. LabUnavailable if /proc does not show this process under its own number."""
        check_proc()
        pids = snapshot.pids_in_namespace_of(self.pid)
        if may_ask():
            return snapshot.take(sockets.read(self.table, detailed=True), self.pid, pids, self.sysctls)
        rows = [row for name in ("tcp", "tcp6") for row in _proc_rows(self.pid, name)]
        return snapshot.take(rows, self.pid, pids, self.sysctls, (_NOT_LOADED,))


def check_proc(proc: Path = Path("/proc")) -> None:
    """In a new PID namespace that keeps the old /proc, the files of `pid` would be those of another process."""
    try:
        shown = os.readlink(proc / "self")
    except FileNotFoundError:
        shown = ""  # nothing is mounted there, or the /proc of a PID namespace that this process is not in
    if shown != str(os.getpid()):
        raise LabUnavailable(
            "/proc is not that of this process's PID namespace", "mount it: `mount -t proc proc /proc`"
        )


def _proc_rows(pid: int, name: str) -> list[sockets.Socket]:
    try:
        return proc_net_tcp.rows(Path(f"/proc/{pid}/net/{name}").read_text())
    except FileNotFoundError:  # a kernel without IPv6
        return []


def may_ask(proc: Path = Path("/proc"), lib: Path = Path("/lib/modules")) -> bool:
    """Whether a request to sock_diag loads no module: the first one loads tcp_diag (sock_load_diag_module).

    It loads none if tcp_diag is loaded already or built in, or if the kernel has no modules at all.
    """
    try:
        loaded = {line.split()[0] for line in (proc / "modules").read_text().splitlines()}
    except FileNotFoundError:
        return True
    try:
        built_in = (lib / platform.release() / "modules.builtin").read_text()
    except OSError:
        built_in = ""
    return "tcp_diag" in loaded or "/tcp_diag.ko" in built_in


@contextlib.contextmanager
def own() -> Iterator[Source]:
    """The namespace that this process is in."""
    with sockets.open_table() as table:
        yield Source(table, os.getpid(), snapshot.read_sysctls(), "this network namespace")


@contextlib.contextmanager
def of_process(pid: int) -> Iterator[Source]:
    """The namespace of a process. LabError if there is no such process, LabUnavailable if this user may not enter."""
    check_proc()
    path = Path(f"/proc/{pid}/ns/net")
    if not path.parent.exists():
        raise LabError(f"there is no process {pid}. Hint: see `ps -e`")
    with _entered(path, f"the network namespace of process {pid}", pid) as source:
        yield source


@contextlib.contextmanager
def named(name: str) -> Iterator[Source]:
    """A namespace of `ip netns`. LabError if there is none of this name, LabUnavailable if this user may not enter."""
    if "/" in name or not _is_file(_NAMED / name):
        raise LabError(f"there is no network namespace {name!r}. Hint: see `ip netns list`")
    with _entered(_NAMED / name, f"the network namespace {name}") as source:
        yield source


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


@contextlib.contextmanager
def _entered(path: Path, what: str, pid: int | None = None) -> Iterator[Source]:
    """A child process enters the namespace and stays there, for its files in /proc. It ends with this process."""
    try:
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise LabUnavailable(f"this user may not see {what}", _who_may()) from None
    except FileNotFoundError:
        raise LabError(f"{what} is gone. Hint: name another one") from None
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        _stay_inside(target, pid, ours, theirs)
    os.close(target)
    theirs.close()
    try:
        data, fds, _, _ = socket.recv_fds(ours, _PART, 1)
        answer: Any = pickle.loads(data) if data else OSError(errno.ESRCH, "the process in it has ended")
        if not fds:
            raise _refused(what, answer)
        with socket.socket(fileno=fds[0]) as table:
            yield Source(table, child, answer, what)
    finally:
        ours.close()  # the child ends
        os.waitpid(child, 0)


def _refused(what: str, error: OSError) -> LabError:
    if error.errno == errno.EINVAL:  # `ip netns add` mounts it on a file, which remains if that is unmounted
        return LabError(f"{what} is only a file: no namespace is mounted there. Hint: see `ip netns list`")
    return LabUnavailable(f"this user may not enter {what} ({error.strerror})", _who_may())


def _who_may() -> str:
    """Who may look at a process's namespaces (ptrace(2), PTRACE_MODE_READ_FSCREDS), and enter them (setns(2))."""
    if os.geteuid():
        return "run as root, or as the process's user"
    return "root also needs CAP_SYS_PTRACE and CAP_SYS_ADMIN, and a security module may refuse it: use another process"


def _enter(target: int, pid: int | None) -> None:
    """Enter an open network namespace. If that is not permitted, enter the user namespace of process `pid` first."""
    try:
        namespace.enter_open(target, namespace.CLONE_NEWNET)
    except PermissionError:
        if pid is None:
            raise
        namespace.enter(pid, namespace.CLONE_NEWUSER | namespace.CLONE_NEWNET)


def _stay_inside(target: int, pid: int | None, ours: socket.socket, theirs: socket.socket) -> None:
    try:
        namespace.die_with_parent()
        ours.close()
        try:
            _enter(target, pid)
            with sockets.open_table() as table:
                socket.send_fds(theirs, [pickle.dumps(snapshot.read_sysctls())], [table.fileno()])
        except OSError as error:
            theirs.send(pickle.dumps(error))
        theirs.recv(1)  # until the other end is closed
    finally:
        os._exit(0)
