"""What moved between two runs: each observable of each story, before and after, with a verdict.

An observable is whether a story ends as expected, its course, or a finding. Two measured times are the same where they
differ by no more than the wider of the two intervals that they were expected in: a timer's own granularity
(harness/predict/timers.py) and the allowance for the scheduler. Anything else is the same where it is equal.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product, zip_longest
from typing import Any

from harness.runs.record import Play, Run
from harness.story.verdicts import StoryVerdict

COURSE = "its course"
"""The observable that a story has where its timeline is in the record: steps, and what is certain of connections."""

ENDING = "the story"
"""The observable that every story has: does it end as expected?"""

_LONG_S = 100
_AS_FAR_AS_IT_WENT = {StoryVerdict.PASSED, StoryVerdict.NOT_MEASURED}
NOT_AS_EXPECTED = "NOT as expected"
_ENDINGS: dict[str, str] = {StoryVerdict.PASSED: "as expected", StoryVerdict.FAILED: NOT_AS_EXPECTED}


class Verdict(StrEnum):
    """What became of an observable."""

    SAME = "same"
    CHANGED = "CHANGED"
    VARIES = "differs from run to run"
    NOT_MEASURED = "not measured"
    PREDICTED = "not measured, predicted to change"
    GONE = "only in one run"


@dataclass(frozen=True, slots=True)
class Row:
    """One observable. `before` and `after` are for people; the values of each play are in `measured`."""

    story: str
    observable: str
    before: str
    after: str
    verdict: Verdict
    note: str = ""
    """What weakens the verdict."""

    measured: tuple[list[Any], list[Any]] = field(default=([], []), compare=False)

    @property
    def scenario(self) -> str:
        """The file's name, without its ending."""
        return self.story.partition("::")[0].rpartition("/")[2].removesuffix(".py")


def compare(before: Run, after: Run) -> list[Row]:
    """Every observable of both runs, by story; within a story its ending, and its findings in their order.

    Where plays left an observable at its prediction, and all went well as far as they went, that observable's row says
    it, and the story has no ending.
    """
    sides = _by_story(before.plays), _by_story(after.plays)
    stories = dict.fromkeys([*sides[0], *sides[1]])
    return [row for story in sorted(stories) for row in _rows(story, *(side.get(story, []) for side in sides))]


def changed(rows: Iterable[Row]) -> list[Row]:
    """Those that moved."""
    return [row for row in rows if row.verdict is Verdict.CHANGED]


def sysctls(before: Run, after: Run) -> dict[str, tuple[str, str]]:
    """Those that differ between the two runs, by key: in force before, and after."""
    was, now = ({key: " ".join(value.split()) for key, value in run.settings.items()} for run in (before, after))
    return {key: (was[key], now[key]) for key in sorted(was.keys() & now.keys()) if was[key] != now[key]}


def in_one_alone(before: Run, after: Run) -> list[str]:
    """The sysctls that one record has, and the other has not: nobody can say whether they differ."""
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
    if all(sides):  # where a story ended otherwise than expected, its findings may be missing for that reason alone
        names = dict.fromkeys(each["name"] for side in sides for play in side for each in play["findings"])
        for name in names:
            old, new = ([_found(play, name) for play in side] for side in sides)
            if _not_reached(sides[0], old) or _not_reached(sides[1], new):
                continue
            verdict = _verdict(old, new)
            alike = old + new if verdict is Verdict.SAME else []
            yield Row(story, name, _shown(alike or old), _shown(alike or new), verdict, measured=(old, new))


def _course(story: str, before: list[Play], after: list[Play]) -> Iterator[Row]:
    """Where the courses differ, the first line of each that the other has not."""
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
    """A story that did not wait for one observable says nothing of those that come after it."""
    return not any(value is not None for value in values) and any(
        play["verdict"] == StoryVerdict.NOT_MEASURED for play in plays
    )


def _ending(story: str, before: list[Play], after: list[Play]) -> Row:
    """As expected or not; a play that was skipped, or lost evidence, says neither."""
    sides = [{_ENDINGS[play["verdict"]] for play in side if play["verdict"] in _ENDINGS} for side in (before, after)]
    if not all(sides) or sides == [{_ENDINGS[StoryVerdict.FAILED]}] * 2:  # what fails either way has tried nothing
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
    """In the same words for every run: of times that are the same, where what was expected of the soonest begins.

    That is exact. (Two plays may differ by a jiffy in the RTO that a prediction begins with.)
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
