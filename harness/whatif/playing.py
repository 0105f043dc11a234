"""Plays the stories that changed keys govern, under both profiles in turn, in a pytest of their own."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness import child, files, record, workers
from harness.errors import LabUnavailable
from harness.lessons import Lesson
from harness.record import Run
from harness.whatif.trial import Trial

BEFORE, AFTER = "before", "after"
FIRST_BEFORE, FIRST_AFTER = f"{BEFORE}.1", f"{AFTER}.1"
"""The turns whose timelines are kept."""

_WORKERS_A_PROCESSOR = 5
"""Under values that people use, stories wait longer for timers than under the reference profile."""

_TOLD_BY_PYTEST = (0, 1)
"""Its exit statuses where it has played: all as expected, or some not."""


def play(
    trial: Trial, lessons: Sequence[Lesson], folder: Path, *, plays: int, max_wait_s: float, timelines: bool
) -> tuple[Run, Run]:
    """Each story of the lessons `plays` times before and after, in turn: what was found, on either side.

    `folder` is where what is needed on the way is kept; with `timelines`, FIRST_BEFORE and FIRST_AFTER of each story as
    well (harness/record.py, kept_timeline). LabUnavailable where pytest could not play.
    """
    turns = folder / "turns.json"
    profiles = {name: _settings(trial, name) for name in (BEFORE, AFTER)}
    asked_for = {"profiles": profiles, "plays": plays, "folder": str(folder), "timelines": timelines}
    files.write(turns, json.dumps(asked_for))
    options = ["-qq", "--no-header", "-p", "no:cacheprovider", "-n", str(_workers(lessons, plays)), "--maxschedchunk=1"]
    asked = [f"--lab-turns={turns}", f"--lab-max-wait={max_wait_s}"]
    done = child.pytest([*options, *asked, *(str(lesson.path) for lesson in lessons)], quietly=True)
    if done.returncode not in _TOLD_BY_PYTEST:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise LabUnavailable(f"the stories could not be played:\n{tail}", "see what pytest says")
    before, after = (record.load(folder / f"{name}.json") for name in (BEFORE, AFTER))
    times = Counter(play["story"] for play in before.plays + after.plays)
    if odd := sorted(story for story, count in times.items() if count != 2 * plays):
        raise LabUnavailable(f"not played as often as asked for: {', '.join(odd)}", "run it again with less load")
    return before, after


def _workers(lessons: Sequence[Lesson], plays: int) -> int:
    wanted = _WORKERS_A_PROCESSOR * len(os.sched_getaffinity(0))
    stories = 2 * plays * workers.count_tests([str(lesson.path) for lesson in lessons], wanted)
    return workers.suitable(wanted, stories, workers.available_bytes(), helpers=2)


def _settings(trial: Trial, name: str) -> list[tuple[str, str, bool]]:
    profile = trial.before if name == BEFORE else trial.after
    return [(each.key, each.value, each.optional) for each in profile.settings]


def scenario(story: str) -> str:
    """The name of its file."""
    return Path(story.partition("::")[0]).stem
