"""What a what-if has to say, once: the table, why, what was not tried. The same for the terminal, Markdown and JSON."""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache

from harness.compare import ENDING, Row, Verdict
from harness.lessons import Lesson
from harness.tuning import explain
from harness.tuning.explain import Kind
from harness.views import comparison
from harness.whatif.trial import Trial

_TELL = (Verdict.CHANGED, Verdict.PREDICTED, Verdict.VARIES)
"""What is told why."""


@dataclass(frozen=True, slots=True)
class Report:
    """`untried`: for each key that would change and that no story has tried, why; `sentences`: what each governs.

    `pinned`: the sysctls that each story sets itself, so that it did not try what the profiles say of them.
    """

    trial: Trial
    kernel: str
    plays: int
    rows: tuple[Row, ...]
    lessons: Mapping[str, Lesson]
    untried: Mapping[str, str]
    sentences: Mapping[str, str]
    pinned: Mapping[str, Set[str]]

    @property
    def status(self) -> int:
        """Exit status: 1 where something changed, 3 where what may have changed was not measured, else 0."""
        verdicts = {row.verdict for row in self.rows}
        if Verdict.CHANGED in verdicts:
            return 1
        unsure = verdicts & {Verdict.PREDICTED, Verdict.VARIES, Verdict.GONE} or self._lost_endings()
        return 3 if unsure or self.untried else 0

    def _lost_endings(self) -> bool:
        return any(row.verdict is Verdict.NOT_MEASURED and row.observable == ENDING for row in self.rows)

    def shown(self) -> list[Row]:
        """Findings, and endings that are not the same: by scenario, with a row for all its endings that are."""
        rows: list[Row] = []
        for scenario in dict.fromkeys(row.scenario for row in self.rows):
            here = [row for row in self.rows if row.scenario == scenario]
            alike = [row for row in here if row.observable == ENDING and row.verdict is Verdict.SAME]
            for ending in dict.fromkeys(row.before for row in alike):
                count = sum(row.before == ending for row in alike)
                rows.append(Row(f"{scenario}.py::", f"{count} stories", ending, ending, Verdict.SAME))
            rows += [replace(row, note=self._not_tried_by(row)) for row in here if row not in alike]
        return rows

    def _not_tried_by(self, row: Row) -> str:
        """Where a story sets all the changed keys that govern it itself: it could not see the change."""
        if row.verdict is not Verdict.SAME:
            return ""
        keys = self.keys_behind(row)
        own = [key for key in keys if key in self.pinned.get(row.story, ())]
        return f"sets {'it' if len(keys) == 1 else 'them'} itself" if own and len(own) == len(keys) else ""

    def told(self) -> Iterator[tuple[Row, list[str]]]:
        """Each row that is not the same, and the sentences on the changed keys that have a say in it."""
        for row in self.rows:
            if row.verdict in _TELL:
                yield row, [f"{_short(key)}: {self.sentences[key]}" for key in self.keys_behind(row)]

    def keys_behind(self, row: Row) -> list[str]:
        """The changed keys that its story observes; those that govern its scenario, where the story names none."""
        lesson = self.lessons[row.scenario]
        observed = observed_by(lesson, row.story) & set(self.trial.changed)
        return sorted(observed or set(lesson.sysctls) & set(self.trial.changed))

    def not_applied(self) -> list[str]:
        """Lines of the files that change nothing, and why."""
        return _told_of(each for each in self.trial.verdicts if each.kind not in (Kind.APPLIED, Kind.HOST_WIDE))

    def not_before(self) -> list[str]:
        """Lines of the files of before that were not in force either."""
        return _told_of(each for each in self.trial.verdicts_before if each.kind not in (Kind.APPLIED, Kind.SAME))

    def settings(self) -> list[str]:
        """Each changed key: what it was, what it becomes."""
        return [f"{key}: {was or 'empty'} → {now or 'empty'}" for key, (was, now) in self.trial.changed.items()]


def observed_by(lesson: Lesson, story: str) -> set[str]:
    """Of the lesson's sysctls, those that a story's docstring says it observes ("Observes: net.ipv4.tcp_…, tcp_…")."""
    told = _docstrings(lesson).get(re.split(r"::|\[", story)[1], "")
    return {key for key in lesson.sysctls if re.search(rf"\b{_short(key)}\b", told)}


@cache
def _docstrings(lesson: Lesson) -> dict[str, str]:
    functions = (node for node in ast.parse(lesson.source()).body if isinstance(node, ast.FunctionDef))
    told = ((node.name, ast.get_docstring(node) or "") for node in functions)
    return {name: re.split(r"\.\s|\.$", text.partition("Observes:")[2])[0] for name, text in told}


def _told_of(verdicts: Iterable[explain.Verdict]) -> list[str]:
    return [f"{each.line.place}: {each.line.key} = {each.line.value}: {each.kind}: {each.text}" for each in verdicts]


def _short(key: str) -> str:
    return key.removeprefix("net.ipv4.")


def as_json(report: Report) -> str:
    """Version 1: everything, with the value of each play."""
    trial = report.trial
    lines = [(each.line, each.kind, each.text) for each in trial.verdicts]
    told = {
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
    }
    return json.dumps(told, indent=1) + "\n"


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
    }


def headline(report: Report) -> str:
    """What came of it, in one line."""
    said = {0: "Nothing changed", 1: "Changed", 3: "Not all of it could be measured"}[report.status]
    if not report.trial.changed and not report.untried:
        said = "Nothing to try: no value would change"
    untried = f"Keys not tried: {len(report.untried)}. " if report.untried else ""
    return f"{said}. {untried}{comparison.summary(report.rows)}"


def sections(report: Report) -> Iterator[tuple[str, Sequence[str]]]:
    """What stands below the table: headings, each with its lines; only those that have some."""
    why = []
    for row, sentences in report.told():
        what = row.scenario if row.observable == ENDING else f"{row.scenario}, {row.observable}"
        why.append(f"{what}: {' '.join(sentences)} Lesson: make lesson S={row.scenario}")
    untried = [f"{key}: {reason}" for key, reason in report.untried.items()]
    listed = (
        ("Why", list(dict.fromkeys(why))),
        ("Untested: no story says what these would do", untried),
        ("Lines that change nothing here", report.not_applied()),
        ("Lines of before that were not in force", report.not_before()),
    )
    return ((heading, lines) for heading, lines in listed if lines)
