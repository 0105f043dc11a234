"""Who keeps a socket alive: the processes of the lab and their file descriptors."""

import os
from dataclasses import dataclass
from pathlib import Path

from harness.errors import LabUnavailable
from harness.evidence.blocked import has_ended


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

    held = [_held(process.pid) for process in psutil.Process(keeper_pid).children(recursive=True)]
    return sorted((each for holders in held for each in holders), key=lambda holder: (holder.pid, holder.fd))


def _held(pid: int) -> list[Holder]:
    """The sockets of one process; none where it ended while we looked."""
    try:
        program = Path(f"/proc/{pid}/comm").read_text(errors="replace").rstrip("\n")
        return [Holder(pid, fd, program, inode) for fd, inode in _sockets(pid)]
    except (FileNotFoundError, ProcessLookupError):
        return []
    except PermissionError:
        if has_ended(pid):
            return []
        raise LabUnavailable(f"the fds of {program} may not be read", "run as root") from None


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
