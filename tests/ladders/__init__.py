"""The ladders of all lessons, recorded: `make ladders` draws them anew, a test compares, a change is a diff to read.

Times, ephemeral ports, looks and the order of two ends differ from run to run, and what comes after a story's last
claim is cut off somewhere. So a lesson is recorded from several plays: what is in all of them must be drawn, what is in
some of them may be, and nothing else.
"""

import re
import subprocess
import sys
from pathlib import Path

from harness import lessons
from tests.playing import ROOT, clean_environment

FOLDER = Path(__file__).parent
PLAYS = 6
_MAY = "may differ from play to play:"


def drawn(name: str) -> str:
    """The fault and its control as `make lesson` draws them, without its words, on a wide terminal.

    Nothing where a story failed: pytest's own run of it says why.
    """
    lesson = lessons.load(name)
    stories = [f"{lesson.path}::{story}" for story in (lesson.fault, lesson.control)]
    command = [sys.executable, "-m", "pytest", "-qq", "--no-header", "--lab-strict", "--lab-show", *stories]
    environment = clean_environment() | {"COLUMNS": "160"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if done.returncode:
        return ""
    lines = done.stdout.splitlines()
    starts = [number for number, line in enumerate(lines) if re.match(r"test_.* ─", line)]
    ends = [next(n for n in range(start, len(lines)) if "counters: " in lines[n]) for start in starts]
    return "\n".join("\n".join(lines[start:end]) + "\n" for start, end in zip(starts, ends, strict=True))


def shapes(text: str) -> set[str]:
    """Each step, and each segment that opens, closes, resets or changes a state, once a story.

    Without times, ephemeral ports, results, and how the data was cut into segments, which follows the reader.
    """
    found = set()
    for story in re.split(r"(?m)^(?=test_)", text):
        which = "control" if story.startswith("test_control_") else "fault"
        told = (_plain(line) for line in story.splitlines() if re.search("[◀▶»]|^test_", line))
        found |= {f"{which}: {line}" for line in told if line not in ("A ▶", "◀ A")}
    return found


def _plain(line: str) -> str:
    line = re.sub(r"^ *\d+\.\d{3} |\(returned .*\)|\(exit status.*\)|, window 0", "", line)
    line = re.sub(r"\b([SFR]*)P?(A) \d+\b", r"\1\2", re.sub(r"\b[3-6]\d{4}\b", "#", line))
    return re.sub(r"[ ─]+", " ", line).strip()


def certain(text: str) -> set[str]:
    """The shapes of each story up to its last step: what comes then, comes until somebody stops looking.

    Of a story that was folded there is but its name: what the fold hides is chance.
    """
    stories = re.split(r"(?m)^(?=test_)", text)
    names = [story.splitlines()[0] for story in stories if story]
    whole = [story.rpartition("»")[0] for story in stories if "rows more" not in story]
    return shapes("\n".join(names)) | set().union(*map(shapes, whole))


def recorded(name: str) -> tuple[set[str], set[str]]:
    """What must be drawn of a lesson, and what may be."""
    ladder, _, variable = (FOLDER / f"{name}.txt").read_text().partition(_MAY)
    may = set(filter(None, (line.strip() for line in variable.splitlines())))
    return certain(ladder) - may, shapes(ladder) | may


def record() -> None:
    """Draw all anew, each from several plays."""
    for lesson in lessons.every():
        plays = [drawn(lesson.name) for _ in range(PLAYS)]
        some = set.union(*map(shapes, plays)) - set.intersection(*map(shapes, plays))
        ladder = re.sub(r"(?m)^ *\d+\.\d{3} ", " " * 11, plays[0])
        text = "\n".join([ladder, _MAY, *(f"  {shape}" for shape in sorted(some))])
        (FOLDER / f"{lesson.name}.txt").write_text(text + "\n")
