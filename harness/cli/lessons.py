"""`list`, `lesson`, `quiz`, `step`, `new`: the lessons in a terminal. pytest plays the stories in a child process."""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.lessons import lessons
from harness.lessons.lessons import Lesson
from harness.output import files, terminal

if TYPE_CHECKING:
    from rich.console import RenderableType

_QUIETLY = ["-qq", "--no-header", "--lab-strict", "-o", "console_output_style=classic"]
_COLOR = ("--color=yes",)
_WRONG_ANSWER = 6  # pytest's own statuses end at 5, and 1 is a story that failed
_INDENT = (0, 0, 0, 2)
_WAITS = {"en": ("waits up to {} s", "waits less than 1 s"), "zh": ("最长等待 {} s", "等待不到 1 s")}
_WORDS = {
    "en": (
        "Your answer, 1 to {}: ",
        "Running it on this kernel …",
        "Right.",
        "Your answer was {}.",
        "The kernel shows {}: {}",
    ),
    "zh": ("你的答案（1 到 {}）：", "正在本机内核上运行……", "答对了。", "你选的是 {}。", "内核的答案是 {}：{}"),
}


def list_all(asked: argparse.Namespace) -> int:
    """Print all lessons and the sysctls that govern them; or, with `--missing`, what is not translated yet."""
    if asked.missing:
        return _list_missing(asked.missing)
    from harness.views.lines import printed

    terminal.say(printed(_entries(asked.lang), terminal.width(), color=terminal.wants_color()))
    return 0


def _list_missing(language: str) -> int:
    from harness.lessons.translations import missing

    incomplete = [(lesson, keys) for lesson in lessons.every() if (keys := missing(lesson.name, language))]
    for lesson, keys in incomplete:
        terminal.say(f"{lesson.path.with_suffix('.toml')}: missing in [{language}]: {', '.join(keys)}")
    if not incomplete:
        terminal.say(f"Every scenario is complete in [{language}].")
    return 0


def _entries(language: str) -> Iterator["RenderableType"]:
    from rich.padding import Padding
    from rich.text import Text

    from harness.lessons.docstrings import rows_of
    from harness.views.lines import Prose

    for lesson in lessons.every(language):
        waits = re.findall(r"mark\.waits\(([\d.]+)\)", lesson.source())
        up_to, short = _WAITS[language]
        longest = up_to.format(f"{max(map(float, waits)):g}") if waits else short
        yield Text(lesson.name, style="bold")
        yield Padding(Prose(lesson.texts.symptom), _INDENT)
        yield Padding(Prose(lesson.texts.claim, style="cyan"), _INDENT)
        governs = filter(None, (", ".join(rows_of(lesson)), longest, ", ".join(lesson.sysctls)))
        yield Padding(Prose("; ".join(governs), style="dim"), _INDENT)


def new(asked: argparse.Namespace) -> int:
    """Write the files of a new scenario, and print what to do next."""
    from harness.lessons import new as new_scenario

    written = [path.relative_to(lessons.FOLDER.parent) for path in new_scenario.write(asked.name, asked.theme)]
    for path in written:
        terminal.say(f"wrote {path}")
    terminal.say(
        f"\nNow run it:\n    make scenarios S={asked.name}\n"
        "Both stories fail until you replace each FILL IN; the failures show what the kernel did.\n"
        "docs/writing-a-scenario.md has a worked example and the races that beginners meet."
    )
    return 0


def show(asked: argparse.Namespace) -> int:
    """Play a lesson's fault and control, draw and explain them; returns pytest's exit status."""
    lesson = lessons.load(asked.name, asked.lang)
    stories, options = (lesson.stories[:1], ("--lab-plain",)) if asked.plain else (lesson.stories, ())
    if not asked.html:
        return _play(lesson, asked, *stories, options=options)
    page = Path(asked.html)
    files.check(page)
    with files.temporary_folder() as folder:
        status = _play(lesson, asked, *stories, options=(*options, "--lab-report", str(folder)))
        for made in Path(folder).glob("story-*.html" if asked.plain else f"{lesson.name}.html"):
            files.write(page, made.read_bytes())
    return status


def quiz(asked: argparse.Namespace) -> int:
    """Ask, play, print the verdict, then the story; returns pytest's exit status, or 6 for a wrong answer.

    The story is played before its verdict is printed, because a story that fails has no verdict.
    """
    from harness.runs import child

    lesson = lessons.load(asked.name, asked.lang)
    texts = lesson.texts
    prompt, running, right, given, shown = _WORDS[asked.lang]
    _say("", texts.question, "", *(f"  {number}. {option}" for number, option in enumerate(texts.options, 1)), "")
    answer = _answered(prompt.format(len(texts.options)), len(texts.options))
    terminal.say(running)
    color = _COLOR if terminal.wants_color() else ()
    status, printed = child.pytest_kept(_arguments(lesson, asked, lesson.fault, options=color))
    correct = answer == str(lesson.answer)
    if not status:
        _say("", right if correct else given.format(answer or "-"))
        _say(shown.format(lesson.answer, texts.options[lesson.answer - 1]), texts.because)
    terminal.say(printed.rstrip("\n"))
    return _as_a_shell_has_it(status) or (0 if correct else _WRONG_ANSWER)


def _answered(prompt: str, options: int) -> str:
    """Ask until the answer is a number from 1 to `options`, and return it; empty at the end of the input."""
    while True:
        line = terminal.ask(prompt)
        if not line or line.strip() in map(str, range(1, options + 1)):
            terminal.say("")
            return line.strip()


def _say(*lines: str) -> None:
    from rich.padding import Padding

    from harness.views.lines import Prose, printed

    indented = (Padding(Prose(line.lstrip()), (0, 0, 0, len(line) - len(line.lstrip()))) for line in lines)
    terminal.say(printed(indented, terminal.width(), color=terminal.wants_color()))


def step(asked: argparse.Namespace) -> int:
    """Play a lesson's fault step by step, on Enter; returns pytest's exit status."""
    lesson = lessons.load(asked.name, asked.lang)
    return _play(lesson, asked, lesson.fault, options=("--lab-step", "-s"))


def _play(lesson: Lesson, asked: argparse.Namespace, *stories: str, options: tuple[str, ...] = ()) -> int:
    from harness.runs import child

    sys.stdout.flush()
    return _as_a_shell_has_it(child.pytest(_arguments(lesson, asked, *stories, options=options)))


def _arguments(lesson: Lesson, asked: argparse.Namespace, *stories: str, options: tuple[str, ...]) -> list[str]:
    chosen = [f"{lesson.path}::{story}" for story in stories]
    return [*_QUIETLY, "--lab-show", "--lab-lang", asked.lang, *options, *asked.pytest_arguments, *chosen]


def _as_a_shell_has_it(status: int) -> int:
    return status if status >= 0 else 128 - status
