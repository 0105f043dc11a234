"""Which stories a what-if plays, in which order, in which workers, and what it shows meanwhile."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import LabUnavailable
from harness.lessons import lessons
from harness.lessons.docstrings import observed_by
from harness.pytest_plugin import turns
from harness.runs.record import Run
from harness.whatif import playing
from harness.whatif.governing import governed
from harness.whatif.progress import Progress
from tests.playing import ROOT, clean_environment

KEY, OTHER = "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_retries2"

STORIES = """
import os
import pytest

def test_pins(lab):
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 7)

def test_tries(lab):
    lab.finding("timeout", lab.sysctl("net.ipv4.tcp_fin_timeout"))

@pytest.mark.parametrize("n", [1])
def test_pins_and_fails(lab, n):
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 7)
    assert lab.sysctl("net.ipv4.tcp_fin_timeout") == "8"

def test_is_not_asked_for(lab): ...

def test_has_no_lab(): ...
"""


class Lesson(SimpleNamespace):
    """A made-up lesson, as far as `governed` asks for one."""

    __hash__ = object.__hash__

    def source(self) -> str:
        return self.text


class TestWhichStories:
    made_up = Lesson(sysctls=(KEY, OTHER), text=f'def test_a():\n    """Observes: {KEY}. Not tcp_retries2."""\n'
                     'def test_b():\n    """Proves: 1."""\ndef role(): ...\n')  # fmt: skip

    def test_a_story_with_observes_is_governed_only_by_those_keys(self) -> None:
        assert governed(self.made_up, {KEY}) == {"test_a": {KEY}, "test_b": {KEY}}
        assert governed(self.made_up, {OTHER, "net.core.somaxconn"}) == {"test_b": {OTHER}}
        assert governed(self.made_up, set()) == {}
        assert observed_by(self.made_up, "scenarios/x.py::test_a[1]") == {KEY}

    def test_of_a_real_scenario_only_tests_of_the_key_are_played(self) -> None:
        waits = lessons.load("waits_as_configured")
        found = governed(waits, {"net.ipv4.tcp_keepalive_intvl"})
        assert "test_keepalive_ends_when_configured" in found
        assert "test_connect_gives_up_after_as_many_syns_as_configured" not in found

    def test_every_key_that_a_lesson_names_governs_a_story_of_it(self) -> None:
        for lesson in lessons.every():
            for key in lesson.sysctls:
                assert governed(lesson, {key}), f"{lesson.name}: no story observes {key}"


class TestTheDeck:
    def deck(self, *stories: str, monkeypatch: pytest.MonkeyPatch) -> turns._Deck:
        """Stories named w... wait; each story has two turns."""
        monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
        items = [
            SimpleNamespace(
                nodeid=f"{story}[{turn}]", turn=turn, get_closest_marker=lambda _, story=story: story[0] == "w" or None
            )
            for story in stories
            for turn in ("before.1", "after.1")
        ]
        monkeypatch.setattr(turns, "turn_of", lambda item: item.turn)
        return turns._Deck(items)

    def test_first_turns_come_first_and_may_be_the_only_ones(self, monkeypatch) -> None:
        deck = self.deck("a", "b", monkeypatch=monkeypatch)
        assert [deck.draw(), deck.draw(), deck.draw()] == [0, 2, None]
        deck.played(0, play_others=False)
        deck.played(2, play_others=True)
        assert [deck.draw(), deck.draw()] == [3, None]
        assert (deck.done, deck.total) == (2, 3)
        deck.played(3, play_others=True)
        assert deck.draw() is None
        assert deck.done == deck.total

    def test_waiting_plays_begin_at_once_and_busy_ones_are_limited(self, monkeypatch) -> None:
        deck = self.deck("a", "b", "c", "d", "w", "wait", monkeypatch=monkeypatch)
        assert [deck.draw() for _ in range(6)] == [8, 10, 0, 2, 4, None], "three for each processor"
        deck.played(8, play_others=True)
        assert [deck.draw(), deck.draw()] == [9, None]
        deck.played(0, play_others=True)
        assert [deck.draw(), deck.draw()] == [6, None]


class TestPlays:
    """A separate pytest plays made-up stories in forks."""

    def play(self, folder: Path, text: str) -> tuple[subprocess.CompletedProcess[str], str]:
        """pytest's output, and the progress that it reports meanwhile."""
        story = folder / "story.py"
        story.write_text(text)
        reading, writing = os.pipe()
        governing = {
            name: [KEY] for name in ("test_pins", "test_tries", "test_pins_and_fails", "test_dies", "test_is_starved")
        }
        asked = {
            "profiles": {name: [(KEY, value, False)] for name, value in (("before", "5"), ("after", "6"))}, "plays": 2,
            "folder": str(folder), "timelines": False, "governed": {"story": governing}, "workers": 3,
            "progress": writing,
        }  # fmt: skip
        (folder / "turns.json").write_text(json.dumps(asked))
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), "-p",
                 "harness.pytest_plugin", "-s", "-p", "no:xdist", "-qq", "--no-header",
                 f"--lab-turns={folder / 'turns.json'}",
                 str(story)],
                cwd=ROOT, env=clean_environment(), pass_fds=[writing], capture_output=True, text=True,
            )  # fmt: skip
        finally:
            os.close(writing)
        with open(reading) as told:
            return done, told.read()

    def test_each_side_in_turn_and_once_what_sets_the_key_itself(self, tmp_path) -> None:
        done, told = self.play(tmp_path, STORIES)
        assert done.returncode == 1, done.stdout + done.stderr
        sides = {name: json.loads((tmp_path / f"{name}.json").read_text())["plays"] for name in ("before", "after")}
        stories = {name: [play["story"].partition("::")[2] for play in plays] for name, plays in sides.items()}
        assert stories == {
            "before": ["test_pins", *["test_pins_and_fails[1]"] * 2, *["test_tries"] * 2],
            "after": [*["test_pins_and_fails[1]"] * 2, *["test_tries"] * 2],
        }
        assert [each["findings"][0]["value"] for each in sides["after"] if each["findings"]] == ["6", "6"]
        lines = [tuple(map(int, line.split())) for line in told.splitlines()]
        assert lines[0] == (0, 12)
        assert lines[-1] == (9, 9)
        assert [at for at, _ in lines] == list(range(10))
        found = playing._sorted_out(*(Run("6", name, {}, tuple(sides[name])) for name in ("before", "after")), 2)
        assert [play["story"].partition("::")[2] for play in found.not_compared] == ["test_pins"]
        assert len(found.before.plays) == len(found.after.plays) == 4

    def test_an_inconclusive_play_is_retried_and_the_last_try_counts(self, tmp_path) -> None:
        text = (
            "from pathlib import Path\nfrom harness.errors import Inconclusive\n"
            "def test_is_starved(lab, lab_turn):\n"
            "    tries = Path(__file__).parent / lab_turn\n"
            "    tries.write_text(tries.read_text() + 'x' if tries.exists() else 'x')\n"
            "    if lab_turn == 'after.2' or len(tries.read_text()) < 3 and lab_turn == 'before.1':\n"
            "        raise Inconclusive('starved')\n"
        )
        done, told = self.play(tmp_path, text)
        assert done.returncode == 1, done.stdout + done.stderr
        tries = {turn: (tmp_path / turn).read_text() for turn in ("before.1", "after.1", "before.2", "after.2")}
        assert tries == {"before.1": "xxx", "after.1": "x", "before.2": "x", "after.2": "xxx"}
        plays = [json.loads((tmp_path / f"{name}.json").read_text())["plays"] for name in ("before", "after")]
        assert [[each["verdict"] for each in side] for side in plays] == [["passed"] * 2, ["passed", "inconclusive"]]
        assert told.splitlines()[-1] == "4 4"

    def test_a_worker_that_dies_ends_the_run_and_claims_nothing(self, tmp_path) -> None:
        done, _ = self.play(tmp_path, "import os\ndef test_dies(lab): os._exit(9)\n")
        assert done.returncode == 3, done.stdout + done.stderr
        assert "a worker died while it played story.py::test_dies" in done.stdout

    def test_a_story_with_missing_plays_is_an_error(self) -> None:
        play = {"story": "x::y", "verdict": "failed"}
        sides = Run("6", "before", {}, (play,)), Run("6", "after", {}, ())
        with pytest.raises(LabUnavailable, match="not played as often as asked for: x::y"):
            playing._sorted_out(*sides, 2)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgress:
    def shown(self, monkeypatch, stream: io.StringIO, *steps: tuple[int, int], **environment: str) -> str:
        monkeypatch.setattr("sys.stderr", stream)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        progress = Progress("3 scenarios")
        for step in steps:
            progress(*step)
        progress.end()
        return stream.getvalue()

    def test_a_log_has_a_line_for_each_tenth(self, monkeypatch, capsys) -> None:
        text = self.shown(monkeypatch, io.StringIO(), *((done, 100) for done in range(101)))
        lines = text.splitlines()
        assert lines[0] == "whatif: 3 scenarios: 100 plays at most"
        assert re.fullmatch(r"10 of 100 plays after \d+ s", lines[1])
        assert len(lines) == 11
        assert "\r" not in text
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
    def test_a_terminal_has_a_bar_without_colors_that_disappears(self, monkeypatch, capsys, environment) -> None:
        text = self.shown(monkeypatch, _Terminal(), (0, 8), (4, 8), (4, 4), TERM="xterm", COLUMNS="100", **environment)
        assert "\n" not in text
        first, half, whole, end = text.split("\r\x1b[K")[1:]
        assert first.startswith(f"[{'.' * 30}] 0 of 8 plays")
        assert half.startswith(f"[{'#' * 15}{'.' * 15}] 4 of 8 plays")
        assert whole.startswith(f"[{'#' * 30}] 4 of 4 plays")
        assert end == ""
        assert "m" not in re.findall(r"\x1b\[[0-9;]*(.)", text)
        assert capsys.readouterr().out == ""

    def test_a_dumb_terminal_has_lines(self, monkeypatch) -> None:
        assert "\x1b" not in self.shown(monkeypatch, _Terminal(), (0, 2), (2, 2), TERM="dumb")

    def test_a_narrow_terminal_has_one_line(self, monkeypatch) -> None:
        text = self.shown(monkeypatch, _Terminal(), (1, 2), TERM="xterm", COLUMNS="20")
        assert max(len(part) for part in text.split("\r\x1b[K")) < 20
