"""The sysctls in INI: tuned's `[sysctl]`, quadlet's `Sysctl=` and `PodmanArgs=`, a systemd unit's `ExecStart=`.

Not read with configparser, which keeps neither places nor repeated names; both are needed here.
At the beginning of a line, `#` and `;` begin a comment. systemd joins a line that ends in a backslash to the next one
(systemd.syntax(7)). tuned reads its files with configparser (tuned/profiles/loader.py, _load_config_data): of two
values of a name, the last one counts, ` #` begins a comment, and an indented line continues the value before it.
"""

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from harness.sysctl_files import scripts
from harness.sysctl_files.lines import Found, Where
from harness.sysctl_files.names import is_name

_OF_THE_PLUGIN = {
    "type", "devices", "devices_udev_regex", "enabled", "priority", "replace", "prepend", "append", "drop",
}  # fmt: skip
"""Names in [sysctl] that are tuned's own (tuned/units/manager.py), not the kernel's."""

_QUOTED = re.compile(r'^"(.*)"$')
_HEADER = re.compile(r"\[([^\]\n]*)\]\s*([#;].*)?")
_VARIABLE = re.compile(r"\$\{(\w+)\}")
_EXEC = re.compile(r"(?i)exec(start|startpre|startpost|condition|reload|stop|stoppost)")
_INLINE_COMMENT = re.compile(r"(^|\s)#.*")
_OF_TUNED = ("sysctl", "variables")
_ARGUMENTS = ("podmanargs", "globalargs")
"""Options of podman (podman-systemd.unit(5))."""

_ON_THE_KERNEL_COMMAND_LINE = re.compile(r"(?<![\w./-])sysctl[./]([\w./*@:-]+)=")
"""`sysctl.NAME=VALUE` (Linux, fs/proc/proc_sysctl.c, process_sysctl_arg())."""

_PREFIXES = re.compile(r"[-@:+!|]*")
"""Prefixes of a command (systemd.service(5))."""


@dataclass(frozen=True, slots=True)
class _Pair:
    section: str
    name: str
    value: str
    where: Where


def read(text: str, source: str, found: Found) -> None:
    """Read one file into `found`."""
    file = _File(source, found)
    pairs = list(_pairs(text, source, found))
    file.variables = {pair.name: pair.value for pair in pairs if pair.section == "variables"}
    file.last = {pair.name: pair for pair in pairs if pair.section == "sysctl"}
    # Quadlet puts PodmanArgs= after all other options, and podman uses the last of two --sysctl.
    for pair in sorted(pairs, key=lambda pair: pair.name.lower() == "podmanargs"):
        if found.full:
            return
        file.take(pair)


def _pairs(text: str, source: str, found: Found) -> Iterator[_Pair]:
    """Each `name = value`, with its section. In [sysctl], any other line is reported."""
    section, indent, lines = "", 1, enumerate(re.split(r"\r?\n", text), 1)
    for number, raw in lines:
        line, column = raw.strip(), len(raw) - len(raw.lstrip()) + 1
        if not line or line[0] in "#;":
            continue
        if header := _HEADER.fullmatch(line):
            section, indent = header[1].strip(), len(raw)
            continue
        is_continuation, indent = section in _OF_TUNED and column > indent, min(indent, column)
        line = _INLINE_COMMENT.sub("", line) if section in _OF_TUNED else _joined(line, lines)
        if is_continuation:
            why = f"{line!r}: tuned reads an indented line as part of the value before it"
            found.trouble(source, number, column, why)
        elif pair := _pair(section, line, (source, number, column), found):
            yield pair


def _joined(line: str, lines: Iterator[tuple[int, str]]) -> str:
    parts = [line]
    while parts[-1].endswith("\\") and (following := next(lines, None)):
        parts[-1] = parts[-1][:-1]
        parts.append(following[1].strip())
    return " ".join(parts)


def _pair(section: str, line: str, where: Where, found: Found) -> _Pair | None:
    name, equals, value = line.partition("=")
    if equals:
        return _Pair(section, name.strip(), value.strip(), where)
    if section == "sysctl" or is_name(name.strip()):
        found.trouble(*where, f"no '=' in {line!r}")
    return None


class _File:
    def __init__(self, source: str, found: Found) -> None:
        self._source, self._found = source, found
        self.variables: dict[str, str] = {}
        self.last: dict[str, _Pair] = {}

    def take(self, pair: _Pair) -> None:
        """Read one line."""
        if pair.section == "sysctl":
            self._of_tuned(pair)
        elif pair.name.lower() == "sysctl":
            self._of_a_container(pair, self._words(pair, pair.value))
        elif pair.name.lower() in _ARGUMENTS:
            self._of_a_container(pair, self._options(pair))
        elif _EXEC.fullmatch(pair.name):
            self._command(pair)
        else:
            self._of_another(pair)

    def _of_another(self, pair: _Pair) -> None:
        """A name that is neither quadlet's nor systemd's, in a section that is not tuned's [sysctl]."""
        parent = _INLINE_COMMENT.sub("", pair.value).strip() if (pair.section, pair.name) == ("main", "include") else ""
        if parent:  # tuned/profiles/loader.py, _load_profile
            why = f"include={parent}: the parent profile's settings are not read. Hint: give that profile too"
            self._found.trouble(*pair.where, why)
        for key in _ON_THE_KERNEL_COMMAND_LINE.findall(f"{pair.name}={pair.value}"):
            if is_name(key):
                why = (
                    f"{key} is set on the kernel command line, which is not supported. Hint: give it as a sysctl.d file"
                )
                self._found.trouble(*pair.where, why)
        if is_name(pair.name, pair.value):
            self._found.setting(pair.name, pair.value, pair.where)
        elif scripts.sets_sysctls(pair.value):
            self._found.trouble(*pair.where, f"a command that sets sysctls: {pair.name}. Hint: give it as a script")

    def _of_tuned(self, pair: _Pair) -> None:
        """tuned/plugins/plugin_sysctl.py; its variables are those of [variables] (tuned/profiles/variables.py)."""
        if pair.name in _OF_THE_PLUGIN or pair is not self.last[pair.name]:
            return
        value = _VARIABLE.sub(lambda match: self.variables.get(match[1], match[0]), _QUOTED.sub(r"\1", pair.value))
        if "$" in value:
            self._found.trouble(
                *pair.where, f"{pair.name}={pair.value}: the value that tuned inserts is not known here"
            )
        elif value[:1] in ("<", ">"):  # plugins/base.py, _process_assignment_modifiers
            why = f"{pair.name}={value}: tuned compares this with the current value, and may keep that"
            self._found.trouble(*pair.where, why)
        else:
            self._found.setting(pair.name, value, pair.where)

    def _of_a_container(self, pair: _Pair, words: list[str]) -> None:
        """Read settings separated by spaces, as podman does; a file describes one container."""
        for word in words:
            key, equals, value = word.partition("=")
            if "$" in word or "%" in value:
                self._found.trouble(*pair.where, f"{word}: the value that systemd inserts is not known here")
            elif equals:
                self._found.setting(key, value, pair.where, scope=self, at_start=True)
            else:
                self._found.trouble(*pair.where, f"{word!r} is not KEY=VALUE. Hint: quote a value with spaces")

    def _options(self, pair: _Pair) -> list[str]:
        """The settings of `--sysctl KEY=VALUE` and `--sysctl=KEY=VALUE`, among other options of podman."""
        words = itertools.pairwise([*self._words(pair, pair.value), ""] if "--sysctl" in pair.value else [])
        return [
            following if word == "--sysctl" else word.removeprefix("--sysctl=")
            for word, following in words
            if word == "--sysctl" or word.startswith("--sysctl=")
        ]

    def _command(self, pair: _Pair) -> None:
        """Read a command, whose words are quoted as in a shell (systemd.syntax(7), Quoting)."""
        command = pair.value[_PREFIXES.match(pair.value).end() :]  # type: ignore[union-attr]
        words = self._words(pair, command) if scripts.sets_sysctls(command) or "--sysctl" in command else []
        part = Found()
        scripts.read(shlex.join(words), self._source, part, set())
        self._found.take_in(part, lambda _: pair.where)

    def _words(self, pair: _Pair, text: str) -> list[str]:
        try:
            return shlex.split(text)
        except ValueError as error:
            self._found.trouble(*pair.where, str(error).lower())
            return []
