"""Who keeps a socket alive: the processes of the lab and their file descriptors."""

import os
from dataclasses import dataclass

from harness.errors import LabUnavailable


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a socket open. `pid` is the host's number; `program` is the kernel's `comm`, as in `ss -p`."""

    pid: int
    fd: int
    program: str
    inode: int


def read(keeper_pid: int) -> list[Holder]:
    """Every socket fd of every process of the lab, by fd and pid.

    The keeper is PID 1 of the lab's namespace, so whoever loses its parent there becomes its child: its descendants
    are all that the lab has. (psutil's own connection table would read *our* namespace; only its tree is used.)
    """
    import psutil

    found = []
    for process in psutil.Process(keeper_pid).children(recursive=True):
        try:
            with process.oneshot():
                program, status = process.name(), process.status()
            if status == psutil.STATUS_ZOMBIE:
                continue  # it holds nothing any more, and its /proc folder is root's
            found += [Holder(process.pid, fd, program, inode) for fd, inode in _sockets(process.pid)]
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked: it holds nothing
        except PermissionError:
            raise LabUnavailable(f"the fds of {program} may not be read", "run as root") from None
    return sorted(found, key=lambda holder: (holder.pid, holder.fd))


def _sockets(pid: int) -> list[tuple[int, int]]:
    folder = f"/proc/{pid}/fd"
    pairs = []
    for name in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{name}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            pairs.append((int(name), int(target[8:-1])))
    return pairs
