"""Folds the verdicts on the keys of a glob into one, because they would repeat for every interface."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.explain.explain import Verdict

_NAMED = 3


def fold(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts, with those on the keys of one glob folded into one for each outcome, with the glob as its key."""
    found: list[Verdict] = []
    for (_, _, glob), group in itertools.groupby(verdicts, lambda each: (*each.line.where[:2], each.line.glob)):
        its = list(group)
        found += _folded(its, glob) if glob and len(its) > 1 else its
    return found


def _folded(verdicts: Sequence[Verdict], glob: str) -> Iterable[Verdict]:
    """One verdict for each outcome. Texts that differ only in the key's own part are merged."""
    pattern = _pattern(glob)
    by_kind: dict[str, list[Verdict]] = {}
    for each in verdicts:
        by_kind.setdefault(each.kind, []).append(each)
    for its in by_kind.values():
        texts: dict[str, list[str]] = {}
        for each in its:
            own = _own(pattern, each.line.key)
            texts.setdefault(_without(each.text, own), []).append(own)
        text = "; ".join(f"{each} ({_listed(names)})" for each, names in texts.items())
        yield replace(its[0], line=replace(its[0].line, key=glob), text=text)


def _pattern(glob: str) -> re.Pattern[str]:
    """A regular expression that captures what matches each part of a glob that is a pattern."""
    parts = (r"([^.]+)" if re.search(r"[*?[]", part) else re.escape(part) for part in glob.split("."))
    return re.compile(r"\.".join(parts))


def _own(pattern: re.Pattern[str], key: str) -> str:
    match = pattern.fullmatch(key)
    return ".".join(match.groups()).replace("/", ".") if match else key


def _without(text: str, own: str) -> str:
    return text.replace(f"the interface {own}, which", "an interface that")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
