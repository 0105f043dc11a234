"""pytest's side of `python -m harness whatif`: play each story several times under each of two profiles, in turn."""

import json
import os
import tempfile
from collections import deque
from pathlib import Path

import pytest

from harness.explain.profile import Profile
from harness.kernel.sysctls import Setting
from harness.pytest_plugin import forks
from harness.pytest_plugin.verdicts import PROFILE
from harness.runs import timelines
from harness.runs.record import Play
from harness.story.timeline import Timeline
from harness.story.verdicts import StoryVerdict

__tracebackhide__ = True

PLUGIN = "lab-turns"
"""The name that Turns is registered under."""

_MAX_TRIES = 3
"""How often to try a play that is inconclusive, because its processes waited for a processor or segments were lost."""

_BUSY_PLAYS_A_PROCESSOR = 3
"""The most plays at once, for each processor, that do not wait for timers: more would only compete for processors."""


class Turns:
    """A plugin that plays what `python -m harness whatif` asks for in a JSON file:

    {profiles: {NAME: [[key, value, optional], ...]}, plays: N, folder: where to write NAME.json, timelines: whether
    to keep those of each first play there, governed: {FILE: {TEST: [key, ...]}}, workers: N, progress: a file
    descriptor}.

    `governed` lists the tests to play, each with the changed keys that govern it. An inconclusive play is tried again.
    The other turns of a story follow its first, unless the story sets each of these keys itself: then there is nothing
    to compare.
    """

    def __init__(self, path: Path) -> None:
        asked = json.loads(path.read_text())
        self.folder = Path(asked["folder"])
        self.timelines: bool = asked["timelines"]
        self.profiles = {
            name: Profile(name, tuple(Setting(*each) for each in settings))
            for name, settings in asked["profiles"].items()
        }
        self.names = [f"{name}.{n}" for n in range(1, asked["plays"] + 1) for name in self.profiles]
        self._governed: dict[str, dict[str, list[str]]] = asked["governed"]
        self._workers: int = asked["workers"]
        self._progress: int = asked["progress"]
        self._plays: dict[str, Play] = {}

    @pytest.hookimpl
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "lab" in metafunc.fixturenames:
            metafunc.fixturenames.append("lab_turn")
            metafunc.parametrize("lab_turn", self.names, indirect=True)

    @pytest.fixture
    def lab_turn(self, request: pytest.FixtureRequest) -> str:
        """The turn, as the profile's name and the number of the play: "after.2"."""
        return str(request.param)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if turn_of(item) and self._keys(item)]
        for item in items:
            item.stash[PROFILE] = self.profiles[turn_of(item).partition(".")[0]]

    def _keys(self, item: pytest.Item) -> set[str]:
        assert isinstance(item, pytest.Function)
        return set(self._governed.get(item.path.stem, {}).get(item.originalname, ()))

    @pytest.hookimpl
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Play the items in forks, instead of one after the other."""
        if session.config.option.collectonly or session.testsfailed:
            return None
        tempfile.tempdir = str(self.folder)  # for pytest's own files, too: they are removed with the folder
        deck = _Deck(session.items)

        def played(index: int) -> None:
            play = self._plays.get(session.items[index].nodeid)
            if play and play["verdict"] == StoryVerdict.INCONCLUSIVE and deck.may_try_again(index):
                return
            deck.played(index, play_others=not play or not self._sets_itself(session.items[index], play))
            os.write(self._progress, f"{deck.done} {deck.total}\n".encode())

        os.write(self._progress, f"0 {deck.total}\n".encode())
        forks.run(session, min(self._workers, len(session.items)), deck.draw, played)
        return True

    def _sets_itself(self, item: pytest.Item, play: Play) -> bool:
        return play["verdict"] == StoryVerdict.PASSED and self._keys(item) <= set(play["pinned"])

    def add_play(self, nodeid: str, play: Play) -> None:
        """Keep the record of a play; the Recorder calls this for each report."""
        self._plays[nodeid] = play


class _Deck:
    """Chooses the next play: the first of each story, then the others; plays that wait for timers run beside busy ones.

    `total` is the expected number of plays; it falls when a story needs no more than its first.
    """

    def __init__(self, items: list[pytest.Item]) -> None:
        self._waits = [item.get_closest_marker("waits") is not None for item in items]
        self._at_work: set[int] = set()
        self._most_at_work = _BUSY_PLAYS_A_PROCESSOR * len(os.sched_getaffinity(0))
        stories: dict[str, list[int]] = {}
        for index, item in enumerate(items):
            stories.setdefault(story_of(item), []).append(index)
        self._tries = [1] * len(items)
        self._others = {first: others for first, *others in stories.values()}
        self._queues: tuple[deque[int], deque[int]] = deque(), deque()  # busy plays, waiting plays
        self.done, self.total = 0, len(items)
        for first in self._others:
            self._queues[self._waits[first]].append(first)

    def draw(self) -> int | None:
        """The next play, or None if none can start before another has ended."""
        work, wait = self._queues
        if wait:
            return wait.popleft()
        if not work or len(self._at_work) >= self._most_at_work:
            return None
        self._at_work.add(work[0])
        return work.popleft()

    def may_try_again(self, index: int) -> bool:
        """Whether a play may be tried again; if so, it is queued last, and does not count as played yet."""
        if self._tries[index] == _MAX_TRIES:
            return False
        self._tries[index] += 1
        self._at_work.discard(index)
        self._queues[0].append(index)
        return True

    def played(self, index: int, *, play_others: bool) -> None:
        """Count a play as done. If it was the first of its story, queue the story's others if `play_others`."""
        self.done += 1
        self._at_work.discard(index)
        others = self._others.pop(index, [])
        if play_others:
            self._queues[self._waits[index]].extend(others)
        else:
            self.total -= len(others)


def turn_of(item: pytest.Item) -> str:
    """The turn of an item that is played in turns; empty for any other item."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return str(params.get("lab_turn", ""))


def story_of(item: pytest.Item) -> str:
    """pytest's name of the story, without the turn, wherever that stands among its parameters."""
    nodeid, turn = item.nodeid, turn_of(item)
    if turn:
        for mark, rest in ((f"[{turn}]", ""), (f"[{turn}-", "["), (f"-{turn}]", "]"), (f"-{turn}-", "-")):
            nodeid = nodeid.replace(mark, rest)
    return nodeid


def keep_timeline(item: pytest.Item, timeline: Timeline, play: Play) -> None:
    """Keep the timeline of a story's first play under a profile, if timelines are asked for."""
    turns, turn = item.config.pluginmanager.get_plugin(PLUGIN), turn_of(item)
    if isinstance(turns, Turns) and turns.timelines and turn.endswith(".1"):
        timelines.keep(timeline, play["verdict"], story=play["story"], turn=turn, folder=turns.folder)
