"""What a what-if has to say, once: the table, why, what was not tried. The same for the terminal, Markdown and JSON."""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache, cached_property

from harness.compare import ENDING, Row, Verdict
from harness.lessons import Lesson
from harness.tuning import explain
from harness.tuning.explain import Kind
from harness.tuning.folding import fold
from harness.views import comparison
from harness.whatif.trial import Trial

_TELL = (Verdict.CHANGED, Verdict.PREDICTED, Verdict.VARIES)
"""What is told why."""

_FIRST = (Verdict.CHANGED, Verdict.VARIES, Verdict.PREDICTED, Verdict.GONE)
"""Scenarios with one of these come first, in this order."""

_TIMERS = {
    r"the \w+'s FIN_WAIT1 lasts": ("net.ipv4.tcp_orphan_retries", "net.ipv4.tcp_rto_max_ms", "net.ipv4.tcp_rto_min_us"),
    r"the \w+'s FIN_WAIT2 lasts": ("net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_rto_min_us"),
    r"the \w+'s SYN_RECV lasts": ("net.ipv4.tcp_rto_max_ms", "net.ipv4.tcp_synack_retries"),
    r"the \w+'s TIME_WAIT lasts": (),
    r"connect\(\) without an answer|ETIMEDOUT, .*": (
        "net.ipv4.tcp_rto_max_ms", "net.ipv4.tcp_syn_linear_timeouts", "net.ipv4.tcp_syn_retries"
    ),
}  # fmt: skip
"""Observables that have the same name in every story, and all the sysctls that harness/predict.py makes each of."""

_MOST_STORIES = 3
"""So many stories are named one by one."""


@dataclass(frozen=True)
class Report:
    """`untried`: for each key that would change and that no story has tried, why; `sentences`: what each governs.

    `pinned`: the sysctls that each story sets itself, so that it did not try what the profiles say of them; `reasons`:
    of each story, why plays of it did not end as expected.
    """

    trial: Trial
    kernel: str
    plays: int
    compared: tuple[Row, ...]
    lessons: Mapping[str, Lesson]
    untried: Mapping[str, str]
    sentences: Mapping[str, str]
    pinned: Mapping[str, Set[str]]
    reasons: Mapping[str, str]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """What was compared; but what moved only under values that the story itself has set, was not measured."""
        return tuple(map(self._as_it_would_be, self.compared))

    def _as_it_would_be(self, row: Row) -> Row:
        if row.verdict in _TELL and row.observable != ENDING and self._opened_by(row):
            return replace(row, verdict=Verdict.NOT_MEASURED)
        return row

    def _opened_by(self, row: Row) -> list[str]:
        """Keys that its story sets, so that the keys behind the row have an effect there that they do not have here."""
        own, keys = self.pinned.get(row.story, frozenset[str]()), self.keys_behind(row)
        opened = [own & self.trial.without_effect.get(key, set()) for key in keys]
        return sorted(set().union(*opened)) if all(opened) else []

    @property
    def status(self) -> int:
        """Exit status: 1 where something changed, 3 where what may have changed was not measured, else 0."""
        verdicts = {row.verdict for row in self.rows}
        if Verdict.CHANGED in verdicts:
            return 1
        unsure = verdicts & {Verdict.PREDICTED, Verdict.VARIES, Verdict.GONE} or self._lost_endings()
        return 3 if unsure or self.untried or self.trial.not_tried() else 0

    def _lost_endings(self) -> bool:
        return any(row.verdict is Verdict.NOT_MEASURED and row.observable == ENDING for row in self.rows)

    def shown(self) -> list[Row]:
        """Findings, and endings that are not the same: by scenario, with a row for all its endings that are.

        Scenarios that something has moved in come first.
        """
        rows: list[Row] = []
        for scenario in self._scenarios():
            here = [row for row in self.rows if row.scenario == scenario]
            alike = [row for row in here if row.observable == ENDING and row.verdict is Verdict.SAME]
            for ending in dict.fromkeys(row.before for row in alike):
                count = sum(row.before == ending for row in alike)
                what = comparison.counted(count, "story", "stories")
                rows.append(Row(f"{scenario}.py::", what, ending, ending, Verdict.SAME))
            rows += [replace(row, note=self._not_tried_by(row)) for row in here if row not in alike]
        return comparison.told_apart(rows)

    def _scenarios(self) -> list[str]:
        def moved(scenario: str) -> int:
            verdicts = {row.verdict for row in self.rows if row.scenario == scenario}
            return next((at for at, each in enumerate(_FIRST) if each in verdicts), len(_FIRST))

        return sorted(dict.fromkeys(row.scenario for row in self.rows), key=moved)

    def _not_tried_by(self, row: Row) -> str:
        """Which of the changed keys that govern it its story sets itself: of those it could not see the change."""
        own = ""
        if row.verdict is Verdict.SAME:
            own = ", ".join(map(_short, self.set_by_the_story(row)))
        elif row.verdict is Verdict.NOT_MEASURED and row.observable != ENDING:
            own = ", ".join(map(_short, self._opened_by(row)))
        return f"the story sets {own} itself" if own else ""

    def why(self, row: Row) -> str:
        """The sentences on the changed keys that have a say in it."""
        keys = self.keys_behind(row)
        if not keys:
            return "no key that changes is known to have a say in it, but those that the story sets itself."
        told = " ".join(f"{_short(key)}: {self.sentences[key]}" for key in keys)
        return told if len(keys) == 1 or _timer_of(row) is not None else f"one of these, or several together: {told}"

    def not_measured(self) -> Iterator[tuple[Row, str]]:
        """Each row that was not measured, and why."""
        for row in self.rows:
            if row.verdict in (Verdict.NOT_MEASURED, Verdict.PREDICTED):
                yield row, self.reason(row)

    def reason(self, row: Row) -> str:
        """Why it was not measured."""
        if row.observable == ENDING:
            return self.reasons.get(row.story) or "no reason was given"
        if opened := self._opened_by(row):
            dead, own = (", ".join(map(_short, keys)) for keys in (self.keys_behind(row), opened))
            return f"{dead}: without effect here; it has one in this story alone, which sets {own} itself"
        told = (each["why"] for side in row.measured for each in side if isinstance(each, dict) and "why" in each)
        return next(told, "no reason was given").replace("--lab-max-wait", "--max-wait")

    def keys_behind(self, row: Row) -> list[str]:
        """The changed keys that may have a say in it."""
        keys = self._governing(row) - self.pinned.get(row.story, frozenset())
        dead = {key for key in keys if self._is_dead(key, row.story)}
        return sorted(keys - dead or keys)

    def set_by_the_story(self, row: Row) -> list[str]:
        """The changed keys that would have a say in it, if its story did not set them itself."""
        return sorted(self._governing(row) & self.pinned.get(row.story, frozenset()))

    def _governing(self, row: Row) -> set[str]:
        """Of the changed keys those that make its timer; or that its story observes; or that govern its scenario."""
        changed, lesson = set(self.trial.changed), self.lessons[row.scenario]
        if (made_of := _timer_of(row)) is not None:
            return changed & set(made_of)
        return changed & observed_by(lesson, row.story) or changed & set(lesson.sysctls)

    def _is_dead(self, key: str, story: str) -> bool:
        """Whether it has no effect in a story, which leaves the keys that keep it from one as they are."""
        others = self.trial.without_effect.get(key)
        return others is not None and not others & self.pinned.get(story, frozenset())

    def not_applied(self) -> list[str]:
        """Lines of the files that change nothing, and why."""
        told_of = (Kind.APPLIED, Kind.HOST_WIDE, Kind.UNTRIED)
        not_tried = self.trial.not_tried()
        return _told_of(each for each in self.trial.verdicts if each.kind not in told_of and each not in not_tried)

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


def _timer_of(row: Row) -> tuple[str, ...] | None:
    """The sysctls that a timer is made of; None where the observable is none of _TIMERS."""
    return next((keys for name, keys in _TIMERS.items() if re.fullmatch(name, row.observable)), None)


@cache
def _docstrings(lesson: Lesson) -> dict[str, str]:
    functions = (node for node in ast.parse(lesson.source()).body if isinstance(node, ast.FunctionDef))
    told = ((node.name, ast.get_docstring(node) or "") for node in functions)
    return {name: re.split(r"\.\s|\.$", text.partition("Observes:")[2])[0] for name, text in told}


def _told_of(verdicts: Iterable[explain.Verdict]) -> list[str]:
    return [
        f"{each.line.place}: {each.line.key} = {each.line.value}: {each.kind}: {each.text}" for each in fold(verdicts)
    ]


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
        "left_out": [
            {"file": each.source, "line": each.line, "column": each.column, "text": each.why} for each in trial.left_out
        ],
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
        "set_by_the_story": report.set_by_the_story(row),
        "reason": report.reason(row) if row.verdict in (Verdict.NOT_MEASURED, Verdict.PREDICTED) else "",
    }


def headline(report: Report) -> str:
    """What came of it, in one line."""
    said = {0: "Nothing changed", 1: "Changed", 3: "Not all of it could be measured"}[report.status]
    if not report.trial.changed and not report.status:
        said = "Nothing to try: no value would change"
    parts = [said]
    if left_out := report.trial.left_out:
        parts.append(f"Left out: {comparison.counted(len(left_out), 'place')} that cannot be read")
    if lines := report.trial.not_tried():
        parts.append(f"{comparison.counted(len(lines), 'line')} could not be tried")
    if report.untried:
        parts.append(f"Keys not tried: {len(report.untried)}")
    if report.rows:
        parts.append(comparison.summary(report.rows))
    return ". ".join(parts)


def sections(report: Report) -> Iterator[tuple[str, Sequence[str]]]:
    """What stands below the table: headings, each with its lines; only those that have some."""
    moved = (row for row in report.rows if row.verdict in _TELL)
    why = ((row, f"{report.why(row)} Lesson: make lesson S={row.scenario}") for row in moved)
    untried = [f"{key}: {reason}" for key, reason in report.untried.items()]
    listed = (
        ("Why", _together(why, report.rows)),
        ("Not measured", _together(report.not_measured(), report.rows)),
        ("Untested: no story says what these would do", untried),
        ("Left out: these places cannot be read", list(map(str, report.trial.left_out))),
        ("Lines that could not be tried", _told_of(report.trial.not_tried())),
        ("Lines that change nothing here", report.not_applied()),
        ("Lines of before that were not in force", report.not_before()),
    )
    return ((heading, lines) for heading, lines in listed if lines)


def _together(told: Iterable[tuple[Row, str]], rows: Sequence[Row]) -> list[str]:
    """What is told of some of the rows, line by line: of one scenario, those that have the same told share one."""
    apart = dict(zip(rows, comparison.told_apart(rows), strict=True))
    names: dict[tuple[str, bool, str], dict[str, None]] = {}
    for row, text in told:
        names.setdefault((row.scenario, row.observable == ENDING, text), {})[comparison.observable(apart[row])] = None
    return [
        f"{scenario}, {f'{len(each)} stories' if ending and len(each) > _MOST_STORIES else '; '.join(each)}: {text}"
        for (scenario, ending, text), each in names.items()
    ]
