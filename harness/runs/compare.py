"""What changed between two runs: each observable of each story, before and after, with a verdict.

An observable is whether a story ends as expected, its course, or a finding. Two measured times are the same if they
differ by no more than the wider of the two intervals that they were expected in: the timer's granularity
(harness/predict/timers.py) plus the allowance for the scheduler. Anything else is the same if it is equal.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product, zip_longest
from typing import Any

from harness.runs.record import Play, Run
from harness.story.verdicts import StoryVerdict

COURSE = "its course"
"""The observable of a story whose timeline is in the record: its steps, and the shape of its connections."""

ENDING = "the story"
"""The observable that every story has: whether it ends as expected."""

_LONG_S = 100
_AS_FAR_AS_IT_WENT = {StoryVerdict.PASSED, StoryVerdict.NOT_MEASURED}
NOT_AS_EXPECTED = "NOT as expected"
_ENDINGS: dict[str, str] = {StoryVerdict.PASSED: "as expected", StoryVerdict.FAILED: NOT_AS_EXPECTED}


class Verdict(StrEnum):
    """How an observable compares."""

    SAME = "same"
    CHANGED = "CHANGED"
    VARIES = "differs from run to run"
    NOT_MEASURED = "not measured"
    PREDICTED = "not measured, predicted to change"
    GONE = "only in one run"


@dataclass(frozen=True, slots=True)
class Row:
    """One observable. `before` and `after` are texts to show; `measured` has the values of each play."""

    story: str
    observable: str
    before: str
    after: str
    verdict: Verdict
    note: str = ""
    """A restriction of the verdict."""

    measured: tuple[list[Any], list[Any]] = field(default=([], []), compare=False)

    @property
    def scenario(self) -> str:
        """The scenario's name, from its file."""
        return self.story.partition("::")[0].rpartition("/")[2].removesuffix(".py")


def compare(before: Run, after: Run) -> list[Row]:
    """A row for every observable of both runs, by story; within a story its ending, then its findings in their order.

    If a story's plays only predicted an observable, and passed until then, that observable has a row for it, and the
    story has no ending.
    """
    sides = _by_story(before.plays), _by_story(after.plays)
    stories = dict.fromkeys([*sides[0], *sides[1]])
    return [row for story in sorted(stories) for row in _rows(story, *(side.get(story, []) for side in sides))]


def changed(rows: Iterable[Row]) -> list[Row]:
    """The rows with the verdict CHANGED."""
    return [row for row in rows if row.verdict is Verdict.CHANGED]


def sysctls(before: Run, after: Run) -> dict[str, tuple[str, str]]:
    """The sysctls that differ between the two runs: by key, the values before and after."""
    was, now = ({key: " ".join(value.split()) for key, value in run.settings.items()} for run in (before, after))
    return {key: (was[key], now[key]) for key in sorted(was.keys() & now.keys()) if was[key] != now[key]}


def in_only_one(before: Run, after: Run) -> list[str]:
    """The sysctls that only one of the records has, so that it is not known whether they differ."""
    return sorted(before.settings.keys() ^ after.settings.keys())


def _by_story(plays: Iterable[Play]) -> dict[str, list[Play]]:
    stories: dict[str, list[Play]] = {}
    for play in plays:
        stories.setdefault(play["story"], []).append(play)
    return stories


def _rows(story: str, before: list[Play], after: list[Play]) -> Iterator[Row]:
    if not before or not after:
        yield Row(story, ENDING, _endings(before) or "not played", _endings(after) or "not played", Verdict.GONE)
        return
    verdicts = {play["verdict"] for play in before + after}
    if StoryVerdict.NOT_MEASURED not in verdicts or verdicts - _AS_FAR_AS_IT_WENT:
        yield _ending(story, before, after)
    sides = [[play for play in side if play["verdict"] in _AS_FAR_AS_IT_WENT] for side in (before, after)]
    yield from _course(story, *sides)
    if all(sides):  # if a story did not end as expected, findings may be missing only because of that
        names = dict.fromkeys(each["name"] for side in sides for play in side for each in play["findings"])
        for name in names:
            old, new = ([_found(play, name) for play in side] for side in sides)
            if _not_reached(sides[0], old) or _not_reached(sides[1], new):
                continue
            verdict = _verdict(old, new)
            alike = old + new if verdict is Verdict.SAME else []
            yield Row(story, name, _shown(alike or old), _shown(alike or new), verdict, measured=(old, new))


def _course(story: str, before: list[Play], after: list[Play]) -> Iterator[Row]:
    """The row for the course; if the courses differ, it shows the first line that differs."""
    old, new = ([play["course"] for play in side] for side in (before, after))
    if not (old and new and all(old + new)):
        return
    alike = all(course == old[0] for course in old) and all(course == new[0] for course in new)
    verdict = (Verdict.SAME if old[0] == new[0] else Verdict.CHANGED) if alike else Verdict.VARIES
    yield Row(story, COURSE, _first_apart(old[0], new[0]), _first_apart(new[0], old[0]), verdict)


def _first_apart(lines: list[str], others: list[str]) -> str:
    apart = [line for line, other in zip_longest(lines, others) if line != other]
    return f"“{apart[0] or 'its end'}”" if apart else f"{len(lines)} lines"


def _not_reached(plays: list[Play], values: list[Any]) -> bool:
    """Whether no play reached an observable because one before it was not measured."""
    return not any(value is not None for value in values) and any(
        play["verdict"] == StoryVerdict.NOT_MEASURED for play in plays
    )


def _ending(story: str, before: list[Play], after: list[Play]) -> Row:
    """The row for whether the story ends as expected; plays that were skipped or inconclusive do not count."""
    sides = [{_ENDINGS[play["verdict"]] for play in side if play["verdict"] in _ENDINGS} for side in (before, after)]
    if not all(sides) or sides == [{_ENDINGS[StoryVerdict.FAILED]}] * 2:  # a story that always fails shows nothing
        verdict = Verdict.NOT_MEASURED
    elif max(map(len, sides)) > 1:
        verdict = Verdict.VARIES
    else:
        verdict = Verdict.SAME if sides[0] == sides[1] else Verdict.CHANGED
    return Row(story, ENDING, _endings(before), _endings(after), verdict)


def _endings(plays: list[Play]) -> str:
    verdicts: set[str] = {play["verdict"] for play in plays}
    return ", or ".join(sorted(_ENDINGS.get(each, each) for each in verdicts))


def _found(play: Play, name: str) -> Any:
    return next((each["value"] for each in play["findings"] if each["name"] == name), None)


def _verdict(before: list[Any], after: list[Any]) -> Verdict:
    if any(_is_untried(value) for value in before) and any(_is_untried(value) for value in after):
        alike = all(_same(*pair) for pair in product(before, after))
        return Verdict.NOT_MEASURED if alike else Verdict.PREDICTED
    if not all(_same(*pair) for side in (before, after) for pair in product(side, side)):
        return Verdict.VARIES
    return Verdict.SAME if _same(before[0], after[0]) else Verdict.CHANGED


def _same(one: Any, other: Any) -> bool:
    if _is_time(one) and _is_time(other):
        tolerance = max(each["to"] - each["from"] for each in (one, other))
        return bool(abs(one["seconds"] - other["seconds"]) <= tolerance)
    if _is_untried(one) and _is_untried(other):
        if "from" in one and "from" in other:
            return bool(one["from"] == other["from"])  # exact: predicted from sysctls alone
        return bool(one["predicted"] == other["predicted"])
    return type(one) is type(other) and bool(one == other)


def _is_time(value: Any) -> bool:
    return isinstance(value, dict) and "seconds" in value


def _is_untried(value: Any) -> bool:
    return isinstance(value, dict) and "predicted" in value


def _shown(values: list[Any]) -> str:
    """A text for the values that is the same for every run: for equal times, the lower end of the earliest interval.

    That end is exact. (Two plays may differ by a jiffy in the RTO that a prediction is based on.)
    """
    if all(isinstance(value, dict) and "from" in value and _same(value, values[0]) for value in values):
        values = [min(values, key=lambda value: float(value["from"]))]
    return ", or ".join(dict.fromkeys(map(_words, values)))


def _words(value: Any) -> str:
    match value:
        case {"seconds": seconds, "from": begins, "to": ends}:
            return _seconds(begins if begins <= seconds <= ends else seconds)
        case {"predicted": _, "from": begins}:
            return f"predicted {_seconds(begins)}"
        case {"predicted": predicted}:
            return f"predicted {predicted}"
        case None:
            return "nothing"
        case bool():
            return "yes" if value else "no"
    return str(value)


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < _LONG_S else f"{seconds:.0f} s"
