"""Plays the stories that changed keys govern, under both profiles in turn, in a pytest of their own."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import LabUnavailable
from harness.lessons.lessons import Lesson
from harness.output import files
from harness.runs import child, record, workers
from harness.runs.record import Play, Run
from harness.story.verdicts import StoryVerdict
from harness.whatif.governing import governed
from harness.whatif.trial import Trial

BEFORE, AFTER = "before", "after"
FIRST_BEFORE, FIRST_AFTER = f"{BEFORE}.1", f"{AFTER}.1"
"""The turns whose timelines are kept."""

_WORKERS_A_PROCESSOR = 9
"""Most plays wait for timers, under values that people use longer than under the reference profile."""

_TOLD_BY_PYTEST = (0, 1, 5)
"""Its exit statuses where it has played: all as expected, some not, or there was nothing to play."""

Progress = Callable[[int, int], None]
"""Is told how many plays there have been, of how many."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it, on either side; and the stories that set each changed key themselves, with their only play."""

    before: Run
    after: Run
    not_compared: tuple[Play, ...] = ()

    def plays(self) -> Iterable[Play]:
        """All of them."""
        return (*self.before.plays, *self.after.plays, *self.not_compared)


def play(
    trial: Trial, lessons: Sequence[Lesson], folder: Path, *, plays: int, max_wait_s: float, timelines: bool,
    progress: Progress,
) -> Played:  # fmt: skip
    """Each story that a changed key governs `plays` times before and after, in turn: what was found, on either side.

    But a story that sets each of those keys itself is played once. `folder` is where what is needed on the way is kept;
    with `timelines`, FIRST_BEFORE and FIRST_AFTER of each story as well (harness/runs/timelines.py).
    LabUnavailable where pytest could not play.
    """
    turns, changed = folder / "turns.json", trial.changed.keys()
    tests = {lesson.name: governed(lesson, changed) for lesson in lessons}
    reading, writing = os.pipe()
    asked_for = {
        "profiles": {name: _settings(trial, name) for name in (BEFORE, AFTER)}, "plays": plays, "folder": str(folder),
        "timelines": timelines, "governed": {name: _as_lists(each) for name, each in tests.items()},
        "workers": _workers(), "progress": writing,
    }  # fmt: skip
    files.write(turns, json.dumps(asked_for))
    options = ["-qq", "--no-header", "-s", "-p", "no:cacheprovider", "-p", "no:xdist"]
    asked = [f"--lab-turns={turns}", f"--lab-max-wait={max_wait_s}"]
    paths = [str(lesson.path) for lesson in lessons]
    done = child.pytest_with_progress([*options, *asked, *paths], (reading, writing), _each_line(progress))
    if done.returncode not in _TOLD_BY_PYTEST:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise LabUnavailable(f"the stories could not be played:\n{tail}", "see what pytest says")
    before, after = (record.load(folder / f"{name}.json") for name in (BEFORE, AFTER))
    return _sorted_out(before, after, plays)


def _each_line(progress: Progress) -> Callable[[str], None]:
    def hear(line: str) -> None:
        done, total = map(int, line.split())
        progress(done, total)

    return hear


def _as_lists(tests: dict[str, set[str]]) -> dict[str, list[str]]:
    return {name: sorted(keys) for name, keys in tests.items()}


def _sorted_out(before: Run, after: Run, plays: int) -> Played:
    """A story was played on both sides as often as asked for, or once, and passed; LabUnavailable for any other."""
    times = Counter(play["story"] for play in before.plays + after.plays)
    once = tuple(play for play in before.plays if times[play["story"]] == 1 and play["verdict"] == StoryVerdict.PASSED)
    left_out = {play["story"] for play in once}
    if odd := sorted(story for story, count in times.items() if count != 2 * plays and story not in left_out):
        raise LabUnavailable(f"not played as often as asked for: {', '.join(odd)}", "run it again with less load")
    return Played(_without(left_out, before), _without(left_out, after), once)


def _without(stories: set[str], run: Run) -> Run:
    return replace(run, plays=tuple(play for play in run.plays if play["story"] not in stories))


def _workers() -> int:
    wanted = _WORKERS_A_PROCESSOR * len(os.sched_getaffinity(0))
    return workers.suitable(wanted, wanted, workers.available_bytes(), helpers=2)


def _settings(trial: Trial, name: str) -> list[tuple[str, str, bool]]:
    profile = trial.before if name == BEFORE else trial.after
    return [(each.key, each.value, each.optional) for each in profile.settings]


def scenario(story: str) -> str:
    """The name of its file."""
    return Path(story.partition("::")[0]).stem
