"""Plays the stories that changed keys govern, under both profiles in turn, in a separate pytest process."""

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
"""Most plays wait for timers, and longer under ordinary sysctls than under the reference profile."""

_HAS_PLAYED = (0, 1, 5)
"""pytest's exit statuses after playing: all stories passed, some did not, or there was nothing to play."""

Progress = Callable[[int, int], None]
"""Called with the number of plays done and the total number of plays."""


@dataclass(frozen=True, slots=True)
class Played:
    """The runs before and after, and the one play of each story that sets all its changed keys itself."""

    before: Run
    after: Run
    not_compared: tuple[Play, ...] = ()

    def plays(self) -> Iterable[Play]:
        """All plays."""
        return (*self.before.plays, *self.after.plays, *self.not_compared)


def play(
    trial: Trial, lessons: Sequence[Lesson], folder: Path, *, plays: int, max_wait_s: float, timelines: bool,
    progress: Progress,
) -> Played:  # fmt: skip
    """Play each story that a changed key governs `plays` times before and `plays` times after, in turn.

    A story that sets all of those keys itself is played only once. `folder` is for temporary files; with `timelines`,
    also for the timelines of each story's turns FIRST_BEFORE and FIRST_AFTER (harness/runs/timelines.py).
    LabUnavailable if pytest could not play.
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
    if done.returncode not in _HAS_PLAYED:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise LabUnavailable(f"the stories could not be played:\n{tail}", "read pytest's output above")
    before, after = (record.load(folder / f"{name}.json") for name in (BEFORE, AFTER))
    return _sorted_out(before, after, plays)


def _each_line(progress: Progress) -> Callable[[str], None]:
    def parse(line: str) -> None:
        done, total = map(int, line.split())
        progress(done, total)

    return parse


def _as_lists(tests: dict[str, set[str]]) -> dict[str, list[str]]:
    return {name: sorted(keys) for name, keys in tests.items()}


def _sorted_out(before: Run, after: Run, plays: int) -> Played:
    """Separate the stories that were played once from those compared; LabUnavailable if some plays are missing."""
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
    """The name of a story's scenario, from its file."""
    return Path(story.partition("::")[0]).stem
