"""What the readers find: settings with their places, and places that cannot be read."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from harness.errors import LabError
from harness.kernel.sysctls import redact

LINES_LIMIT = 10_000
"""Settings in one run; more than that is no file of sysctls."""

_TROUBLES_LIMIT = 1000
_LONGEST_WHY = 500
_LISTED = 200
"""Settings that a refusal lists."""

LONGEST = 4096
"""Characters of a value (sysctl.conf(5)), and of a key."""

Where = tuple[str, int, int]
"""A file's name as it is shown, line and column."""

_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")
_SWAP = str.maketrans("./", "/.")
_SECRET_KEY = re.compile(r"(tcp_fastopen_key|stable_secret)(?![\w.])")
_SECRET = re.compile(
    rf"{_SECRET_KEY.pattern}(?!['\"]?$)"
    r"(?:(?! is not known here$).)+?((?:: what the shell puts there)? is not known here|['\"])?$",
    re.S,
)
"""The name of a key whose value is a secret (kernel/sysctls.py), what follows it, and what a reader says of it then."""


@dataclass(frozen=True, slots=True)
class Line:
    """One setting, and where it stands."""

    key: str
    """With dots; a dot inside a name is a slash: net.ipv4.conf.eth0/200.forwarding."""
    value: str
    source: str
    line: int
    column: int
    optional: str = ""
    """What forgives a key that is absent or cannot be set: the '-' of sysctl.d, sysctl's -e; else empty."""
    container: int = 0
    """Which container of those that were read together sets it, from 1: each has a network of its own. 0: the host."""
    overridden_by: str = ""
    """The place of the later line that takes its place, whatever the kernel says to that one; else empty."""
    at_start: bool = False
    """Whether the container's runtime writes it before the container starts, rather than a program that runs in it."""
    note: str = ""
    """What a reader had to assume: that a variable has its default, or that a file is loaded. Else empty."""
    glob: str = ""
    """The pattern as it was written, of which the key is a match; else empty."""

    @property
    def place(self) -> str:
        return f"{self.source}:{self.line}"

    @property
    def where(self) -> "Where":
        return self.source, self.line, self.column


@dataclass(frozen=True, slots=True)
class Place:
    """Where something cannot be read, and why. Line and column count from 1; line 0 means the file as a whole."""

    source: str
    line: int
    column: int
    why: str

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return shown(f"{where}: {self.why}")


class Malformed(LabError):
    """Places that cannot be read, all of them, and the settings that could be read. Neither is used."""

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
        correct = "correct these places, or take them out"
        return f"{correct}; explain and whatif use what was read with --partial" if self.lines else correct

    def __reduce__(self) -> tuple[type["Malformed"], tuple[tuple[Place, ...], tuple[Line, ...]]]:
        return Malformed, (self.places, self.lines)


class Found:
    """What a run of the readers collects."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.troubles: list[Place] = []
        self._containers: dict[int, tuple[int, object]] = {}
        self._latest: dict[tuple[int, str], Line] = {}

    def add(self, line: Line) -> None:
        """Take a setting; past LINES_LIMIT that is a trouble, once."""
        if len(self.lines) < LINES_LIMIT:
            self.lines.append(line)
        elif len(self.lines) == LINES_LIMIT:
            self.lines.append(line)
            self.trouble(line.source, line.line, line.column, f"more than {LINES_LIMIT} settings")

    def setting(
        self, key: str, value: str, where: Where, *, optional: str = "", scope: object = None,
        sometimes: bool = False, at_start: bool = False, note: str = "",
    ) -> None:  # fmt: skip
        """Take `key = value` as it is written, or the reason why it is none.

        `scope`: the container that it is set in, an object of its own; None is the host. `sometimes`: under a
        condition, which nobody decides here; if it would take another's place, it is a trouble. `at_start` and `note`
        are Line's.
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
            self.trouble(*line.where, f"{line.key} is {was} by {where}, and another under a condition")
        self._latest[line.container, line.key] = line
        self.add(line)

    def take_in(self, part: "Found", moved: Callable[[Where], Where], *, scope: object = None, sometimes: bool = False,
                note: str = "") -> None:  # fmt: skip
        """Take all that was found in a text inside a file, its places `moved` to where they are in the file.

        `scope` is the container of what is the host's in that text.
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
        """Whether so much was found that reading on serves nobody."""
        return len(self.lines) > LINES_LIMIT or len(self.troubles) >= _TROUBLES_LIMIT


def normalised(key: str) -> str:
    """A key with dots. The first separator of what was written decides what the others mean (sysctl.d(5)).

    A slash first: a path, whose dots belong to names. A dot first: dots separate, and slashes stand for dots in names
    (systemd, src/shared/sysctl-util.c, sysctl_normalize; procps' slashdot() has the same rule).
    """
    separator = re.search(r"[./]", key)
    if separator and separator[0] == "/":
        key = key.translate(_SWAP)
    return re.sub(r"\.{2,}", ".", key).strip(".")


def names_a_secret(text: str) -> bool:
    """Whether a text has the name of a key whose value is a secret."""
    return bool(_SECRET_KEY.search(text))


def without_secrets(text: str) -> str:
    """What is said of somebody's line, without all that follows the name of a key whose value is a secret."""
    return _SECRET.sub(r"\1 (secret)\2", text)


def path_of(key: str) -> str:
    """The path below /proc/sys of a normalised key."""
    return key.translate(_SWAP)


def wrong_with(key: str, value: str) -> str:
    """Why this can be no setting; empty where it can."""
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
        return f"{key.strip()!r} names nothing below /proc/sys"
    return ""


def overruled(lines: Iterable[Line]) -> list[Line]:
    """The same lines; of those with the same key, all but the last say which one takes their place (sysctl.d(5))."""
    last: dict[str, str] = {}
    marked = []
    for line in reversed(list(lines)):
        if line.key in last and not line.overridden_by:
            line = replace(line, overridden_by=last[line.key])
        last.setdefault(line.key, line.place)
        marked.append(line)
    return marked[::-1]


def by_container(lines: Iterable[Line]) -> list[list[Line]]:
    """What each container sets, and what the host does: lines of one do nothing to another."""
    found: dict[int, list[Line]] = {}
    for line in lines:
        found.setdefault(line.container, []).append(line)
    return list(found.values())


def one_network(lines: Sequence[Line]) -> None:
    """See that all containers, and the host, set the same: a lab is one of them. Else Malformed."""
    first, *others = by_container(lines) or [[]]
    for other in others:
        if _values(other) != _values(first):
            of = "another container" if other[0].container else "the host, not of the container"
            why = f"of {of} than {first[0].place}, with other sysctls: a lab is one network. Give each alone"
            raise Malformed([Place(other[0].source, other[0].line, other[0].column, why)])


def _values(lines: Iterable[Line]) -> dict[str, list[str]]:
    return {line.key: line.value.split() for line in lines}


def shown(text: str) -> str:
    """Text from somebody's file, safe for a terminal: what is not printable is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text)
