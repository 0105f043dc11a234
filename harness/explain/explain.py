"""What each setting would do here. A key of a network namespace is set in a new namespace, and read back.

All other keys are only looked up, never written (kernel/netns_keys.py).
"""

import difflib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.errors import LabError, NotOfANetwork, ReadOnlySysctl, RefusedValue, SharedSysctl, UnknownSysctl
from harness.explain import consequences, known
from harness.kernel.netns_keys import why_not_written
from harness.kernel.sysctls import redact
from harness.lab.asking import KeeperHandle
from harness.sysctl_files import names
from harness.sysctl_files.lines import Line, by_container, path_of
from harness.sysctl_files.sysctl_d import ROOT

_WIDEST = 1 << 64
"""No sysctl accepts a number of this size or more (kernel/sysctl.c: unsigned long)."""

_ONLY_IN_THE_INITIAL_NETWORK = "net.core.netdev_max_backlog"
"""net/core/sysctl_net_core.c, net_core_table. If it can be seen, so can every other key that only the host has."""

_OF_AN_INTERFACE = re.compile(r"(net\.\w+\.(?:conf|neigh))\.([^.]+)\.(\w+)")
_OF_EVERY_INTERFACE = ("all", "default")

_FOLDERS = ("net.core", "net.ipv4", "net.netfilter")


class Kind(StrEnum):
    """The ten outcomes."""

    APPLIED = "applied"
    SAME = "same as now"
    REMOVED = "removed from Linux"
    HOST_WIDE = "host-wide"
    UNTRIED = "cannot be tried here"
    READ_ONLY = "read-only here"
    REFUSED = "value refused"
    UNKNOWN = "unknown"
    OVERRIDDEN = "overridden"
    NO_EFFECT = "without effect"


_NOT_TAKEN = (Kind.HOST_WIDE, Kind.READ_ONLY, Kind.REFUSED, Kind.UNKNOWN, Kind.REMOVED)
"""Outcomes for keys and values that a network namespace does not accept."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one line, and a sentence on it."""

    line: Line
    kind: Kind
    text: str


Before = Callable[[str], str | None]
"""Returns a key's value before the change, its fields separated by single spaces; None if there is no such key."""


def explain(lines: Sequence[Line], before: Before, keeper: KeeperHandle, others: Before | None = None) -> list[Verdict]:
    """One verdict for each line. Afterwards the lab's network has all values that the kernel accepted.

    No verdict contains a secret, not even in its line.

    `before` is what "same as now" compares with; `others` has the values afterwards of keys that no line sets, if they
    differ from those before. LabUnavailable if sysctls cannot be written at all.
    """
    taken: dict[str, tuple[str, Line]] = {}
    first = [_tried(line, keeper, taken) for line in lines]
    asked = others or before
    verdicts = [
        verdict or _of_what_was_taken(line, before, asked, taken) for line, verdict in zip(lines, first, strict=True)
    ]
    verdicts = [replace(each, text=each.text + _what_follows(each, asked, taken)) for each in verdicts]
    return [replace(each, line=replace(each.line, value=redact(each.line.key, each.line.value))) for each in verdicts]


def in_each_network(lines: Sequence[Line], of_one: Callable[[list[Line]], list[Verdict]]) -> list[Verdict]:
    """One verdict for each line, in order; `of_one` returns those for the lines of one container, or of the host."""
    groups = by_container(lines)
    found = {id(line): each for group in groups for line, each in zip(group, of_one(group), strict=True)}
    return [found[id(line)] for line in lines]


def as_of_a_container(verdict: Verdict) -> Verdict:
    """The verdict, with a note that a container does not begin with the host's values."""
    begins = "; a container begins with the kernel's own values"
    return replace(verdict, text=verdict.text + begins) if verdict.kind in (Kind.APPLIED, Kind.SAME) else verdict


def host_value(key: str) -> str | None:
    """The value in the caller's own network."""
    try:
        return _in_fields((ROOT / path_of(key)).read_text())
    except (OSError, ValueError):
        return None


def kernel_value(keeper: KeeperHandle) -> Before:
    """A reader of the lab's values; before anything is written, these are the kernel's defaults."""

    def value(key: str) -> str | None:
        try:
            return str(keeper.ask("read_sysctl", key=key))
        except LabError:
            return None

    return value


def _in_fields(value: str) -> str:
    return " ".join(value.split())


def _tried(line: Line, keeper: KeeperHandle, taken: dict[str, tuple[str, Line]]) -> Verdict | None:
    """Write a line; None if the kernel accepted it: then `taken` has the value as the kernel has it, and the line."""
    if line.overridden_by:
        return _overridden(line, line.overridden_by)
    try:
        keeper.ask("write_sysctl", key=line.key, value=line.value)
    except (UnknownSysctl, NotOfANetwork):
        return _absent(line)
    except ReadOnlySysctl:
        return _read_only(line)
    except SharedSysctl:
        return Verdict(line, Kind.HOST_WIDE, f"not tried: {why_not_written(line.key)}")
    except RefusedValue as error:
        return Verdict(line, Kind.REFUSED, _refusal(line, error, keeper))
    taken[line.key] = (kernel_value(keeper)(line.key) or _in_fields(line.value), line)
    return None


def _of_what_was_taken(line: Line, before: Before, others: Before, taken: dict[str, tuple[str, Line]]) -> Verdict:
    def effective_value(key: str) -> str | None:
        return taken[key][0] if key in taken else others(key)

    if (last := taken[line.key][1]) is not line:
        return _overridden(line, last.place)
    if why := known.dead(line.key):
        return Verdict(line, Kind.NO_EFFECT, why)
    for key, value, why in known.without_effect(line.key, line.value, effective_value):
        where = f" ({taken[key][1].place})" if key in taken else ""
        return Verdict(line, Kind.NO_EFFECT, f"{key} is {value}{where}: {why}")
    was, value = before(line.key), taken[line.key][0]
    shown = redact(line.key, value)
    if was == value:
        return Verdict(line, Kind.SAME, f"already {shown or 'empty'}")
    became = (
        ""
        if value == _in_fields(line.value)
        else f"; the kernel makes it {shown}{consequences.of_the_text(line.value)}"
    )
    return Verdict(line, Kind.APPLIED, ("set" if was is None else f"was {redact(line.key, was) or 'empty'}") + became)


def _what_follows(verdict: Verdict, others: Before, taken: dict[str, tuple[str, Line]]) -> str:
    """The notes that follow a verdict: the consequences of its line, and what the reader of the file had to assume."""
    line, kind = verdict.line, verdict.kind
    found = consequences.of_a_container(line, refused=kind in _NOT_TAKEN and consequences.cannot_be_written(line, kind))
    if kind in (Kind.APPLIED, Kind.SAME):
        found += consequences.of_ports(line, lambda key: taken[key][0] if key in taken else others(key))
    return found + (f"; {line.note}" if line.note else "")


def _overridden(line: Line, by: str) -> Verdict:
    return Verdict(line, Kind.OVERRIDDEN, f"{by} comes later, and takes precedence")


def _absent(line: Line) -> Verdict:
    if why := _of_what_a_lab_lacks(line.key):
        return Verdict(line, Kind.UNTRIED, why)
    if (why := known.dead(line.key)) and (_exists_outside(line.key) or known.only_of_the_host(line.key)):
        return Verdict(line, Kind.NO_EFFECT, why)
    if _exists_outside(line.key):
        if not _writable_outside(line.key):
            return Verdict(line, Kind.READ_ONLY, "the kernel does not allow writing it")
        of = "" if line.key.startswith("net.") else ", not of a network namespace"
        return Verdict(line, Kind.HOST_WIDE, f"a key of the whole host{of}: it cannot be tried in a namespace")
    if why := known.removed(line.key):
        return Verdict(line, Kind.REMOVED, why)
    if known.only_of_the_host(line.key) and not _exists_outside(_ONLY_IN_THE_INITIAL_NETWORK):
        return Verdict(line, Kind.HOST_WIDE, "a key of the whole host: it cannot be tried in a namespace")
    near = "" if names.in_linux(line.key) else nearest(line.key)
    allowed = f", which {line.optional} allows" if line.optional else ""
    why = consequences.of_an_unknown_key(line.key)
    return Verdict(line, Kind.UNKNOWN, f"{why}{allowed}" + (f"; did you mean {near}?" if near else ""))


def _of_what_a_lab_lacks(key: str) -> str:
    """What the key belongs to, if that is neither the whole host nor anything that a lab has; else empty."""
    if _exists_outside(key) and (kind := known.of_another_namespace(key)):
        return f"{kind}: a lab has only a network namespace"
    match = _OF_AN_INTERFACE.fullmatch(key)
    if not match or match[2] in _OF_EVERY_INTERFACE:
        return ""
    meant = difflib.get_close_matches(match[2], _OF_EVERY_INTERFACE, 1, 0.6)
    if _exists_outside(key) or (_exists_outside(f"{match[1]}.default.{match[3]}") and not meant):
        return f"of the interface {path_of(match[2])}, which a lab does not have"
    return ""


def _read_only(line: Line) -> Verdict:
    """The verdict on a key that cannot be written in a lab.

    Outside, root may write a key if its mode has any write bit (kernel/sysctl.c, test_perm).
    """
    if _writable_outside(line.key) or known.only_of_the_host(line.key):
        return Verdict(line, Kind.HOST_WIDE, "only the host's own network may set this: a namespace may not")
    return Verdict(line, Kind.READ_ONLY, "the kernel does not allow writing it here")


def _writable_outside(key: str) -> bool:
    try:
        return bool((ROOT / path_of(key)).stat().st_mode & 0o222)
    except OSError:
        return False


def _refusal(line: Line, error: RefusedValue, keeper: KeeperHandle) -> str:
    range_ = accepted_range(line.key, keeper)
    takes = f"takes {range_[0]} to {range_[1]}" if range_ else str(error).partition(". Hint:")[0]
    return takes + consequences.of_the_text(line.value)


def accepted_range(key: str, keeper: KeeperHandle) -> tuple[int, int] | None:
    """The smallest and the largest number that the kernel accepts for a key of one number; None for other keys.

    Found by writing, from the current value outwards; the values in between are assumed to be accepted. The current
    value is restored.
    """
    value = kernel_value(keeper)(key) or ""
    if not value.lstrip("-").isdecimal() or not _takes(key, value, keeper):
        return None
    found = tuple(_furthest(int(value), limit, lambda number: _takes(key, str(number), keeper))
                  for limit in (-_WIDEST, _WIDEST))  # fmt: skip
    _takes(key, value, keeper)
    return found[0], found[1]


def _furthest(good: int, bad: int, taken: Callable[[int], bool]) -> int:
    """The last accepted number from `good` towards `bad`, by bisection."""
    while abs(bad - good) > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if taken(middle) else (good, middle)
    return good


def _takes(key: str, value: str, keeper: KeeperHandle) -> bool:
    try:
        keeper.ask("write_sysctl", key=key, value=value)
    except RefusedValue:
        return False
    return kernel_value(keeper)(key) == value  # unsigned longs ignore a negative number (proc_doulongvec_minmax)


def nearest(key: str) -> str:
    """The key of this kernel that is most like `key`, in one of its names or in its folder; empty if none is."""
    names = path_of(key).split("/")
    for depth in range(len(names) - 1, 0, -1):
        for near in difflib.get_close_matches(names[depth], _names("/".join(names[:depth])), 3, 0.6):
            found = path_of("/".join([*names[:depth], near, *names[depth + 1 :]]))
            if _exists_outside(found):
                return found
    return next((found for folder in _FOLDERS if _exists_outside(found := f"{folder}.{path_of(names[-1])}")), "")


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(ROOT / folder)
    except OSError:
        return []


def _exists_outside(key: str) -> bool:
    return os.path.isfile(ROOT / path_of(key))  # noqa: PTH113
