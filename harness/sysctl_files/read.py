"""Reads files with sysctls, in any supported format, from their paths. Everything is data: nothing is run."""

import itertools
import os
import stat
import sys
from collections.abc import Sequence

from harness.sysctl_files import formats
from harness.sysctl_files.lines import Found, Line, Malformed, Place, overruled, shown
from harness.sysctl_files.sysctl_d import SysctlD, files_of

SIZE_LIMIT = 1 << 20
"""The size of the longest file, in bytes."""

LEFT_OUT = 7
"""The exit status of a command that has used what could be read, and left something out."""

_PARSED = ("YAML", "cloud-config", "JSON")
"""Formats whose readers themselves report a template."""

_READ = "give sysctl.d, a shell script, YAML, JSON, TOML or INI (tuned, systemd, quadlet)"

_MANY = 5
"""With at least this many lines that are not settings, and fewer that are, a file has another format than sysctl.d."""


def read(paths: Sequence[str]) -> list[Line]:
    """All settings, in the order in which they take effect; Malformed if any place cannot be read."""
    lines, left_out = read_some(paths)
    if left_out:
        raise Malformed(left_out, lines)
    return lines


def read_as_asked(paths: Sequence[str], *, partial: bool) -> tuple[list[Line], list[Place]]:
    """The settings, and the places left out; if not `partial`, Malformed if any place would be left out."""
    return read_some(paths) if partial else (read(paths), [])


def read_some(paths: Sequence[str]) -> tuple[list[Line], list[Place]]:
    """The settings that can be read, in the order in which they take effect, and the places that cannot be read.

    In consecutive sysctl.d files, the last line of a key takes effect, and the others are marked as overridden. The
    settings of other files are written one by one, and the last one that the kernel accepts takes effect, so none is
    marked. `-` is the standard input. A directory stands for its *.conf files, and consecutive directories are read as
    at a boot (sysctl_d.files_of).
    """
    found = Found()
    boot: SysctlD | None = None
    for path in _files(paths, found):
        text = _text(path, found)
        source = "stdin" if path == "-" else shown(path)
        format = formats.format_of(path, text)
        if _is_refused(path, text, source, format, found):
            continue
        if format is formats.SYSCTL_D:
            boot = boot or SysctlD()
            _read_settings(boot, text, source)
            continue
        _settle(boot, found)
        boot = None
        format.read(text, source, found)
    _settle(boot, found)
    return found.lines, list(dict.fromkeys(found.troubles))


def _is_refused(path: str, text: str, source: str, format: formats.Format, found: Found) -> bool:
    """Whether a file has a format that is not supported; if so, report it."""
    at, why = formats.foreign(path, text, format)
    if not why and format.name not in _PARSED:
        at, why = formats.template(text)
    if why:
        found.trouble(source, text.count("\n", 0, at) + 1, 1, why)
    return bool(why)


def _read_settings(boot: SysctlD, text: str, source: str) -> None:
    """Read a file of sysctl.d syntax, unless most of its lines show that it has another format."""
    before, troubles = len(boot.found.lines), len(boot.found.troubles)
    boot.read(text, source)
    bad = boot.found.troubles[troubles:]
    if len(bad) >= _MANY and len(bad) > len(boot.found.lines) - before:
        del boot.found.lines[before:], boot.found.troubles[troubles:]
        what = f"not in any supported format ({len(bad)} lines like this one are not settings)"
        boot.found.trouble(source, bad[0].line, bad[0].column, f"{what}. Hint: {_READ}")


def _settle(sysctl_d: SysctlD | None, found: Found) -> None:
    if sysctl_d:
        for line in overruled(sysctl_d.lines()):
            found.add(line)
        found.troubles += sysctl_d.found.troubles


def _files(paths: Sequence[str], found: Found) -> list[str]:
    files: list[str] = []
    for is_folder, group in itertools.groupby(paths, key=_is_folder):
        together = list(group)
        try:
            files += files_of(together) if is_folder else together
        except OSError as error:
            found.trouble(str(error.filename), 0, 0, f"cannot be read: {error.strerror}")
    return files


def _is_folder(path: str) -> bool:
    return path != "-" and os.path.isdir(path)  # noqa: PTH112


def _text(path: str, found: Found) -> str:
    """A file's text; empty, with a trouble, if it cannot be read. It never waits for a pipe or a device."""
    source = "stdin" if path == "-" else path
    try:
        data = sys.stdin.buffer.read(SIZE_LIMIT + 1) if path == "-" else _bytes(path)
    except (OSError, ValueError) as error:
        found.trouble(source, 0, 0, f"cannot be read: {getattr(error, 'strerror', None) or error}")
        return ""
    if len(data) > SIZE_LIMIT:
        found.trouble(source, 0, 0, f"longer than {SIZE_LIMIT} bytes")
        return ""
    return _decoded(data, source, found)


def _bytes(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("it is not a regular file")
        return file.read(SIZE_LIMIT + 1)


def _decoded(data: bytes, source: str, found: Found) -> str:
    try:
        text = data.decode("utf-8-sig")
        at, why = text.find("\0"), "a NUL"
    except UnicodeDecodeError as error:
        at, why = error.start, f"not UTF-8: byte {data[error.start]:#04x}"
        text = data.decode("latin-1")
    if at < 0:
        return text
    found.trouble(source, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at), why)
    return ""
