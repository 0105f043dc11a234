"""What moved between two runs, as a table for the terminal, or in Markdown for a pull request."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from harness.compare import ENDING, Row, Verdict
from harness.record import Run
from harness.views.rows import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADINGS = ("scenario", "observable", "before", "after", "verdict")

_WIDTHS = (24, 13, 13, 13)
"""At least; 80 columns are enough, whatever is in them."""

_STYLES = {Verdict.CHANGED: "bold red", Verdict.SAME: "green"}


def told(before: Run, after: Run, rows: Sequence[Row], width: int, *, color: bool) -> str:
    """Two runs side by side: what they were, what has moved, and how much has not."""
    from rich.text import Text

    from harness.views.lines import printed

    what = [
        f"{when}: Linux {printable(run.kernel)}, profile {printable(run.profile)}"
        for when, run in (("before", before), ("after", after))
    ]
    return printed([Text("\n".join(what)), table(moved(rows)), Text(summary(rows))], width, color=color)


def moved(rows: Iterable[Row]) -> list[Row]:
    """All but what is the same."""
    return [row for row in rows if row.verdict is not Verdict.SAME]


def summary(rows: Iterable[Row]) -> str:
    """How many observables there are of each verdict."""
    counts = Counter(row.verdict for row in rows)
    return f"{counts.total()} observables: " + ", ".join(f"{counts[each]} {each}" for each in Verdict if counts[each])


def table(rows: Sequence[Row]) -> "RenderableType":
    """For a terminal."""
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    drawn = Table(", ".join(HEADINGS[:2]), *HEADINGS[2:], box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column, width in zip(drawn.columns, _WIDTHS, strict=True):
        column.min_width, column.overflow = width, "fold"
    for row, above in zip(rows, (None, *rows), strict=False):
        scenario, *cells, verdict = _cells(row)
        if not above or above.scenario != row.scenario:
            drawn.add_row(Text(scenario, "bold"), end_section=False)
        first, *others = (Text(cell) for cell in cells)
        drawn.add_row(Padding(first, (0, 0, 0, 2)), *others, Text(verdict, _STYLES.get(row.verdict, "yellow")))
    return drawn


def markdown(rows: Sequence[Row]) -> Iterator[str]:
    """The same, line by line; what comes from a run stays text, whatever it says."""
    yield f"| {' | '.join(HEADINGS)} |"
    yield "|---" * len(HEADINGS) + "|"
    for row in rows:
        yield "| " + " | ".join(escaped(cell) for cell in _cells(row)) + " |"


def _cells(row: Row) -> tuple[str, ...]:
    verdict = f"{row.verdict}{f' ({row.note})' if row.note else ''}"
    return tuple(map(printable, (row.scenario, observable(row), row.before, row.after, verdict)))


def observable(row: Row) -> str:
    """A finding's name, or the story whose ending it is."""
    return f"“{spoken(row.story)}”" if row.observable == ENDING else row.observable


def spoken(story: str) -> str:
    """A test's name as the sentence that it is."""
    return story.partition("::")[2].removeprefix("test_").replace("_", " ")


def escaped(text: str) -> str:
    """Text as Markdown that says just that (CommonMark, 2.4): on one line, and calling nobody by @name."""
    plain = " ".join(printable(text).split()).replace("@", "@\u200b").replace("://", ":\u200b//")
    return "".join(f"\\{each}" if each in "\\`*_[]<>#|&~!" else each for each in plain)
