"""The results of the readers: settings with their places, and places that cannot be read."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from harness.errors import LabError
from harness.kernel.sysctls import redact

LINES_LIMIT = 10_000
"""The most settings in one run; a file with more is not a file of sysctls."""

_TROUBLES_LIMIT = 1000
_LONGEST_WHY = 500
_LISTED = 200
"""The most settings that a refusal lists."""

LONGEST = 4096
"""The most characters of a value (sysctl.conf(5)), and of a key."""

Where = tuple[str, int, int]
"""A file's name as it is shown, line and column."""

_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")
_SWAP = str.maketrans("./", "/.")
_SECRET_KEY = re.compile(r"(tcp_fastopen_key|stable_secret)(?![\w.])")
_SECRET = re.compile(
    rf"{_SECRET_KEY.pattern}(?!['\"]?$)"
    r"(?:(?! is not known here$).)+?((?:: the value that the shell inserts)? is not known here|['\"])?$",
    re.S,
)
"""The name of a key whose value is a secret (kernel/sysctls.py), the text after it, and the reader's own words."""


@dataclass(frozen=True, slots=True)
class Line:
    """One setting, and its place."""

    key: str
    """With dots as separators; a dot inside a name becomes a slash: net.ipv4.conf.eth0/200.forwarding."""
    value: str
    source: str
    line: int
    column: int
    optional: str = ""
    """What allows the key to be absent or not settable: the '-' of sysctl.d, sysctl's -e; else empty."""
    container: int = 0
    """The number, from 1, of the container that sets it: each has its own network. 0: the host."""
    overridden_by: str = ""
    """The place of the later line that replaces it, even if the kernel refuses that one; else empty."""
    at_start: bool = False
    """Whether the container's runtime writes it before the container starts, not a program inside the container."""
    note: str = ""
    """What the reader had to assume: that a variable has its default, or that a file is loaded. Else empty."""
    glob: str = ""
    """The pattern in the file that the key matches; empty if the file has the key itself."""

    @property
    def place(self) -> str:
        return f"{self.source}:{self.line}"

    @property
    def where(self) -> "Where":
        return self.source, self.line, self.column


@dataclass(frozen=True, slots=True)
class Place:
    """A place that cannot be read, and why. Line and column count from 1; line 0 means the file as a whole."""

    source: str
    line: int
    column: int
    why: str

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return shown(f"{where}: {self.why}")


class Malformed(LabError):
    """All places that cannot be read, and the settings that could be read; none of these is used."""

    def __init__(self, places: Sequence[Place], lines: Sequence[Line] = ()) -> None:
        self.places = tuple(dict.fromkeys(places))
        self.lines = tuple(lines)
        super().__init__("\n".join([*map(str, self.places), *self._read(), f"Nothing was used. Hint: {self._hint()}"]))

    def _read(self) -> Iterator[str]:
        if self.lines:
            yield f"Read: {len(self.lines)} setting{'s' * (len(self.lines) > 1)}"
        for line in self.lines[:_LISTED]:
            yield shown(f"  {line.place}: {line.key} = {redact(line.key, line.value)}")
        if len(self.lines) > _LISTED:
            yield f"  and {len(self.lines) - _LISTED} more"

    def _hint(self) -> str:
        correct = "correct these places, or remove them"
        return f"{correct}; with --partial, explain and whatif use what could be read" if self.lines else correct

    def __reduce__(self) -> tuple[type["Malformed"], tuple[tuple[Place, ...], tuple[Line, ...]]]:
        return Malformed, (self.places, self.lines)


class Found:
    """The settings and troubles that a run of the readers collects."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.troubles: list[Place] = []
        self._containers: dict[int, tuple[int, object]] = {}
        self._latest: dict[tuple[int, str], Line] = {}

    def add(self, line: Line) -> None:
        """Add a setting; beyond LINES_LIMIT, add one trouble instead."""
        if len(self.lines) < LINES_LIMIT:
            self.lines.append(line)
        elif len(self.lines) == LINES_LIMIT:
            self.lines.append(line)
            self.trouble(line.source, line.line, line.column, f"more than {LINES_LIMIT} settings")

    def setting(
        self, key: str, value: str, where: Where, *, optional: str = "", scope: object = None,
        sometimes: bool = False, at_start: bool = False, note: str = "",
    ) -> None:  # fmt: skip
        """Add `key = value` as it is written, or a trouble if it cannot be a setting.

        `scope`: an object that stands for the container that it is set in; None is the host. `sometimes`: it depends on
        a condition, which is not evaluated; if it would replace another value, it is a trouble. `at_start` and `note`
        are as in Line.
        """
        if why := wrong_with(key, value):
            self.trouble(*where, why)
            return
        container = self._number(scope)
        line = Line(normalised(key.strip()), value.strip(), *where, optional, container, "", at_start, note)
        self._take(line, sometimes=sometimes)

    def _number(self, scope: object) -> int:
        if scope is None:
            return 0
        number, _ = self._containers.setdefault(id(scope), (len(self._containers) + 1, scope))
        return number

    def _take(self, line: Line, *, sometimes: bool) -> None:
        before = self._latest.get((line.container, line.key))
        if sometimes and before and before.value.split() != line.value.split():
            was, where = redact(line.key, before.value), before.place
            self.trouble(*line.where, f"{line.key} is {was} at {where}, but has another value under a condition")
        self._latest[line.container, line.key] = line
        self.add(line)

    def take_in(self, part: "Found", moved: Callable[[Where], Where], *, scope: object = None, sometimes: bool = False,
                note: str = "") -> None:  # fmt: skip
        """Add everything that was found in a text inside a file, its places `moved` to their places in the file.

        `scope` is the container for those settings that are the host's in that text.
        """
        scopes = dict(part._containers.values()) | {0: scope}
        for line in part.lines:
            source, row, column = moved(line.where)
            line = replace(
                line, source=source, line=row, column=column, container=self._number(scopes[line.container]),
                note="; ".join(filter(None, (line.note, note))),
            )  # fmt: skip
            self._take(line, sometimes=sometimes)
        for place in part.troubles:
            self.trouble(*moved((place.source, place.line, place.column)), place.why)

    def trouble(self, source: str, line: int, column: int, why: str) -> None:
        if len(self.troubles) < _TROUBLES_LIMIT:
            why = without_secrets(why)
            why = why if len(why) <= _LONGEST_WHY else f"{why[:_LONGEST_WHY]}…"
            self.troubles.append(Place(source, line, column, why))

    @property
    def full(self) -> bool:
        """Whether a limit is reached, so that reading can stop."""
        return len(self.lines) > LINES_LIMIT or len(self.troubles) >= _TROUBLES_LIMIT


def normalised(key: str) -> str:
    """A key with dots as separators. The first separator in the text decides what the others mean (sysctl.d(5)).

    If it is a slash, the key is a path, whose dots belong to names. If it is a dot, dots separate, and slashes stand
    for dots in names (systemd, src/shared/sysctl-util.c, sysctl_normalize; procps' slashdot() has the same rule).
    """
    separator = re.search(r"[./]", key)
    if separator and separator[0] == "/":
        key = key.translate(_SWAP)
    return re.sub(r"\.{2,}", ".", key).strip(".")


def names_a_secret(text: str) -> bool:
    """Whether a text contains the name of a key whose value is a secret."""
    return bool(_SECRET_KEY.search(text))


def without_secrets(text: str) -> str:
    """A message about a line, without anything that follows the name of a key whose value is a secret."""
    return _SECRET.sub(r"\1 (secret)\2", text)


def path_of(key: str) -> str:
    """The path below /proc/sys of a normalised key."""
    return key.translate(_SWAP)


def wrong_with(key: str, value: str) -> str:
    """Why `key = value` cannot be a setting; empty if it can."""
    if max(len(key), len(value)) > LONGEST:
        return f"longer than {LONGEST} characters"
    if not key.strip():
        return "no key before '='"
    if re.search(r"\s", key.strip()):
        return f"a space in the key {key.strip()!r}"
    if _UNSAFE.search(key) or _UNSAFE.search(value.strip()):
        return "a control character"
    names = path_of(normalised(key)).split("/")
    if not normalised(key) or any(name in ("", ".", "..") or len(name) > 255 for name in names):
        return f"{key.strip()!r} cannot be a name below /proc/sys"
    return ""


def overruled(lines: Iterable[Line]) -> list[Line]:
    """The lines, with all but the last of each key marked as overridden by that one (sysctl.d(5))."""
    last: dict[str, str] = {}
    marked = []
    for line in reversed(list(lines)):
        if line.key in last and not line.overridden_by:
            line = replace(line, overridden_by=last[line.key])
        last.setdefault(line.key, line.place)
        marked.append(line)
    return marked[::-1]


def by_container(lines: Iterable[Line]) -> list[list[Line]]:
    """The lines in groups, one for each container and one for the host: they do not affect each other."""
    found: dict[int, list[Line]] = {}
    for line in lines:
        found.setdefault(line.container, []).append(line)
    return list(found.values())


def one_network(lines: Sequence[Line]) -> None:
    """Malformed unless all containers, and the host, set the same: a lab has only one network."""
    first, *others = by_container(lines) or [[]]
    for other in others:
        if _values(other) != _values(first):
            of = "another container than" if other[0].container else "the host, not of the container at"
            why = f"of {of} {first[0].place}, with other sysctls: a lab has one network. Hint: give each alone"
            raise Malformed([Place(other[0].source, other[0].line, other[0].column, why)])


def _values(lines: Iterable[Line]) -> dict[str, list[str]]:
    return {line.key: line.value.split() for line in lines}


def shown(text: str) -> str:
    """Text from a user's file, made safe for a terminal: unprintable characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
