"""Any of the files in which people keep sysctls, from their paths. What is read is data: nothing of it is run."""

import itertools
import os
import re
import stat
import sys
from collections.abc import Sequence

from harness.tuning.lines import Found, Line, Malformed, overruled, shown
from harness.tuning.sysctl_d import SysctlD, files_of

SIZE_LIMIT = 1 << 20
"""Bytes of the longest file."""

_SCRIPT = re.compile(
    r"^#!|^[ \t]*(sudo\s+)?(/\S*/)?(sysctl|docker|podman)\s|^(FROM|RUN|COPY|ADD)[ \t]"
    r"|^(?![ \t]*[#;]).*([>\s]/proc/sys/|--sysctl\b)",
    re.M,
)
_SETTING = re.compile(r"(?<!\\\n)^[ \t]*-?[\w*-]*[./][\w./*-]*[ \t]*=", re.M)
"""A line of sysctl.d; a shell's variables have no dots, and a command may go on in a line like this one."""

_MANIFEST = re.compile(r"^[ \t-]*[\"']?(sysctls|(ansible\.\w+\.)?sysctl|apiVersion)[\"']?[ \t]*:", re.M)


def read(paths: Sequence[str]) -> list[Line]:
    """Every setting in the order in which they take effect.

    Of sysctl.d files one after the other the last line of a key decides, and the others are marked so. What scripts and
    manifests set is written line by line: which one is in force is the kernel's to say, and none is marked.
    `-` is the standard input; a directory is the *.conf in it, and directories one after the other are read as one
    boot would (sysctl_d.files_of). Raises Malformed, which lists all places that cannot be read.
    """
    found = Found()
    sysctl_d: SysctlD | None = None
    for path in _files(paths, found):
        text = _text(path, found)
        source = "stdin" if path == "-" else shown(path)
        kind = _kind(path, text)
        if kind == "sysctl.d":
            sysctl_d = sysctl_d or SysctlD()
            sysctl_d.read(text, source)
            continue
        _settle(sysctl_d, found)
        sysctl_d = None
        if kind == "manifest":
            from harness.tuning import manifests

            manifests.read(text, source, found)
        else:
            from harness.tuning import scripts

            scripts.read(text, source, found)
    _settle(sysctl_d, found)
    if found.troubles:
        raise Malformed(found.troubles)
    return found.lines


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


def _kind(path: str, text: str) -> str:
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122
    if suffix in (".yml", ".yaml", ".json") or text.startswith("#cloud-config"):
        return "manifest"
    if suffix in (".sh", ".bash") or (suffix != ".conf" and _is_script(text)):
        return "script"
    return "manifest" if suffix != ".conf" and _MANIFEST.search(text) else "sysctl.d"


def _is_script(text: str) -> bool:
    return text.startswith("#!") or bool(_SCRIPT.search(text) and not _SETTING.search(text))


def _text(path: str, found: Found) -> str:
    """A file's text; empty, with a trouble, where it has none. Neither a pipe nor a device is ever waited for."""
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
            raise ValueError("it is no file")
        return file.read(SIZE_LIMIT + 1)


def _decoded(data: bytes, source: str, found: Found) -> str:
    try:
        text = data.decode("utf-8-sig")
        at, why = text.find("\0"), "a NUL"
    except UnicodeDecodeError as error:
        at, why = error.start, f"no UTF-8: byte {data[error.start]:#04x}"
        text = data.decode("latin-1")
    if at < 0:
        return text
    found.trouble(source, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at), why)
    return ""
