"""Writes all files of this program, each completely or not at all; an older file stays until then.

A file is written beside its target, and renamed over it (rename(2) is atomic). So a full disk, a kill or an interrupt
leaves the older file intact. A character device, a FIFO, or an open file of this process (/dev/stdout, /dev/fd/N)
cannot be replaced by renaming; it is written in place, and never truncated or removed.
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
"""The most bytes: with a hash and an ending, this stays below every limit on a name (255 bytes; 143 on eCryptfs)."""

_HASH_DIGITS = 8
_MOST_LINKS = 40  # the kernel's limit (MAXSYMLINKS, include/linux/namei.h)


def write(path: Path, data: bytes | str, *, named: Path | None = None) -> None:
    """Write a file; its folder is made if it is missing, and symbolic links are followed.

    A new file gets its mode from the umask. A replaced file keeps its mode, and its owner if this user may set it.
    LabError, which names `named` or else `path`, if it cannot be written. Text is UTF-8; a lone surrogate becomes a
    question mark.
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
    """LabError if `path` cannot be written now. The check changes nothing, and does not wake a FIFO's reader."""
    try:
        if _own_fd(path) is not None:
            return
        mode = _mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            if stat.S_ISDIR(mode) or not os.access(path, os.W_OK):
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # to raise the error
            return
        _writable(Path(os.path.realpath(path)))
        _try_folder(Path(os.path.realpath(path)).parent)
    except OSError as error:
        raise unwritable(path, error) from None


def check_folder(folder: Path) -> None:
    """LabError if no file can be written into `folder`, which need not exist. The check leaves nothing behind."""
    try:
        _try_folder(folder)
    except OSError as error:
        raise unwritable(folder, error, "folder") from None


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed afterwards. LabError if none can be made ($TMPDIR)."""
    try:
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    except OSError as error:
        why = error.strerror or error
        raise LabError(
            f"temporary files cannot be written: {why}. Hint: set TMPDIR to a folder with free space"
        ) from None
    with folder as path:
        yield Path(path)


def name_for(title: str, identity: str) -> str:
    """A readable file name, without its ending, that is valid in a shell, in a URL and on a Windows share.

    It consists of the title, as far as possible, and a hash of the identity. So two identities have different names,
    also on file systems that ignore case, and one identity has the same name in every run.
    """
    readable = re.sub(r"[^A-Za-z0-9]+", "_", title)[:_LONGEST_TITLE].strip("_")
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    return f"{readable}-{digest}" if readable else digest


def _open_in_place(path: Path) -> int | None:
    """The fd of a file that is written in place; None for a regular file, or if there is no file."""
    if (own := _own_fd(path)) is not None:
        sys.stdout.flush()  # so that earlier output comes first
        return os.dup(own)  # opening would fail for a socket or a deleted file, and start at a file's first byte
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
        mode = 0o600 if old else 0o666  # private until it has the old file's mode
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(content)
            file.flush()
            if old:
                _like(file.fileno(), old)
                os.fsync(file.fileno())  # otherwise a power cut may leave the new file empty
        part.replace(target)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _writable(target: Path) -> os.stat_result | None:
    """The status of the file to be replaced; None if there is none. OSError if this user may not write that file."""
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _like(fd: int, old: os.stat_result) -> None:
    """Copy mode and owner, the group first and separately: an ordinary user may set it to another of his groups."""
    for owner, group in ((-1, old.st_gid), (old.st_uid, -1)):
        with suppress(OSError):  # EPERM, or EINVAL in a user namespace that does not have the owner
            os.fchown(fd, owner, group)
    os.fchmod(fd, stat.S_IMODE(old.st_mode))


def _make(folder: Path) -> None:
    if not folder.exists():  # if it is not a folder, the next step fails
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
