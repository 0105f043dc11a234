"""The report as one self-contained page: the table, the reasons, and the ladders side by side.

Anything that comes from a user's file, from a run or from its names must pass through `_safe`, which escapes it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, islice
from pathlib import Path

from harness.output.wording import counted
from harness.runs import timelines
from harness.runs.compare import Row, Verdict
from harness.story.verdicts import StoryVerdict
from harness.views import comparison, html
from harness.views.rows import printable
from harness.views.words import words_in
from harness.whatif.playing import AFTER, BEFORE, FIRST_AFTER, FIRST_BEFORE
from harness.whatif.report import Report, headline, sections

_MAX_PAIRS = 6
_MAX_BYTES, _MAX_TABLE_BYTES, _MAX_LIST_BYTES = 395_000, 120_000, 30_000
"""The most bytes of the page, of its table, and of any one list; what is left out is counted."""

_MAX_CHARACTERS = 400
"""The longest cell, or line."""

_DRAWN = (Verdict.CHANGED, Verdict.VARIES)
"""Verdicts whose stories are drawn as ladders, CHANGED stories first."""

_MARKS = {
    Verdict.CHANGED: ("≠", StoryVerdict.FAILED),
    Verdict.SAME: ("=", StoryVerdict.PASSED),
    Verdict.VARIES: ("≈", StoryVerdict.INCONCLUSIVE),
    Verdict.NOT_MEASURED: ("–", StoryVerdict.INCONCLUSIVE),
    Verdict.PREDICTED: ("→", StoryVerdict.INCONCLUSIVE),
    Verdict.GONE: ("½", StoryVerdict.INCONCLUSIVE),
}
"""For each verdict, a mark that distinguishes it without colour, and the page's CSS class that colours it."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """A story to draw: its changed or varying rows, and its first play on each side that has one."""

    name: str
    scenario: str
    rows: tuple[Row, ...]
    sides: tuple[html.Story, ...]


def page(report: Report, folder: Path) -> str:
    """The whole page, under 400 kB. `folder` has the timelines of the plays.

    It draws at most six pairs of ladders, and lists the other stories that changed or varied.
    """
    differing = _differing(report)
    kept = (pair for name in differing if (pair := _pair(name, report, folder)).sides)
    pairs = list(islice(kept, _MAX_PAIRS))
    for most in range(len(pairs), -1, -1):
        drawn = pairs[:most]
        text = _with(report, drawn, [name for name in differing if name not in {pair.name for pair in drawn}])
        if len(text.encode(errors="replace")) < _MAX_BYTES:
            break
    return text


def _differing(report: Report) -> list[str]:
    """The stories in which something changed or varied, CHANGED stories first."""
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
    """One side's values of the sysctls that may affect a row: `net.ipv4.tcp_fin_timeout = 2`."""
    values = (f"{key} = {report.trial.changed[key][side] or 'empty'}" for key in report.keys_behind(row))
    return _short(", ".join(values))


def _with(report: Report, pairs: Sequence[_Pair], undrawn: Sequence[str]) -> str:
    stories = [side for pair in pairs for side in pair.sides]
    above = f'{_header(report)}<main class="whatif">{_table(report, pairs)}{_texts(report)}'

    def laid_out(figures: Sequence[str], tools: str) -> str:
        return f"{above}{tools if pairs else ''}{_drawn(pairs, figures)}{_undrawn(undrawn)}</main>"

    return html.fitted(f"What if: {printable(report.trial.after.name)}", stories, laid_out, _MAX_BYTES)


def _short(text: str) -> str:
    return printable(text[:_MAX_CHARACTERS]) + (" …" if len(text) > _MAX_CHARACTERS else "")


def _safe(text: str) -> str:
    """Text escaped as HTML, on one line, and cut to a limit."""
    return escape(_short(text))


def _fitting(parts: Iterable[str], count: int, most_bytes: int) -> tuple[list[str], int]:
    """As many of the first parts as fit into `most_bytes` together, and how many of the `count` parts do not."""
    room, fit = most_bytes, []
    for part in parts:
        room -= len(part.encode(errors="replace"))
        if room < 0:
            break
        fit.append(part)
    return fit, count - len(fit)


def _list(lines: Sequence[str], kind: str = "") -> str:
    fit, left_out = _fitting((f"<li>{_safe(line)}</li>" for line in lines), len(lines), _MAX_LIST_BYTES)
    more = f"<li>… {left_out} more</li>" if left_out else ""
    return f'<ul class="{kind}">{"".join(fit)}{more}</ul>'


def _header(report: Report) -> str:
    """The page's header: the headline, the sysctls, the kernel and the profiles."""
    trial, settings = report.trial, report.settings()
    title = settings[0] if len(settings) == 1 else f"{len(settings)} sysctls change" if settings else trial.after.name
    facts = (("Kernel", f"Linux {report.kernel}"), ("Before", trial.before.name), ("After", trial.after.name),
             ("Each story", counted(report.plays, "time")))  # fmt: skip
    terms = "".join(f"<div><dt>{name}</dt><dd>{_safe(fact)}</dd></div>" for name, fact in facts)
    keys = _list(settings, "keys") if len(settings) > 1 else ""
    return (
        f'<header class="whatif"><p class="kind">What if</p><h1>{_safe(title)}</h1>'
        f'<p class="claim">{_safe(headline(report))}</p>{keys}<dl>{terms}</dl></header>'
    )


def _table(report: Report, pairs: Sequence[_Pair]) -> str:
    """The same table as in the terminal."""
    counts = "".join(f"<p>{_safe(line)}</p>" for line in report.counts())
    if not (rows := report.shown()):
        return f'<div class="counts">{counts}</div>' if counts else ""
    cells, left_out = _fitting((_cells(row, pairs) for row in rows), len(rows), _MAX_TABLE_BYTES)
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
    texts = "".join(f"<section><h2>{heading}</h2>{_list(lines)}</section>" for heading, lines in sections(report))
    return f'<div class="texts">{texts}</div>' if texts else ""


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
    fit, left_out = _fitting(lines, len(rows), _MAX_LIST_BYTES // _MAX_PAIRS)
    return f'<ul class="found">{"".join(fit)}{f"<li>… {left_out} more</li>" if left_out else ""}</ul>'


def _undrawn(stories: Sequence[str]) -> str:
    if not stories:
        return ""
    return f'<section class="undrawn"><h2>Also changed or varied, not drawn here</h2>{_list(stories)}</section>'
