"""The report as text for a terminal, as Markdown for a pull request, as JSON for a program. (As a page: page.py.)"""

import json
from collections.abc import Iterator

from harness.output import terminal
from harness.output.wording import counted
from harness.runs.compare import Row
from harness.views import comparison
from harness.views.rows import printable
from harness.whatif.report import NOT_MEASURED, Report, headline, sections


def as_text(report: Report) -> str:
    """The report for a terminal: the changed sysctls, the table, the reasons, and what was left out."""
    from rich.padding import Padding
    from rich.text import Text

    from harness.views.lines import printed

    trial = report.trial
    parts = [
        Text(f"Linux {report.kernel}. Before: {printable(trial.before.name)}. After: {printable(trial.after.name)}. "
             f"Each story {counted(report.plays, 'time')}."),
        *(Padding(Text(printable(line)), (0, 0, 0, 2)) for line in report.settings()),
        *([comparison.table(rows)] if (rows := report.shown()) else [Text("")]),
        *(Text(line) for line in report.counts()),
        *([Text("")] if report.counts() else []),
    ]  # fmt: skip
    for heading, lines in sections(report):
        parts += [
            Text(heading, style="bold"),
            *(Padding(Text(printable(line)), (0, 0, 0, 2)) for line in lines),
            Text(""),
        ]
    parts.append(Text(headline(report), style="bold"))
    return printed(parts, terminal.width(), color=terminal.wants_color())


def as_markdown(report: Report) -> Iterator[str]:
    """The lines of the report for a pull request."""
    trial, safe = report.trial, comparison.escaped
    yield f"**{safe(headline(report))}**"
    yield ""
    yield f"Linux {safe(report.kernel)}. Each story {counted(report.plays, 'time')}."
    yield f"Before: {safe(trial.before.name)}. After: {safe(trial.after.name)}."
    yield ""
    yield from (f"- {safe(line)}" for line in report.settings())
    if rows := report.shown():
        yield ""
        yield from comparison.markdown(rows)
    if counts := report.counts():
        yield ""
        yield from (f"{safe(line)}  " for line in counts)
    for heading, lines in sections(report):
        yield ""
        yield f"**{heading}**"
        yield ""
        yield from (f"- {safe(line)}" for line in lines)


def as_json(report: Report) -> str:
    """The whole report as JSON (version 1), with the value of each play."""
    trial = report.trial
    lines = [(each.line, each.kind, each.text) for each in trial.verdicts]
    fields = {
        "version": 1,
        "status": report.status,
        "kernel": report.kernel,
        "before": trial.before.name,
        "after": trial.after.name,
        "plays": report.plays,
        "lines": [
            {"place": line.place, "key": line.key, "value": line.value, "verdict": kind, "text": text}
            for line, kind, text in lines
        ],
        "changed": {key: {"before": was, "after": now} for key, (was, now) in trial.changed.items()},
        "observables": [_observable(report, row) for row in report.rows],
        "untried": dict(report.untried),
        "not_compared": list(report.not_compared),
        "left_out": [
            {"file": each.source, "line": each.line, "column": each.column, "text": each.why} for each in trial.left_out
        ],
    }
    return json.dumps(fields, indent=1) + "\n"


def _observable(report: Report, row: Row) -> dict[str, object]:
    before, after = row.measured
    return {
        "scenario": row.scenario,
        "story": row.story,
        "observable": row.observable,
        "before": row.before,
        "after": row.after,
        "verdict": row.verdict,
        "measured": {"before": before, "after": after},
        "keys": report.keys_behind(row),
        "set_by_the_story": report.set_by_the_story(row),
        "reason": _reason(report, row),
        "max_wait": report.wait_for(row) if row.verdict in NOT_MEASURED else None,
    }


def _reason(report: Report, row: Row) -> str:
    """Why it was not measured, or what happened instead of what was expected."""
    if row.verdict in NOT_MEASURED:
        return report.reason(row)
    return dict(report.not_as_expected()).get(row, "")
