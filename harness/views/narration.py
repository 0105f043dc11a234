"""A lesson's words around its ladders: the claim above; why, the cure and how to recognise it below."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from harness.lessons.lessons import Lesson
from harness.story.timeline import Timeline
from harness.views.ladder import ladder
from harness.views.lines import Prose, printed

_HEADINGS = {
    "en": ("Why", "The cure", "On a production host"),
    "zh": ("原因", "解决办法", "在生产环境中如何识别"),
}


def claimed(lesson: Lesson, width: int, *, color: bool) -> str:
    """A lesson's claim, as lines."""
    return printed([Prose(lesson.texts.claim, style="bold")], width, color=color)


def format_text(
    timeline: Timeline, story: str, lesson: Lesson | None, language: str, width: int, *, color: bool
) -> str:
    """One story as lines: its ladder; for a lesson's fault, followed by the lesson's texts."""
    parts = list(ladder(timeline, width, story, language))
    if lesson and story == lesson.fault:
        parts += _below(lesson, language)
    return printed(parts, width, color=color)


def tabled(story: str, table: str, width: int, *, color: bool) -> str:
    """A lesson's table, as lines, under the name of its test."""
    return printed([Rule(story, align="left", style="dim"), Text(table.rstrip("\n"))], width, color=color)


def _below(lesson: Lesson, language: str) -> Iterator[RenderableType]:
    """The texts below the ladder of a lesson's fault."""
    why, cure, look = _HEADINGS[language]
    for heading, words in ((why, lesson.texts.why), (cure, lesson.texts.cure)):
        yield ""
        yield Text(heading, style="bold")
        yield Prose(words)
    yield ""
    yield Text(look, style="bold")
    for command, sight in zip(lesson.recognise, lesson.texts.look, strict=True):
        yield Padding(Text(f"$ {command}", style="green"), (0, 0, 0, 2))
        yield Padding(Prose(sight), (0, 0, 0, 4))
    yield ""
