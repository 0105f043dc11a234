"""All that a signature may see of one network namespace at one moment, as one immutable record."""

import contextlib
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.evidence import blocked, counters, holders, memory
from harness.evidence.sockets import Socket, State
from harness.output.wording import counted

SYSCTLS = (
    "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_tw_reuse_delay", "net.ipv4.tcp_timestamps", "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_mem", "net.core.somaxconn", "net.ipv4.tcp_syncookies",
    "net.netfilter.nf_conntrack_count", "net.netfilter.nf_conntrack_max",
)  # fmt: skip
"""The limits and settings that signatures and other tools' rules use; the last two exist if conntrack is loaded."""

_NO_SOCKET_ENDS_IT = frozenset({"pause", "nanosleep", "clock_nanosleep", "wait4", "waitid", "futex"})
"""System calls that no socket ends: they return at a time, a signal, the end of a child, or a wake-up by a thread."""

_ON_A_SOCKET = frozenset({"accept", "accept4", "connect", "recvfrom", "recvmsg", "sendto"})
"""System calls whose first argument can only be the descriptor of a socket."""

_CLOEXEC = 0o2000000
"""In the line "flags" of /proc/PID/fdinfo/FD, in octal (proc(5)); the same number as O_CLOEXEC (open(2))."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that has a socket open. `fds`: the number of its file descriptors. `fd_limit`: its soft RLIMIT_NOFILE;
    None if it is unlimited or unknown.

    `cpu_s`: the processor time of its threads so far. `delay_s`: the time that they have waited for a processor. A
    thread that never sleeps adds all elapsed time to the sum of the two. `parent`: its parent's PID, 0 if unknown.
    `streams`: the inodes of the sockets that are its standard input, output or error: they were handed over to it.
    `sleeps_beside`: the inodes of sockets that it may have inherited through exec, and does not wait for: they have no
    FD_CLOEXEC and are not a standard stream, and all threads of the process sleep in calls that no socket ends.
    """

    pid: int
    program: str
    fds: int
    fd_limit: int | None
    cpu_s: float
    delay_s: float = 0.0
    parent: int = 0
    streams: frozenset[int] = frozenset()
    sleeps_beside: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class ClosedCall:
    """A thread that is blocked in a call on a socket whose descriptor the process has closed meanwhile."""

    pid: int
    program: str
    call: str
    fd: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`time_s`: CLOCK_MONOTONIC, in seconds; 0 for text. `owners`: by inode. `counters`: by nstat's names. `sockstat`:
    by group and name ("TCP orphan"). `unseen`: what could not be read, and what would help.

    `closed_calls`: looked for only if a socket has an inode and no owner. `has_all_states`: whether a listener or a
    connection that is not among `sockets` does not exist; a text may be of listeners only, or of all others (`ss -l`,
    `ss` without -a).
    """

    time_s: float
    sockets: tuple[Socket, ...]
    owners: dict[int, tuple[Owner, ...]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    sockstat: dict[str, int] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    closed_calls: tuple[ClosedCall, ...] = ()
    has_all_states: bool = True

    def listeners(self) -> list[Socket]:
        """The sockets in LISTEN: recv_q connections wait for accept(), send_q is the backlog."""
        return [row for row in self.sockets if row.state == State.LISTEN]

    def owners_of(self, row: Socket) -> tuple[Owner, ...]:
        """The processes that have this socket open, and that this user may see."""
        return self.owners.get(row.inode, ()) if row.inode else ()


def take(
    rows: Sequence[Socket], pid: int, pids: Iterable[int], sysctls: dict[str, str], unseen: tuple[str, ...] = ()
) -> Snapshot:
    """Make a snapshot of a namespace from its sockets: add counters, sockstat and owners.

    `pid`: a process in the namespace. `pids`: the processes that may own sockets. `sysctls`: what read_sysctls()
    returned in the namespace.
    """
    pids = list(pids)
    owners, unreadable = _owners(pids)
    return Snapshot(
        time.monotonic(),
        tuple(rows),
        owners,
        counters.numbers(counters.texts(pid)),
        memory.sockstat(pid),
        sysctls,
        (*unseen, *_unseen(rows, owners, unreadable)),
        _closed_calls(pids) if any(row.inode and row.inode not in owners for row in rows) else (),
    )


def read_sysctls() -> dict[str, str]:
    """The values of SYSCTLS in the namespace of this process, without those that this kernel lacks."""
    found = {}
    for key in SYSCTLS:
        with contextlib.suppress(OSError):
            found[key] = " ".join(Path("/proc/sys", key.replace(".", "/")).read_text().split())
    return found


def _unseen(rows: Sequence[Socket], owners: dict[int, tuple[Owner, ...]], unreadable: int) -> tuple[str, ...]:
    ownerless = sum(1 for row in rows if row.inode and row.inode not in owners)
    if not ownerless:
        return ()
    which = f"the processes of {counted(ownerless, 'socket')}"
    if unreadable:
        others = counted(unreadable, "process", "processes")
        return (f"{which}, as the files of {others} may not be read. Hint: run as root",)
    return (
        f"{which}: none that /proc shows in this network namespace has them open. They may have ended meanwhile, "
        "be in another PID or network namespace, be hidden (hidepid), or be the kernel itself. Hint: run as root, "
        "outside of containers",
    )


def pids_in_namespace_of(pid: int) -> list[int]:
    """The processes that are in the network namespace of process `pid`, or whose namespace this user may not see."""
    namespace = os.readlink(f"/proc/{pid}/ns/net")
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and _link(f"/proc/{name}/ns/net") in (namespace, None):
            found.append(int(name))
    return found


def _link(path: str) -> str | None:
    """Where a link of /proc leads; None if this user may not see it, "" if the process is gone."""
    try:
        return os.readlink(path)
    except PermissionError:
        return None
    except OSError:
        return ""


def _owners(pids: Iterable[int]) -> tuple[dict[int, tuple[Owner, ...]], int]:
    """The owners of each socket by its inode, and the number of processes that this user may not look into."""
    found: dict[int, list[Owner]] = {}
    unreadable = 0
    for pid in pids:
        try:
            inodes, fds = holders.sockets_of(pid)
            if inodes:
                owner = _owner(pid, inodes, fds)
                for inode in set(inodes.values()):
                    found.setdefault(inode, []).append(owner)
        except PermissionError:
            unreadable += 1
        except (FileNotFoundError, ProcessLookupError):
            continue
    return {inode: tuple(owners) for inode, owners in found.items()}, unreadable


def _owner(pid: int, inodes: dict[int, int], fds: int) -> Owner:
    streams = frozenset(inode for fd, inode in inodes.items() if fd <= 2)
    calls = [call for call, _ in _calls(pid).values()]
    beside: set[int] = set()
    if calls and _NO_SOCKET_ENDS_IT.issuperset(calls):
        beside = {inode for fd, inode in inodes.items() if not _closes_at_exec(pid, fd)}
    program, parent = _text(pid, "comm").rstrip("\n"), int(_text(pid, "stat").rpartition(")")[2].split()[1])
    return Owner(
        pid, program, fds, _fd_limit(pid), *_cpu_and_delay_s(pid), parent, streams, frozenset(beside - streams)
    )


def _closes_at_exec(pid: int, fd: int) -> bool:
    for line in _text(pid, f"fdinfo/{fd}").splitlines():
        if line.startswith("flags:"):
            return bool(int(line.split()[1], 8) & _CLOEXEC)
    return True


def _closed_calls(pids: Iterable[int]) -> tuple[ClosedCall, ...]:
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            for task, (call, fd) in _calls(pid).items():  # a thread may have descriptors of its own (unshare(2))
                if call in _ON_A_SOCKET and not os.path.lexists(f"/proc/{pid}/task/{task}/fd/{fd}"):
                    found.append(ClosedCall(pid, _text(pid, "comm").rstrip("\n"), call, fd))
    return tuple(found)


def _calls(pid: int) -> dict[str, tuple[str, int]]:
    """By TID, the system call in which the thread is blocked and the first argument; "" if it runs or is unseen."""
    found = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        text = ""
        with contextlib.suppress(OSError):
            text = _text(pid, f"task/{task}/syscall")
        call = blocked.named(text, platform.machine())
        words = text.split()
        found[task] = (call or "", int(words[1], 16) & 0xFFFFFFFF if call and len(words) > 1 else -1)
    return found


def _text(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text(errors="replace")


def _fd_limit(pid: int) -> int | None:
    """The soft limit in the line "Max open files" of /proc/PID/limits (proc(5))."""
    for line in _text(pid, "limits").splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdecimal() else None
    return None


def _cpu_and_delay_s(pid: int) -> tuple[float, float]:
    """The sums over all threads of the first two numbers in /proc/PID/task/TID/schedstat; 0 if it is not there."""
    used_ns = waited_ns = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError, IndexError):
            used, waited, *_ = map(int, _text(pid, f"task/{task}/schedstat").split())
            used_ns += used
            waited_ns += waited
    return used_ns / 1e9, waited_ns / 1e9
