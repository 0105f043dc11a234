"""`python -m harness compare`: report what changed between two saved runs."""

import argparse

from harness.output import terminal
from harness.runs import compare, paths, record
from harness.views import comparison


def run(asked: argparse.Namespace) -> int:
    """Print the comparison; 0 if nothing changed, 1 if something did, 3 if nothing could be compared."""
    before, after = (record.load(paths.path_of(name)) for name in asked.records)
    rows = compare.compare(before, after)
    terminal.say(comparison.format_text(before, after, rows, terminal.width(), color=terminal.wants_color()))
    if not any(row.verdict in (compare.Verdict.SAME, compare.Verdict.CHANGED) for row in rows):
        return 3
    return int(bool(compare.changed(rows)))
