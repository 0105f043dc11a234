"""The ladder in a terminal: client left, server right, the wire between them; correct at 80 columns, better at 120."""

from collections.abc import Iterator

from rich.cells import cell_len, chop_cells
from rich.console import RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from harness.story.timeline import Timeline
from harness.views.lines import NARROWEST, Prose
from harness.views.rows import Lane, Row, rows
from harness.views.words import words_in

_TIME_COLUMNS = 10
_LONG_STRETCH, _SHOWN_OF_LONG = 60, 24


def ladder(timeline: Timeline, width: int, title: str = "", language: str = "en") -> Iterator[RenderableType]:
    """The ladder of one story, `width` columns wide; lines.printed() turns it into lines."""
    width, words = max(width, NARROWEST), words_in(language)
    *above, heading = _heading(title, width - 4)
    yield from map(Text, above)
    if heading:
        yield Rule(heading, align="left", style="dim")
    lane = (width - _TIME_COLUMNS - 6) // 3
    wire = width - _TIME_COLUMNS - 6 - 2 * lane
    client, server = (Text(words[each], style="bold") for each in Lane)
    yield _rung(Text("ms"), client, Text(""), server, lane, wire)
    every = rows(timeline, words)
    left_out = len(every) - 2 * _SHOWN_OF_LONG if len(every) > _LONG_STRETCH else 0
    yield _note(Text(), words["inferred"], lane, wire)
    for at, row in enumerate(every):
        if at == _SHOWN_OF_LONG and left_out:
            yield Text(words["left_out"].format(left_out), style="dim", justify="center")
        if not left_out or not _SHOWN_OF_LONG <= at < _SHOWN_OF_LONG + left_out:
            yield _row(row, timeline.start_ns, lane, wire)


def _heading(title: str, room: int) -> list[str]:
    """The title in lines that fit, uncut: stories may differ only in their parameters."""
    if cell_len(title) <= room:
        return [title]
    name, bracket, parameters = title.partition("[")
    return [*chop_cells(name, room), *chop_cells(bracket + parameters, room)]


def _row(row: Row, start_ns: int, lane: int, wire: int) -> RenderableType:
    at = Text(f"{(row.time_ns - start_ns) / 1e6:.3f}", style="dim")
    if row.note:
        return _note(at, row.note, lane, wire)
    arrow = Text(_arrow(row, wire), style="red" if row.segment and "R" in row.segment.flags else "")
    return _rung(at, _said(row, Lane.CLIENT), arrow, _said(row, Lane.SERVER), lane, wire)


def _note(at: Text, words: str, lane: int, wire: int) -> Table:
    note = Table.grid(padding=(0, 1))
    note.add_column(width=_TIME_COLUMNS, justify="right")
    note.add_column(width=2 * lane + wire + 4)
    note.add_row(at, Prose(words, style="italic"))
    return note


def _rung(at: Text, left: Text, arrow: Text, right: Text, lane: int, wire: int) -> Table:
    rung = Table.grid(padding=(0, 1))
    rung.add_column(width=_TIME_COLUMNS, justify="right")
    rung.add_column(width=lane)
    rung.add_column(width=wire, no_wrap=True)
    rung.add_column(width=lane)
    rung.add_row(at, left, arrow, right)
    return rung


def _said(row: Row, lane: Lane) -> Text:
    lines = [(f"\n{line}" if at else line, "bold" if line.startswith("»") else "cyan")
             for at, line in enumerate(row.says[lane])]  # fmt: skip
    return Prose.assemble(*lines)


def _arrow(row: Row, wire: int) -> str:
    """`── PA 18 ─────▶`, or the other way round; `── PA 18 ──✗   ` if it is lost on the way."""
    if row.sender is None:
        return ""
    line = "─" * max(1, wire - len(row.label) - 5)
    if row.lost:
        half = line[: len(line) // 2]
        return f"── {row.label} {half}✗" if row.sender is Lane.CLIENT else f"✗{half} {row.label} ──".rjust(wire)
    return f"── {row.label} {line}▶" if row.sender is Lane.CLIENT else f"◀{line} {row.label} ──"
