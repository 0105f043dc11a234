"""Every file that this program writes: the whole of it or nothing, and what was there before stays until then.

A file is written beside its target, and renamed over it (rename(2) is atomic). So a full disk, a kill or an interrupt
leaves the older file whole. What cannot be renamed over is written in place, and never truncated or removed: a
character device, a FIFO, and this process's own open files (/dev/stdout, /dev/fd/N).
"""

import hashlib
import os
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import LabError, unwritable

__tracebackhide__ = True

_LONGEST_TITLE = 120
"""Bytes. With a hash and an ending this stays below every limit on a name (255 bytes; 143 on eCryptfs)."""

_HASH_DIGITS = 8
_MOST_LINKS = 40  # as the kernel has it (MAXSYMLINKS, include/linux/namei.h)


def write(path: Path, data: bytes | str, *, named: Path | None = None) -> None:
    """Write a file, in the folder that it names, which is made where it is missing. Symbolic links are followed.

    A new file has the mode that the umask leaves; a file that is replaced keeps its mode, and its owner as far as this
    user may give files away. LabError where that cannot be: its message names `named`, or else `path`. Text is UTF-8;
    a lone surrogate in it becomes a question mark.
    """
    content = data.encode("utf-8", "replace") if isinstance(data, str) else data
    try:
        _make(path.parent)
        if (fd := _open_in_place(path)) is None:
            _replace(Path(os.path.realpath(path)), content)
        else:
            with open(fd, "wb") as file:
                file.write(content)
    except OSError as error:
        raise unwritable(named or path, error, "folder" if named else "file") from None


def check(path: Path) -> None:
    """LabError if `path` cannot be written as things are. This changes nothing, and wakes no reader of a FIFO."""
    try:
        if _own_fd(path) is not None:
            return
        mode = _mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            if stat.S_ISDIR(mode) or not os.access(path, os.W_OK):
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # for its error
            return
        _writable(Path(os.path.realpath(path)))
        _try_folder(Path(os.path.realpath(path)).parent)
    except OSError as error:
        raise unwritable(path, error) from None


def check_folder(folder: Path) -> None:
    """LabError if no file can be written into `folder`, which need not exist. Nothing is left of the trial."""
    try:
        _try_folder(folder)
    except OSError as error:
        raise unwritable(folder, error, "folder") from None


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is gone afterwards. LabError where none can be made ($TMPDIR)."""
    try:
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    except OSError as error:
        why = error.strerror or error
        raise LabError(f"there is no room for temporary files: {why}. Hint: set TMPDIR to a folder with room") from None
    with folder as path:
        yield Path(path)


def name_for(title: str, identity: str) -> str:
    """A file's name, without its ending, that a person can read and a shell, a URL and a Windows share can hold.

    It is the title as far as that goes, and a hash of the identity. So two identities have two names, also on file
    systems that take upper and lower case for the same, and one identity has the same name in every run.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "_", title)[:_LONGEST_TITLE].strip("_")
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return f"{readable}-{digest}" if readable else digest


def _open_in_place(path: Path) -> int | None:
    """The file to write into as it is; None for what is a regular file, or not there."""
    if (own := _own_fd(path)) is not None:
        sys.stdout.flush()  # what was said before comes before
        return os.dup(own)  # a socket or a deleted file could not be opened, and a file would begin at its first byte
    mode = _mode(path)
    if mode is None or stat.S_ISREG(mode):
        return None
    return os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def _own_fd(path: Path) -> int | None:
    """The file descriptor of this process that a path names (/dev/stdout, /dev/fd/N, /proc/self/fd/N)."""
    for _ in range(_MOST_LINKS):
        folder = os.path.realpath(path.parent)
        if folder == f"/proc/{os.getpid()}/fd" and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = Path(folder, os.readlink(path))
    return None


def _replace(target: Path, content: bytes) -> None:
    old = _writable(target)
    part = target.with_name(f".tcp-fault-lab.{secrets.token_hex(8)}.part")
    try:
        mode = 0o600 if old else 0o666  # until it is like the old one, nobody else reads it
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(content)
            file.flush()
            if old:
                _like(file.fileno(), old)
                os.fsync(file.fileno())  # or a power cut may leave the new name with no content
        part.replace(target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _writable(target: Path) -> os.stat_result | None:
    """What is replaced, if anything is. OSError if this user may not write it, although its folder could be written."""
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _like(fd: int, old: os.stat_result) -> None:
    """The group first, and each alone: an ordinary user may give a file to another of his groups."""
    for owner, group in ((-1, old.st_gid), (old.st_uid, -1)):
        with suppress(OSError):  # EPERM, or EINVAL in a user namespace that does not have the owner
            os.fchown(fd, owner, group)
    os.fchmod(fd, stat.S_IMODE(old.st_mode))


def _make(folder: Path) -> None:
    if not folder.exists():  # of what is no folder, the next step says so
        folder.mkdir(parents=True, exist_ok=True)


def _try_folder(folder: Path) -> None:
    missing: list[Path] = []
    try:
        missing += [each for each in (folder, *folder.parents) if not each.exists()]
        _make(folder)
        tempfile.TemporaryFile(dir=folder).close()
    finally:
        for each in missing:
            with suppress(OSError):
                each.rmdir()
