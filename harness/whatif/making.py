"""Makes the report: compares the plays of both sides, and finds the changed keys that no story has tried."""

import platform
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.lessons.docstrings import test_of
from harness.lessons.lessons import Lesson
from harness.runs import compare
from harness.runs.record import Play
from harness.story.verdicts import StoryVerdict
from harness.whatif import playing
from harness.whatif.governing import governed
from harness.whatif.playing import Played
from harness.whatif.report import Report
from harness.whatif.trial import Trial

_KEYS = Path(__file__).parent / "keys.toml"


def report_of(
    tried: Trial, played: Played | None, lessons_of: dict[str, Lesson], plays: int, *, lists_all: bool
) -> Report:
    """The report on a trial and its plays, or on the trial alone if nothing was played.

    `lessons_of`: by name, the lessons that a changed key governs.
    """
    alive = sorted(tried.changed.keys() - tried.without_effect.keys())
    each_play = list(played.plays()) if played else []
    untried = {key: why for key in alive if (why := _untried(key, each_play, lessons_of))}
    return Report(
        tried, platform.release(), plays, tuple(compare.compare(played.before, played.after)) if played else (),
        lessons_of, tried.out_of_reach() | untried, tomllib.loads(_KEYS.read_text("utf-8")), _pinned(each_play),
        _reasons(played), tuple(play["story"] for play in played.not_compared) if played else (), lists_all,
    )  # fmt: skip


def _pinned(plays: Iterable[Play]) -> dict[str, set[str]]:
    """The sysctls that each story sets itself."""
    pinned: dict[str, set[str]] = {}
    for play in plays:
        pinned.setdefault(play["story"], set()).update(play["pinned"])
    return pinned


def _reasons(played: Played | None) -> dict[str, str]:
    """Why plays of each story did not end as expected, with the side if the reason occurred on only one."""
    sides_of: dict[str, dict[str, set[str]]] = {}
    sides = {playing.BEFORE: played.before, playing.AFTER: played.after} if played else {}
    for side, run in sides.items():
        for play in (play for play in run.plays if play["verdict"] != StoryVerdict.PASSED):
            reason = f"{play['verdict']}: {play['reason']}"
            sides_of.setdefault(play["story"], {}).setdefault(reason, set()).add(side)
    return {story: "; ".join(_with_side(*each) for each in reasons.items()) for story, reasons in sides_of.items()}


def _with_side(reason: str, sides: set[str]) -> str:
    return reason if len(sides) > 1 else f"{min(sides)}: {reason}"


def _untried(key: str, plays: Sequence[Play], lessons_of: dict[str, Lesson]) -> str:
    """Why no story has tried a changed key; empty if one has."""
    tests = {name: governed(lesson, {key}) for name, lesson in lessons_of.items()}
    names = [name for name, each in tests.items() if each]
    if not names:
        return "no scenario covers it"
    of_it = [play for play in plays if test_of(play["story"]) in tests.get(playing.scenario(play["story"]), {})]
    free = [play for play in of_it if key not in play["pinned"]]
    if of_it and not free:
        return f"every story of {', '.join(names)} sets it itself"
    if not any(play["verdict"] in (StoryVerdict.PASSED, StoryVerdict.NOT_MEASURED) for play in free):
        return f"no story of {', '.join(names)} could be completed"
    return ""
