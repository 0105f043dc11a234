"""The ladders of all lessons, as shapes (story/shape.py): `make ladders` records them again, a test compares them.

So a change of a lesson's story shows in a diff. This file is also a pytest plugin, which writes the shape of each story
that has passed into a folder.
"""

import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

from harness.lessons import lessons
from harness.output import files
from harness.story.shape import shape
from tests.playing import run_pytest

FOLDER = Path(__file__).parent / "ladders"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ladders-into", type=Path)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    lab = item.funcargs["lab"]
    lab.looks_closely = True
    yield
    text = "".join(f"{line}\n" for line in shape(lab.timeline))
    files.write(item.config.option.ladders_into / _file(item.path.stem, item.name), text)


def _file(scenario: str, story: str) -> str:
    return files.name_for(f"{scenario} {story}", f"{scenario}::{story}")


def play(stories: list[tuple[Path, str]], *options: str) -> tuple[dict[tuple[str, str], str], str, bool]:
    """The shape of each story that passed, by file and name; pytest's output; whether any failed.

    A story that failed is played once more, alone: on a busy host, the looks after each step may take longer than a
    timer of one second allows. A shape that was made is not made again.
    """
    workers = min(4, len(stories) // 8)  # starting one takes as long as playing several stories
    found, done = _play(stories, "-n", str(workers), *options)
    missing = [(path, story) for path, story in stories if (path.stem, story) not in found]
    if missing and done.returncode:
        again, done = _play(missing, *options)
        found |= again
    return found, done.stdout, done.returncode != 0


def _play(
    stories: list[tuple[Path, str]], *options: str
) -> tuple[dict[tuple[str, str], str], subprocess.CompletedProcess[str]]:
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{path}::{story}" for path, story in stories]
        # A shape contains no times, so a busy machine may be slow.
        plugin = ["-p", "tests.ladders", "--ladders-into", folder, "-q", "-rs", "--lab-slow"]
        done = run_pytest(Path(names[0]), *names[1:], *plugin, *options)
        files = {(path.stem, story): Path(folder, _file(path.stem, story)) for path, story in stories}
        return {each: path.read_text() for each, path in files.items() if path.exists()}, done


def stories_of(lesson: lessons.Lesson) -> list[tuple[Path, str]]:
    return [(lesson.path, lesson.fault), (lesson.path, lesson.control)]


def ladder(lesson: lessons.Lesson, played: dict[tuple[str, str], str]) -> str:
    """The text to record for the fault's and the control's shape; empty if one of them was not played."""
    keys = [(lesson.name, lesson.fault), (lesson.name, lesson.control)]
    if not all(key in played for key in keys):
        return ""
    return "\n".join(f"{story}\n\n{played[name, story]}" for name, story in keys)


def write(names: Sequence[str] = ()) -> int:
    """Record the ladders of these lessons, or of all lessons, again; returns 1 if a story was not played."""
    every = [lessons.load(name) for name in names] or list(lessons.every())
    played, printed, _ = play([story for lesson in every for story in stories_of(lesson)], "--lab-strict")
    ladders = {lesson.name: ladder(lesson, played) for lesson in every}
    if not all(ladders.values()):
        print(printed)
        return 1
    for name, text in ladders.items():
        files.write(FOLDER / f"{name}.txt", text)
    for path in FOLDER.iterdir():  # only after the new ones are written
        if not names and path.stem not in ladders:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(write(sys.argv[1:]))
