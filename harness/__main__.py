"""`python -m harness`: the lessons from the command line. The stories themselves are pytest's."""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness import lessons
from harness.errors import LabError
from harness.lessons import Lesson

if TYPE_CHECKING:
    from rich.console import RenderableType

_QUIETLY = ["-q", "--no-header", "--no-summary", "-o", "console_output_style=classic"]
_WORDS = {
    "en": ("Your answer, 1 to {}: ", "Right.", "You said {}.", "The kernel shows {}: {}"),
    "zh": ("你的答案（1 到 {}）：", "答对了。", "你选的是 {}。", "内核的答案是 {}：{}"),
}


def main(arguments: list[str] | None = None) -> int:
    """The program; its exit status: pytest's, 1 for a wrong answer, 2 for what cannot be done."""
    asked = _parser().parse_args(arguments)
    try:
        status: int = asked.run(asked)
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m harness", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for run, text in ((_list, "all lessons, and what governs them"), (_lesson, "play one, drawn and explained"),
                      (_quiz, "predict, then run: a question, your answer, the kernel's"),
                      (_step, "play one step by step, on Enter; it says how to look inside")):  # fmt: skip
        command = commands.add_parser(run.__name__.strip("_"), help=text)
        command.set_defaults(run=run)
        if run is not _list:
            command.add_argument("name", help="a scenario's name: close_with_unread_data")
        command.add_argument("--lang", choices=lessons.LANGUAGES, default="en", help="the language of the words")
    return parser


def _list(asked: argparse.Namespace) -> int:
    from harness.views.lines import printed

    width, color = shutil.get_terminal_size().columns, sys.stdout.isatty()
    sys.stdout.write(printed(_entries(asked.lang), width, color=color) + "\n")
    return 0


def _entries(language: str) -> Iterator["RenderableType"]:
    from rich.text import Text

    for lesson in lessons.every(language):
        waits = re.findall(r"mark\.waits\(([\d.]+)\)", lesson.source())
        longest = f"waits up to {max(map(float, waits)):g} s" if waits else "waits less than 1 s"
        yield Text(lesson.name, style="bold")
        yield Text(f"  {lesson.texts.symptom}")
        yield Text(f"  {lesson.texts.claim}", style="cyan")
        yield Text(f"  {', '.join(rows_of(lesson))}; {longest}; {', '.join(lesson.sysctls)}", style="dim")


def rows_of(lesson: Lesson) -> list[str]:
    """The rows of the articles that its scenario proves, in order."""
    proofs = re.findall(r'"""Proves: ([^."]+)', lesson.source())
    return sorted({row for proof in proofs for row in re.findall(r"\d{3}-\d+", proof)}, key=_in_order)


def _in_order(row: str) -> tuple[int, ...]:
    return tuple(map(int, row.split("-")))


def _lesson(asked: argparse.Namespace) -> int:
    lesson = lessons.load(asked.name, asked.lang)
    return _play(lesson, asked.lang, lesson.fault, lesson.control)


def _quiz(asked: argparse.Namespace) -> int:
    lesson = lessons.load(asked.name, asked.lang)
    prompt, right, said, shown = _WORDS[asked.lang]
    options = [f"  {number}. {option}" for number, option in enumerate(lesson.texts.options, 1)]
    sys.stdout.write("\n".join(["", lesson.texts.question, "", *options, "", prompt.format(len(options))]))
    sys.stdout.flush()
    answer = sys.stdin.readline().strip()
    sys.stdout.write("\n")
    if status := _play(lesson, asked.lang, lesson.fault):
        return status
    verdict = right if answer == str(lesson.answer) else said.format(answer or "-")
    sys.stdout.write(f"{verdict} {shown.format(lesson.answer, lesson.texts.options[lesson.answer - 1])}\n")
    sys.stdout.write(f"{lesson.texts.because}\n")
    return int(answer != str(lesson.answer))


def _step(asked: argparse.Namespace) -> int:
    lesson = lessons.load(asked.name, asked.lang)
    return _play(lesson, asked.lang, lesson.fault, options=("--lab-step", "-s", "-o", "timeout=0"))


def _play(lesson: Lesson, language: str, *stories: str, options: tuple[str, ...] = ()) -> int:
    sys.stdout.flush()
    chosen = [f"{lesson.path}::{story}" for story in stories]
    command = [sys.executable, "-m", "pytest", *_QUIETLY, "--lab-show", "--lab-lang", language, *options, *chosen]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
