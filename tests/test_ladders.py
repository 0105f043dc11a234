"""Each lesson's stories have their recorded shape (tests/ladders/), so a changed story is noticed even if it passes."""

import difflib
import re
import subprocess
import warnings
from pathlib import Path

import pytest

from harness.lessons import lessons
from tests import ladders
from tests.playing import ROOT, clean_environment
from tests.test_lessons import NAMES

CHANGED = [
    # one more message
    ("full_accept_queue", "test_control_with_one_place_more_the_next_segment_is_enough",
     'client.run_to("connected")\n    lab.expect_states', 'client.run_to("sent")\n    lab.expect_states',
     "call 2 to server: →S ←SA →A →data; client ESTABLISHED; server ESTABLISHED without owner"),
    # a connection that is not closed
    ("socket_leaks_into_a_child", "test_control_with_cloexec_a_connect_given_up_is_forgotten",
     "socket.create_connection(address).close()", "kept = socket.create_connection(address)  # noqa: F841",
     "connect_and_close to server: →S ←SA →A; client ESTABLISHED; server ESTABLISHED"),
    # one step more
    ("close_with_unread_data", "test_unread_data_turns_close_into_a_reset",
     'server.run_to("closed")\n    assert lab.wire(since="ready to close") == ["server RA"]',
     'server.finish()\n    assert lab.wire(since="ready to close") == ["server RA"]',
     "serve: finished"),
]  # fmt: skip


pytestmark = pytest.mark.filterwarnings("default:played again")


@pytest.fixture(scope="module")
def played(request):
    """Play every lesson's two stories in one run; those that differ from the record once more, alone.

    On an overloaded machine, a timer (a delayed ACK) may expire between two steps that otherwise follow each other at
    once. A changed story differs each time. A warning shows the difference of the first play, which pytest prints at
    the end even if the second play is as recorded.
    """
    strict = ["--lab-strict"] if request.config.option.lab_strict else []
    every = list(lessons.every())
    stories = [story for each in every for story in ladders.stories_of(each)]
    shapes, printed, any_failed = ladders.play(stories, *strict)
    differ = {
        each: diff
        for each in every
        if (made := ladders.ladder(each, shapes)) and (diff := differences(recorded(each.name), made))
    }
    for lesson, diff in differ.items():
        warnings.warn("\n".join([f"played again, as it differs from its record: {lesson.name}", *diff]), stacklevel=1)
    if differ:
        again, _, _ = ladders.play([story for each in differ for story in ladders.stories_of(each)], "-n", "0", *strict)
        shapes |= again
    return shapes, printed, any_failed


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_plays_out_as_recorded(name, played):
    shapes, printed, any_failed = played
    made = ladders.ladder(lessons.load(name), shapes)
    if not made:
        assert not any_failed, printed
        pytest.skip(f"{name} was not played: {printed}")
    if diff := differences(recorded(name), made):
        pytest.fail("\n".join([*diff, f"Hint: read the diff; if it is meant, make ladders S={name}"]), pytrace=False)


def recorded(name):
    """The lines without sysctls that this kernel does not have, and that a story then does not set (optional)."""
    path = ladders.FOLDER / f"{name}.txt"
    assert path.exists(), f"{name} has no recorded ladder. Hint: make ladders S={name}, and read it"
    lines = path.read_text().splitlines()
    keys = [re.match(r"lab: (net\.[\w.]+) = ", line) for line in lines]
    there = [not key or Path("/proc/sys", key[1].replace(".", "/")).exists() for key in keys]
    return [line for line, is_there in zip(lines, there, strict=True) if is_there]


def differences(before, made):
    return list(difflib.unified_diff(before, made.splitlines(), "recorded", "played", lineterm=""))


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_ladder_has_both_stories(name):
    lesson = lessons.load(name)
    fault, control = (recorded(name).index(story) for story in (lesson.fault, lesson.control))
    assert 0 == fault < control - 5
    assert any("→S" in line for line in recorded(name)[:control])


def test_every_recorded_ladder_has_a_scenario():
    assert sorted(path.stem for path in ladders.FOLDER.iterdir()) == NAMES, "Hint: make ladders"


@pytest.fixture
def rewritten(tmp_path, monkeypatch):
    """Write ladders into a folder with the ladder of a deleted scenario; returns the folder's files."""
    monkeypatch.setattr(ladders, "FOLDER", tmp_path)
    (tmp_path / "gone.txt").touch()

    def play(stories, *_options):
        played.extend(path.stem for path, _ in stories)
        return {(path.stem, story): "→S\n" for path, story in stories}, "", False

    played = []
    monkeypatch.setattr(ladders, "play", play)

    def write(*names):
        return ladders.write(list(names)), sorted(path.stem for path in tmp_path.iterdir()), sorted(set(played))

    return write


def test_only_one_scenarios_ladder_can_be_written(rewritten):
    assert rewritten(NAMES[0]) == (0, sorted([NAMES[0], "gone"]), [NAMES[0]])


def test_all_ladders_are_written_and_obsolete_ones_removed(rewritten):
    assert rewritten() == (0, NAMES, NAMES)


def test_make_ladders_takes_one_scenario():
    command = ["make", "-n", "-o", "setup", "ladders", f"S={NAMES[0]}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=clean_environment())
    assert f"tests.ladders {NAMES[0]}" in done.stdout


def test_a_changed_lesson_is_noticed_even_if_it_passes(tmp_path):
    stories = []
    for name, story, old, new, _ in CHANGED:
        source = lessons.load(name).source()
        assert source.count(old) == 1
        path = tmp_path / f"{name}.py"
        path.write_text(source.replace(old, new))
        stories.append((path, story))
    shapes, printed, _ = ladders.play(stories)
    for name, story, _, _, gained in CHANGED:
        made = shapes.get((name, story), printed).splitlines()
        assert gained not in recorded(name)
        assert gained in made
