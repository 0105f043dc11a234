"""Which files a user names with --from: a sosreport, a directory, one file, or - for the standard input.

Only regular files are opened. Below a directory, a symbolic link is followed only if it leads to a file that is in the
directory as well.
"""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.diagnose.pasted import formats, sysctls, text
from harness.diagnose.pasted.reading import Reading
from harness.diagnose.snapshot import SYSCTLS
from harness.errors import LabError
from harness.sysctl_files.lines import shown

MOST_FILES = 2_000
DEEPEST = 8
"""Directories below the one that is named."""

_OF_A_SOSREPORT = (
    "sos_commands/networking/ss_-pe*", "sos_commands/networking/netstat*-neopa", "sos_commands/networking/netstat_-s",
    "sos_commands/networking/nstat_-*", "sos_commands/kernel/sysctl_-a", "proc/net/tcp", "proc/net/tcp6",
    "proc/net/netstat", "proc/net/snmp", "proc/net/sockstat", "proc/net/sockstat6",
    *(f"proc/sys/{key.replace('.', '/')}" for key in SYSCTLS),
)  # fmt: skip
"""The commands and files of its plugins networking and kernel (sosreport/sos, sos/report/plugins). Its other files are
not about TCP; those of other network namespaces are in sos_commands/networking/namespaces, and may be named alone."""

_NO_LINKS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(slots=True)
class _Look:
    """What is being read for one look."""

    reading: Reading
    budget: text.Budget

    def add(self, name: str, file: BinaryIO) -> None:
        """Read one file."""
        unread = text.Unread()
        before = self.reading.understood
        try:
            is_known = formats.read(text.lines(file, unread, self.budget), name, self.reading, unread)
        except OSError as error:
            self.reading.unseen.append(f"the rest of {name}: {error.strerror}")
            is_known = True
        if not is_known and self.reading.understood == before:
            if unread.is_utf_16:
                self.reading.unseen.append(f"{name}: UTF-16. Hint: save it as UTF-8")
            elif unread.count:
                self.reading.unseen.append(f"{name}: no known format")
        else:
            self.reading.unseen += unread.notes(name)

    def add_sysctl(self, key: str, name: str, file: BinaryIO) -> None:
        """Read one file of /proc/sys."""
        why = sysctls.keep(self.reading, key, file.read(text.LONGEST_LINE).decode(errors="replace"))
        if why:
            self.reading.unseen.append(f"{name}: {why}")
        self.reading.understood += not why


def read(source: str) -> Reading:
    """All that can be read from a path, or from the standard input (-). LabError if there is no such file."""
    look = _Look(Reading(), text.Budget())
    if source == "-":
        look.add("the standard input", sys.stdin.buffer)
        return look.reading
    path = Path(source)
    if not source:
        raise LabError("--from names no file. Hint: name a file, a directory, or - for stdin")
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a path"
        raise LabError(f"{shown(source)}: {why}. Hint: name a file, a directory, or - for stdin") from None
    if stat.S_ISDIR(mode):
        _read_directory(path, look)
    elif stat.S_ISREG(mode):
        _read_file(path.resolve(), path.name, look)
    else:
        raise LabError(f"{shown(source)} is not a regular file. Hint: use - to read from a pipe")
    return look.reading


def _read_directory(directory: Path, look: _Look) -> None:
    top = directory.resolve()
    root = _root_of_sosreport(top)
    for number, path in enumerate(_of_sosreport(root) if root else _below(top, look)):
        if number == MOST_FILES:
            look.reading.unseen.append(f"files after the first {MOST_FILES}. Hint: name a directory with fewer files")
            return
        name = str(path.relative_to(root or top))
        real = Path(os.path.realpath(path))
        if real.is_relative_to(top):
            _read_file(real, name, look)
        else:
            look.reading.unseen.append(f"{shown(name)}: a link that leaves the directory")


def _root_of_sosreport(top: Path) -> Path | None:
    """The directory itself, or the only one in it, as an archive is unpacked."""
    with suppress(OSError):
        inside = [top, *(entry for entry in sorted(top.iterdir())[:2] if entry.is_dir() and not entry.is_symlink())]
        return next((each for each in inside if (each / "sos_commands").is_dir()), None)
    return None


def _of_sosreport(root: Path) -> Iterator[Path]:
    for pattern in _OF_A_SOSREPORT:
        yield from sorted(root.glob(pattern))


def _below(directory: Path, look: _Look, depth: int = 0) -> Iterator[Path]:
    """The entries that are not directories, in the order of their names."""
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        look.reading.unseen.append(f"{shown(directory.name)}: {error.strerror}")
        return
    for path in (directory / name for name in names):
        if not path.is_dir() or path.is_symlink():
            yield path
        elif depth < DEEPEST:
            yield from _below(path, look, depth + 1)
        else:
            look.reading.unseen.append(f"{shown(path.name)}: a directory {DEEPEST} levels down")


def _read_file(path: Path, name: str, look: _Look) -> None:
    """`path`: without symbolic links."""
    name = shown(name)
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            look.reading.unseen.append(f"{name}: not a regular file")
            return
        fd = os.open(path, _NO_LINKS)
    except OSError as error:
        look.reading.unseen.append(f"{name}: {error.strerror}")
        return
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            look.reading.unseen.append(f"{name}: not a regular file")
        elif key := _sysctl(path):
            look.add_sysctl(key, name, file)
        else:
            look.add(name, file)


def _sysctl(path: Path) -> str:
    """The sysctl whose file this is; empty if it is none."""
    _, found, key = str(path).rpartition("/proc/sys/")
    return key.replace("/", ".") if found else ""
