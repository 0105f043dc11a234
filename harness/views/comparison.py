"""What changed between two runs, as a table for the terminal, or in Markdown for a pull request."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.output.wording import counted
from harness.runs.compare import ENDING, Row, Verdict, in_only_one, sysctls
from harness.runs.record import Run
from harness.views.rows import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADINGS = ("scenario", "observable", "before", "after", "verdict")

_VERDICT_COLUMNS = 14
"""The width of a verdict, which takes up to three lines, so that the observable has room at 80 columns."""

_STYLES = {Verdict.CHANGED: "bold red", Verdict.SAME: "green"}


def format_text(before: Run, after: Run, rows: Sequence[Row], width: int, *, color: bool) -> str:
    """Two runs side by side: their kernels and profiles, the sysctls that differ, the rows that differ, and counts."""
    from rich.padding import Padding
    from rich.text import Text

    from harness.views.lines import printed

    what = [
        f"{when}: Linux {printable(run.kernel)}, profile {printable(run.profile)}"
        for when, run in (("before", before), ("after", after))
    ]
    parts: list[RenderableType] = [Text("\n".join(what))]
    if differ := sysctls(before, after):
        lines = "\n".join(f"{printable(key)}: {_value(was)} → {_value(now)}" for key, (was, now) in differ.items())
        parts += [Text("sysctls that differ:"), Padding(Text(lines), (0, 0, 0, 2))]
    if alone := in_only_one(before, after):
        parts.append(Text(f"in only one record: {', '.join(map(printable, alone))}"))
    return printed([*parts, table(differing(with_story_names(rows))), Text(summary(rows))], width, color=color)


def _value(value: str) -> str:
    return printable(value) or "empty"


def differing(rows: Iterable[Row]) -> list[Row]:
    """The rows that are not the same."""
    return [row for row in rows if row.verdict is not Verdict.SAME]


def with_story_names(rows: Sequence[Row]) -> list[Row]:
    """The rows, with the story in the observable's name if several stories of a scenario have an observable of that
    name.
    """
    stories: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        stories.setdefault((row.scenario, row.observable), set()).add(row.story)

    def named(row: Row) -> Row:
        if row.observable == ENDING or len(stories[row.scenario, row.observable]) == 1:
            return row
        return replace(row, observable=f"{row.observable}: “{spoken(row.story)}”")

    return [named(row) for row in rows]


def summary(rows: Iterable[Row]) -> str:
    """The number of observables with each verdict."""
    counts = Counter(row.verdict for row in rows)
    of_each = ", ".join(f"{counts[each]} {each}" for each in Verdict if counts[each])
    return f"{counted(counts.total(), 'observable')}: {of_each}" if counts else "Nothing was observed"


def table(rows: Sequence[Row]) -> "RenderableType":
    """The table for a terminal."""
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    drawn = Table(", ".join(HEADINGS[:2]), *HEADINGS[2:], box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in drawn.columns:  # no minimum width: rich widens columns to it even if the table is then too wide
        column.overflow = "fold"
    drawn.columns[-1].max_width = _VERDICT_COLUMNS
    for row, above in zip(rows, (None, *rows), strict=False):
        scenario, what, before, after, verdict = _cells(row)
        if not above or above.scenario != row.scenario:
            drawn.add_row(Text(scenario, "bold"), end_section=False)
        first = Text(f"{what}{_noted(row)}")  # this column has room for the note
        others = (Text(before), Text(after), Text(verdict, _STYLES.get(row.verdict, "yellow")))
        drawn.add_row(Padding(first, (0, 0, 0, 2)), *others)
    return drawn


def markdown(rows: Sequence[Row]) -> Iterator[str]:
    """The lines of the table in Markdown; text from a run is escaped."""
    yield f"| {' | '.join(HEADINGS)} |"
    yield "|---" * len(HEADINGS) + "|"
    for row in rows:
        *cells, verdict = _cells(row)
        yield "| " + " | ".join(escaped(cell) for cell in (*cells, f"{verdict}{_noted(row)}")) + " |"


def _cells(row: Row) -> tuple[str, ...]:
    return tuple(map(printable, (row.scenario, observable(row), row.before, row.after, row.verdict)))


def _noted(row: Row) -> str:
    return f" ({printable(row.note)})" if row.note else ""


def observable(row: Row) -> str:
    """The name of a row's observable: a finding's, or for an ending the story's."""
    return f"“{spoken(row.story)}”" if row.observable == ENDING else row.observable


def spoken(story: str) -> str:
    """A test's name as a sentence."""
    return story.partition("::")[2].removeprefix("test_").replace("_", " ")


def escaped(text: str) -> str:
    """Text escaped for Markdown (CommonMark, 2.4): on one line, without links, and without mentions by @name."""
    plain = " ".join(printable(text).split()).replace("@", "@\u200b").replace("://", ":\u200b//")
    return "".join(f"\\{each}" if each in "\\`*_[]<>#|&~!" else each for each in plain)
