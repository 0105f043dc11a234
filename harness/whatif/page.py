"""What a what-if has found, as one page that needs nothing else: the table, why, and the ladders side by side.

What comes from a user's file, from a run or from its names is text here, whatever it says: `_safe` is its only way in.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, islice
from pathlib import Path

from harness.runs import timelines
from harness.runs.compare import Row, Verdict
from harness.story.verdicts import StoryVerdict
from harness.views import comparison, html
from harness.views.rows import printable
from harness.views.words import words_in
from harness.whatif.playing import AFTER, BEFORE, FIRST_AFTER, FIRST_BEFORE
from harness.whatif.report import Report, headline, sections

_MOST_PAIRS = 6
_MOST_BYTES, _MOST_TABLE_BYTES, _MOST_LIST_BYTES = 395_000, 120_000, 30_000
"""Of the page, of its table, of any one list; what is left out is counted."""

_MOST_CHARACTERS = 400
"""Of a cell, or of a line."""

_DRAWN = (Verdict.CHANGED, Verdict.VARIES)
"""Of a story with one of these the ladders are drawn, and first of those with the first."""

_MARKS = {
    Verdict.CHANGED: ("≠", StoryVerdict.FAILED),
    Verdict.SAME: ("=", StoryVerdict.PASSED),
    Verdict.VARIES: ("≈", StoryVerdict.INCONCLUSIVE),
    Verdict.NOT_MEASURED: ("–", StoryVerdict.INCONCLUSIVE),
    Verdict.PREDICTED: ("→", StoryVerdict.INCONCLUSIVE),
    Verdict.GONE: ("½", StoryVerdict.INCONCLUSIVE),
}
"""What tells verdicts apart without color, and the class of the page's style that gives it some."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """A story to draw: its rows that moved, and its first play on each side that has one."""

    name: str
    scenario: str
    rows: tuple[Row, ...]
    sides: tuple[html.Story, ...]


def page(report: Report, folder: Path) -> str:
    """The whole page, under 400 kB. `folder`: where the stories were played, with their timelines.

    At most six pairs of ladders; the other stories that moved are named.
    """
    moved = _moved(report)
    kept = (pair for name in moved if (pair := _pair(name, report, folder)).sides)
    pairs = list(islice(kept, _MOST_PAIRS))
    for most in range(len(pairs), -1, -1):
        drawn = pairs[:most]
        text = _with(report, drawn, [name for name in moved if name not in {pair.name for pair in drawn}])
        if len(text.encode(errors="replace")) < _MOST_BYTES:
            break
    return text


def _moved(report: Report) -> list[str]:
    """The stories that something has moved in, those with a change first."""
    return list(dict.fromkeys(row.story for verdict in _DRAWN for row in report.rows if row.verdict is verdict))


def _pair(story: str, report: Report, folder: Path) -> _Pair:
    rows = tuple(row for row in report.rows if row.story == story and row.verdict in _DRAWN)
    sides = []
    for side, (label, turn) in enumerate(((BEFORE, FIRST_BEFORE), (AFTER, FIRST_AFTER))):
        if kept := timelines.kept(story=story, turn=turn, folder=folder):
            caption = _settings(report, rows[0], side)
            sides.append(html.Story(story.partition("::")[2], *kept, label=label, caption=caption))
    return _Pair(story, rows[0].scenario, rows, tuple(sides))


def _settings(report: Report, row: Row, side: int) -> str:
    """What one side has of the sysctls that have a say: `net.ipv4.tcp_fin_timeout = 2`."""
    values = (f"{key} = {report.trial.changed[key][side] or 'empty'}" for key in report.keys_behind(row))
    return _short(", ".join(values))


def _with(report: Report, pairs: Sequence[_Pair], undrawn: Sequence[str]) -> str:
    stories = [side for pair in pairs for side in pair.sides]
    told = f'{_header(report)}<main class="whatif">{_table(report, pairs)}{_texts(report)}'

    def laid_out(figures: Sequence[str], tools: str) -> str:
        return f"{told}{tools if pairs else ''}{_drawn(pairs, figures)}{_undrawn(undrawn)}</main>"

    return html.fitted(f"What if: {printable(report.trial.after.name)}", stories, laid_out, _MOST_BYTES)


def _short(text: str) -> str:
    return printable(text[:_MOST_CHARACTERS]) + (" …" if len(text) > _MOST_CHARACTERS else "")


def _safe(text: str) -> str:
    """Text as HTML that says just that, on one line."""
    return escape(_short(text))


def _fitting(parts: Iterable[str], count: int, most_bytes: int) -> tuple[list[str], int]:
    """The first of the `count` parts, as many as are small enough together, and how many are not among them."""
    room, fit = most_bytes, []
    for part in parts:
        room -= len(part.encode(errors="replace"))
        if room < 0:
            break
        fit.append(part)
    return fit, count - len(fit)


def _list(lines: Sequence[str], kind: str = "") -> str:
    fit, left_out = _fitting((f"<li>{_safe(line)}</li>" for line in lines), len(lines), _MOST_LIST_BYTES)
    more = f"<li>… {left_out} more</li>" if left_out else ""
    return f'<ul class="{kind}">{"".join(fit)}{more}</ul>'


def _header(report: Report) -> str:
    """What is compared: what came of it, the sysctls, the kernel, the profiles."""
    trial, settings = report.trial, report.settings()
    title = settings[0] if len(settings) == 1 else f"{len(settings)} sysctls change" if settings else trial.after.name
    facts = (("Kernel", f"Linux {report.kernel}"), ("Before", trial.before.name), ("After", trial.after.name),
             ("Each story", comparison.counted(report.plays, "time")))  # fmt: skip
    told = "".join(f"<div><dt>{name}</dt><dd>{_safe(fact)}</dd></div>" for name, fact in facts)
    keys = _list(settings, "keys") if len(settings) > 1 else ""
    return (
        f'<header class="whatif"><p class="kind">What if</p><h1>{_safe(title)}</h1>'
        f'<p class="claim">{_safe(headline(report))}</p>{keys}<dl>{told}</dl></header>'
    )


def _table(report: Report, pairs: Sequence[_Pair]) -> str:
    """All that the terminal shows, too."""
    counts = "".join(f"<p>{_safe(line)}</p>" for line in report.counts())
    if not (rows := report.shown()):
        return f'<div class="counts">{counts}</div>' if counts else ""
    cells, left_out = _fitting((_cells(row, pairs) for row in rows), len(rows), _MOST_TABLE_BYTES)
    head = "".join(f'<th scope="col">{name}</th>' for name in comparison.HEADINGS)
    more = f'<tbody><tr><td colspan="5">… {left_out} more</td></tr></tbody>' if left_out else ""
    bodies = "".join(_bodies(list(zip(rows, cells, strict=False))))
    table = f'<table class="moves"><thead><tr>{head}</tr></thead>{bodies}{more}</table>'
    return html.scrolling(table, words_in("en")) + counts


def _bodies(rows: Sequence[tuple[Row, str]]) -> Iterator[str]:
    for scenario, group in groupby(rows, key=lambda each: each[0].scenario):
        here = [cells for _, cells in group]
        words = _safe(scenario).replace("_", "_<wbr>")
        name = f'<th scope="rowgroup" rowspan="{len(here)}">{words}</th>'
        lines = "</tr><tr>".join((name + here[0], *here[1:]))
        yield f"<tbody><tr>{lines}</tr></tbody>"


def _cells(row: Row, pairs: Sequence[_Pair]) -> str:
    drawn = (at for at, pair in enumerate(pairs) if row.story == pair.name and row.verdict in _DRAWN)
    at = next(drawn, None)
    what = _safe(comparison.observable(row))
    linked = what if at is None else f'<a href="#pair-{at}">{what}</a>'
    note = f' <span class="note">({_safe(row.note)})</span>' if row.note else ""
    return f"<td>{linked}</td><td>{_safe(row.before)}</td><td>{_safe(row.after)}</td><td>{_verdict(row)}{note}</td>"


def _verdict(row: Row) -> str:
    mark, kind = _MARKS[row.verdict]
    return f'<span class="verdict {kind}">{mark} {row.verdict}</span>'


def _texts(report: Report) -> str:
    told = "".join(f"<section><h2>{heading}</h2>{_list(lines)}</section>" for heading, lines in sections(report))
    return f'<div class="texts">{told}</div>' if told else ""


def _drawn(pairs: Sequence[_Pair], figures: Sequence[str]) -> str:
    left = iter(figures)
    return "".join(
        f'<section class="pair" id="pair-{at}"><p class="scenario">{_safe(pair.scenario)}</p>'
        f"<h2>{_safe(html.spoken(pair.name.partition('::')[2]))}</h2>{_found(pair.rows)}"
        f'<div class="stories">{"".join(next(left) for _ in pair.sides)}</div></section>'
        for at, pair in enumerate(pairs)
    )


def _found(rows: Sequence[Row]) -> str:
    lines = (
        f"<li>{_safe(row.observable)}: {_safe(row.before)} → <strong>{_safe(row.after)}</strong> {_verdict(row)}</li>"
        for row in rows
    )
    fit, left_out = _fitting(lines, len(rows), _MOST_LIST_BYTES // _MOST_PAIRS)
    return f'<ul class="found">{"".join(fit)}{f"<li>… {left_out} more</li>" if left_out else ""}</ul>'


def _undrawn(stories: Sequence[str]) -> str:
    if not stories:
        return ""
    return f'<section class="undrawn"><h2>Moved too, not drawn here</h2>{_list(stories)}</section>'
