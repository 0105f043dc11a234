"""The processes of a lab that keep sockets open, with their file descriptors."""

import os
from dataclasses import dataclass
from pathlib import Path

from harness.errors import LabUnavailable
from harness.evidence.blocked import has_ended


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a socket open. `pid`: its PID on the host; `program`: the kernel's `comm`, as in `ss -p`."""

    pid: int
    fd: int
    program: str
    inode: int


def read(keeper_pid: int) -> list[Holder]:
    """Every socket fd of every process of the lab, sorted by pid and fd."""
    held = [_held(pid) for pid in processes(keeper_pid)]
    return sorted((each for holders in held for each in holders), key=lambda holder: (holder.pid, holder.fd))


def processes(keeper_pid: int) -> list[int]:
    """The PIDs of every process of the lab but the keeper.

    The keeper is PID 1 of the lab's namespace, so a process that loses its parent there becomes its child: its
    descendants are all processes of the lab. (psutil's connection table would read *our* namespace; only its process
    tree is used.)
    """
    import psutil

    return [process.pid for process in psutil.Process(keeper_pid).children(recursive=True)]


def _held(pid: int) -> list[Holder]:
    """The sockets of one process; empty if it ended meanwhile."""
    try:
        program = Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
        inodes, _ = sockets_of(pid)
        return [Holder(pid, fd, program, inode) for fd, inode in inodes.items()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    except PermissionError:
        if has_ended(pid):
            return []
        raise LabUnavailable(f"no permission to read the fds of {program}", "run as root") from None


def sockets_of(pid: int) -> tuple[dict[int, int], int]:
    """The inode of each file descriptor that is a socket, and the number of all descriptors of one process.

    FileNotFoundError or ProcessLookupError if it has ended, PermissionError if this user may not look into it.
    """
    folder = f"/proc/{pid}/fd"
    inodes, names = {}, os.listdir(folder)
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes[int(name)] = int(target[8:-1])
    return inodes, len(names)
