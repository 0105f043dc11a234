"""What a process does: the system call that it sleeps in, from /proc/PID/syscall, or whether it is stopped.

Reading that file needs the right to trace the process. The user who started it has this right, even if the process is
in a user namespace of its own (kernel/ptrace.c, __ptrace_may_access).
"""

import os
import platform
from pathlib import Path

from harness.errors import LabError, LabUnavailable

__tracebackhide__ = True

# include/uapi/asm-generic/unistd.h (aarch64 and others), arch/x86/entry/syscalls/syscall_64.tbl.
_NUMBERS = {
    "x86_64": {
        0: "read", 1: "write", 3: "close", 7: "poll", 34: "pause", 35: "nanosleep", 42: "connect", 43: "accept",
        44: "sendto", 45: "recvfrom", 47: "recvmsg", 61: "wait4", 202: "futex", 230: "clock_nanosleep",
        232: "epoll_wait", 247: "waitid", 270: "pselect6", 271: "ppoll", 288: "accept4",
    },
    "aarch64": {
        22: "epoll_pwait", 57: "close", 63: "read", 64: "write", 72: "pselect6", 73: "ppoll", 95: "waitid", 98: "futex",
        101: "nanosleep", 115: "clock_nanosleep", 202: "accept", 203: "connect", 206: "sendto", 207: "recvfrom",
        212: "recvmsg", 242: "accept4", 260: "wait4",
    },
}  # fmt: skip

_WORDS = {
    "accept": {"accept", "accept4"},
    "connect": {"connect"},
    "recv": {"recvfrom"},
    "send": {"sendto"},
    "poll": {"poll", "ppoll", "pselect6", "epoll_wait", "epoll_pwait"},
    "wait": {"wait4", "waitid"},
    "close": {"close"},
}
"""For each word of a scenario, the system calls that the C library and Python use for it on any architecture.

recvmsg is left out on purpose: an actor that waits for the harness sleeps in it (harness/inside/channel.py).
"""


def same_call(word: str, call: str | None) -> bool:
    """Whether `call` (a system call's name) is what a scenario means by `word`. LabError for an unknown word."""
    if word not in _WORDS:
        raise LabError(f"no way of blocking is called {word!r}. Hint: use one of {', '.join(_WORDS)}")
    return call in _WORDS[word]


def is_stopped(pid: int) -> bool:
    """Whether every thread of `pid` is stopped (state T in proc(5))."""
    try:
        stats = [Path(f"/proc/{pid}/task/{task}/stat").read_text() for task in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return bool(stats) and all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


def has_ended(pid: int) -> bool:
    """Whether `pid` is gone, or has at least freed its memory (kernel/exit.c, do_exit: exit_mm).

    From then on its files in /proc belong to root (fs/proc/base.c, task_dump_owner). So if an ordinary user may not
    read one of them, this tells whether that is because the process is ending.
    """
    try:
        return Path(f"/proc/{pid}/statm").read_text().split()[0] == "0"
    except (FileNotFoundError, ProcessLookupError):
        return True


def blocked_in(pid: int) -> str | None:
    """The name of the system call that the main thread of `pid` sleeps in; None while it runs, or once it is gone."""
    try:
        text = Path(f"/proc/{pid}/syscall").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except PermissionError:
        if has_ended(pid):
            return None
        raise LabUnavailable(
            f"no permission to read /proc/{pid}/syscall", "run as the user who started the lab, or with CAP_SYS_PTRACE"
        ) from None
    return named(text, platform.machine())


def named(text: str, machine: str) -> str | None:
    """The call's name in a line of /proc/PID/syscall; "syscall N" if this table does not have number N."""
    number = text.split(maxsplit=1)[0] if text.strip() else "running"
    if number in ("running", "-1"):
        return None
    known = _NUMBERS.get(machine, {})
    return known.get(int(number) if number.isdecimal() else -1, f"syscall {number}")
