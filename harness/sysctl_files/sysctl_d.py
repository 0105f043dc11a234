"""Files and directories in sysctl.d(5) syntax, by systemd's rules (src/sysctl/sysctl.c, parse_line and apply_all).

A line is `key = value`. A line that begins with `#` or `;` is a comment, but a `#` after a value belongs to the value
(the kernel refuses it, or reads a number up to it). A leading `-` allows the line to fail. The last line of a key, over
all files, takes effect. A key may be a glob, which applies to all matching keys except those that have a line of their
own anywhere; a bare `-key` excludes a key.

procps reads the same lines, with two differences: `sysctl --system` reads /etc/sysctl.conf after all directories
(sysctl(8)), which systemd does not read at all; and sysctl.conf(5) of 3.3.17 mentions neither globs nor a bare `-key`.
This module follows systemd.
"""

import contextlib
import fnmatch
import functools
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.kernel.sysctls import Setting
from harness.sysctl_files.lines import Found, Line, Malformed, Where, normalised, path_of, wrong_with

ROOT = Path("/proc/sys")
_GLOB = re.compile(r"[*?[]")
_TEMPLATE = re.compile(r"\{\{.{0,80}?\}\}|<%.{0,80}?%>|\$\{\w{1,80}[^}]{0,80}\}|\{%|(?<![\w@])@\w{1,80}@(?![\w@])")
"""A tag that a template engine replaces: Jinja and Go, ERB, Terraform and shells, autotools."""

_LINE_ENDS = re.compile(r"\r\n|\n\r|\n|\r")


def parse(text: str, source: str) -> list[Setting]:
    """The settings of one text that take effect. Malformed lists every line that cannot be read."""
    file = SysctlD()
    file.read(text, source)
    if file.found.troubles:
        raise Malformed(file.found.troubles)
    return [Setting(line.key, line.value, bool(line.optional)) for line in file.lines() if not line.overridden_by]


@dataclass(slots=True)
class SysctlD:
    """Files in sysctl.d syntax, read one after the other as at a boot."""

    found: Found = field(default_factory=Found)
    _taken_out: dict[str, tuple[int, Line]] = field(default_factory=dict)
    """The last bare `-key` of each key, and the number of lines before it."""

    def read(self, text: str, source: str) -> None:
        """Read one file."""
        for number, raw in enumerate(_LINE_ENDS.split(text), 1):
            self.read_line(raw, (source, number, len(raw) - len(raw.lstrip()) + 1))

    def read_line(self, line: str, where: Where) -> None:
        """Read one line, which has this place."""
        line = line.strip()
        if not line or line[0] in "#;":
            return
        if tag := _TEMPLATE.search(line):
            self.found.trouble(*where, f"the template {tag[0]!r} in {line!r} is not known here. Hint: render it first")
            return
        optional = "'-'" if line.startswith("-") else ""
        key, equals, value = line.removeprefix("-").partition("=")
        if equals:
            self.found.setting(key.strip(), value, where, optional=optional)
        elif not optional:
            self.found.trouble(*where, f"no '=' in {line!r}")
        elif why := wrong_with(key, ""):
            self.found.trouble(*where, why)
        else:
            taken_out = Line(normalised(key.strip()), "", *where)
            self._taken_out[taken_out.key] = (len(self.found.lines), taken_out)

    def lines(self) -> list[Line]:
        """All lines in the order in which they are written to the kernel; globs are the keys that match them here."""
        _listed.cache_clear()
        explicit = {line.key for line in self.found.lines} | set(self._taken_out)
        expanded = Found()
        for number, line in enumerate(self.found.lines):
            before, by = self._taken_out.get(line.key, (0, line))
            if number < before:
                line = replace(line, overridden_by=by.place)
            if expanded.full:
                break
            for each in _expanded(line, explicit):
                expanded.add(each)
        self.found.troubles += expanded.troubles
        return expanded.lines


def _expanded(line: Line, explicit: set[str]) -> Iterator[Line]:
    if not _GLOB.search(line.key) or line.overridden_by:
        yield line
        return
    matching = matches(line.key)
    yield from (replace(line, key=key, glob=line.key) for key in matching if key not in explicit)
    if not matching:  # GLOB_NOCHECK: systemd tries the pattern as a name, and fails
        yield line


def matches(pattern: str) -> list[str]:
    """The keys of this kernel (files, not folders) that match a glob, in order."""
    *folders, last = path_of(pattern).split("/")
    paths = [ROOT]
    for name in folders:
        paths = [path / each for path in paths for each in _names(path, name, folders=True)]
    found = (path / each for path in paths for each in _names(path, last, folders=False))
    return [normalised(str(path.relative_to(ROOT))) for path in found]


def _names(folder: Path, pattern: str, *, folders: bool) -> list[str]:
    return fnmatch.filter(_listed(folder)[folders], pattern)


@functools.cache
def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the files, and of the folders, in a folder."""
    listed: tuple[list[str], list[str]] = ([], [])
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            listed[entry.is_dir(follow_symlinks=False)].append(entry.name)
    return listed


def files_of(directories: list[str]) -> list[str]:
    """The files that a boot would read: every *.conf, by base name, from the first directory that has one of that name.

    Hidden files are ignored. A name that leads to /dev/null, to nothing or to no regular file masks that name in later
    directories (systemd, src/basic/conf-files.c; systemd-sysctl ignores what it cannot read).
    """
    chosen: dict[str, str] = {}
    for directory in directories:
        for name in os.listdir(directory):
            if name.endswith(".conf") and not name.startswith("."):
                chosen.setdefault(name, os.path.join(directory, name))  # noqa: PTH118
    paths = (chosen[name] for name in sorted(chosen, key=os.fsencode))
    return [path for path in paths if _is_file(path)]


def _is_file(path: str) -> bool:
    """Whether a path is, or may be, a regular file; if it cannot be read, reading it reports that."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True
