"""The content of a what-if's report, for every form: the table, the reasons, and what was not tried."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from harness.explain import explain
from harness.explain.explain import Kind
from harness.explain.folding import fold
from harness.kernel.sysctls import short
from harness.lessons.docstrings import observed_by
from harness.lessons.lessons import Lesson
from harness.output.wording import counted
from harness.runs.compare import ENDING, NOT_AS_EXPECTED, Row, Verdict
from harness.views import comparison
from harness.whatif.trial import Trial

_EXPLAINED = (Verdict.CHANGED, Verdict.PREDICTED, Verdict.VARIES)
"""Verdicts whose rows are explained under "Why"."""

NOT_MEASURED = (Verdict.PREDICTED, Verdict.NOT_MEASURED)
"""Verdicts of rows whose values were not measured on at least one side."""

_ORDER = (
    Verdict.CHANGED, Verdict.VARIES, Verdict.GONE, Verdict.PREDICTED, Verdict.NOT_MEASURED, Verdict.SAME
)  # fmt: skip
"""The order of the rows, in every form of the report."""

_TIMERS = {
    r"the \w+'s FIN_WAIT1 lasts": ("net.ipv4.tcp_orphan_retries", "net.ipv4.tcp_rto_max_ms", "net.ipv4.tcp_rto_min_us"),
    r"the \w+'s FIN_WAIT2 lasts": ("net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_rto_min_us"),
    r"the \w+'s SYN_RECV lasts": ("net.ipv4.tcp_rto_max_ms", "net.ipv4.tcp_synack_retries"),
    r"the \w+'s TIME_WAIT lasts": (),
    r"connect\(\) without an answer|ETIMEDOUT, .*": (
        "net.ipv4.tcp_rto_max_ms", "net.ipv4.tcp_syn_linear_timeouts", "net.ipv4.tcp_syn_retries"
    ),
}  # fmt: skip
"""Observables that have the same name in every story, and all the sysctls that predict/timers.py computes each from."""

_MOST_STORIES = 3
"""The most stories to name one by one; more are only counted."""


@dataclass(frozen=True)
class Report:
    """What a what-if has found.

    `untried`: why no story has tried a key that would change; `sentences`: what each key governs; `pinned`: the sysctls
    that each story sets itself, so that it did not try the profiles' values; `reasons`: why plays of a story did not
    end as expected; `not_compared`: stories that set the changed keys themselves, and were played once; `lists_all`:
    whether to list what is the same, instead of counting it.
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
    not_compared: tuple[str, ...] = ()
    lists_all: bool = False

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The compared rows, but not measured if they differ only because of values that the story itself sets."""
        return tuple(map(self._without_the_storys_own, self.compared))

    def _without_the_storys_own(self, row: Row) -> Row:
        if row.verdict in _EXPLAINED and row.observable != ENDING and self._opened_by(row):
            return replace(row, verdict=Verdict.NOT_MEASURED)
        return row

    def _opened_by(self, row: Row) -> list[str]:
        """Keys that the story sets, and only because of which the keys behind the row have an effect in it."""
        own, keys = self.pinned.get(row.story, frozenset[str]()), self.keys_behind(row)
        opened = [own & self.trial.without_effect.get(key, set()) for key in keys]
        return sorted(set().union(*opened)) if all(opened) else []

    @property
    def status(self) -> int:
        """Exit status: 1 if something changed, 3 if something that may have changed was not measured, else 0."""
        verdicts = {row.verdict for row in self.rows}
        if Verdict.CHANGED in verdicts:
            return 1
        unsure = verdicts & {Verdict.PREDICTED, Verdict.VARIES, Verdict.GONE} or self._lost_endings()
        return 3 if unsure or self.untried or self.trial.not_tried() else 0

    def _lost_endings(self) -> bool:
        return any(row.verdict is Verdict.NOT_MEASURED and row.observable == ENDING for row in self.rows)

    def shown(self) -> list[Row]:
        """The rows to list: all but the same ones, which are included if `lists_all`.

        Stories of a scenario whose endings are the same share a row.
        """
        same = [row for row in self.rows if row.verdict is Verdict.SAME]
        endings = [row for row in same if row.observable == ENDING]
        apart = dict(zip(self.rows, comparison.with_story_names(self.rows), strict=True))
        listed = [replace(apart[row], note=self._note(row)) for row in self.rows if row not in endings]
        listed += _together_by_scenario(endings)
        if not self.lists_all:
            listed = [row for row in listed if row.verdict is not Verdict.SAME]
        scenarios = list(dict.fromkeys(row.scenario for row in self.rows))
        return sorted(listed, key=lambda row: (_ORDER.index(row.verdict), scenarios.index(row.scenario)))

    def counts(self) -> list[str]:
        """A line that counts what is the same, and one that counts what was not compared; neither counts zero."""
        how = "" if self.lists_all else " (--all lists them)"
        same = [row for row in self.rows if row.verdict is Verdict.SAME]
        lines = []
        if same:
            scenarios = counted(len({row.scenario for row in same}), "scenario")
            observables = counted(len(same), "observable is", "observables are")
            lines.append(f"{observables} the same, in {scenarios}{how}")
        if self.not_compared:
            stories = counted(len(self.not_compared), "story was", "stories were")
            lines.append(f"{stories} not compared, because they set the changed keys themselves{how}")
        return lines

    def _note(self, row: Row) -> str:
        """The `--max-wait` that would measure a row, or else the keys that its story sets itself."""
        if row.verdict in NOT_MEASURED and (wait_s := self.wait_for(row)):
            return f"needs --max-wait {wait_s}"
        return self._not_tried_by(row)

    def _not_tried_by(self, row: Row) -> str:
        """A note on the changed keys that govern a row but that its story sets itself, so that it did not try them."""
        own = ""
        if row.verdict is Verdict.SAME:
            own = ", ".join(map(short, self.set_by_the_story(row)))
        elif row.verdict is Verdict.NOT_MEASURED and row.observable != ENDING:
            own = ", ".join(map(short, self._opened_by(row)))
        return f"the story sets {own} itself" if own else ""

    def why(self, row: Row) -> str:
        """The sentences on the changed keys that may affect a row."""
        keys = self.keys_behind(row)
        if not keys:
            return "no changed key is known to affect it, except those that the story sets itself."
        sentences = " ".join(f"{short(key)}: {self.sentences[key]}" for key in keys)
        is_certain = len(keys) == 1 or _timer_of(row) is not None
        return sentences if is_certain else f"one or more of these: {sentences}"

    def not_measured(self) -> Iterator[tuple[Row, str]]:
        """Each row that was not measured, and why."""
        for verdict in NOT_MEASURED:
            yield from ((row, self.reason(row)) for row in self.rows if row.verdict is verdict)

    def reason(self, row: Row) -> str:
        """Why a row was not measured."""
        if row.observable == ENDING:
            return self.reasons.get(row.story) or "no reason was given"
        if opened := self._opened_by(row):
            dead, own = (", ".join(map(short, keys)) for keys in (self.keys_behind(row), opened))
            return f"{dead}: without effect here; it has an effect only in this story, which sets {own} itself"
        reasons = (each["why"] for each in _predictions(row))
        why = next(reasons, "no reason was given").replace("--lab-max-wait", "--max-wait")
        wait_s = self.wait_for(row)
        return f"{why}; --max-wait {wait_s} would measure it" if wait_s else why

    def wait_for(self, row: Row) -> int | None:
        """The `--max-wait` in seconds, rounded up, that would measure a row; None if no wait would."""
        if row.observable == ENDING or self._opened_by(row):
            return None
        predictions = [each for each in _predictions(row) if "from" in each and "max-wait" in each["why"]]
        return math.ceil(max(each["from"] for each in predictions)) if predictions else None

    def offer(self) -> str:
        """What a longer maximum wait would measure; empty if nothing."""
        waits = [wait for row, _ in self.not_measured() if (wait := self.wait_for(row))]
        if len(waits) < 2:
            return ""  # its own line has it
        soonest, longest = min(waits), max(waits)
        all_of_them = f"--max-wait {longest} would measure {counted(len(waits), 'observable')} more"
        if soonest == longest:
            return f"{all_of_them}."
        some = sum(wait == soonest for wait in waits)
        return f"--max-wait {soonest} would measure {counted(some, 'observable')} more; {all_of_them}."

    def not_as_expected(self) -> Iterator[tuple[Row, str]]:
        """Each story that did not end as expected, and what happened instead."""
        for row in self.rows:
            if row.observable == ENDING and NOT_AS_EXPECTED in f"{row.before} {row.after}":
                yield row, self.reasons.get(row.story) or "no reason was given"

    def keys_behind(self, row: Row) -> list[str]:
        """The changed keys that may affect a row."""
        keys = self._governing(row) - self.pinned.get(row.story, frozenset())
        dead = {key for key in keys if self._is_dead(key, row.story)}
        return sorted(keys - dead or keys)

    def set_by_the_story(self, row: Row) -> list[str]:
        """The changed keys that could affect a row, if its story did not set them itself."""
        return sorted(self._governing(row) & self.pinned.get(row.story, frozenset()))

    def _governing(self, row: Row) -> set[str]:
        """The changed keys that its timer is computed from; else that its story observes; else of its scenario."""
        changed, lesson = set(self.trial.changed), self.lessons[row.scenario]
        if (made_of := _timer_of(row)) is not None:
            return changed & set(made_of)
        return changed & observed_by(lesson, row.story) or changed & set(lesson.sysctls)

    def _is_dead(self, key: str, story: str) -> bool:
        """Whether a key has no effect in a story, because the story does not set the keys that disable it."""
        others = self.trial.without_effect.get(key)
        return others is not None and not others & self.pinned.get(story, frozenset())

    def not_applied(self) -> list[str]:
        """Lines of the files that change nothing, and why."""
        listed_elsewhere = (Kind.APPLIED, Kind.HOST_WIDE, Kind.UNTRIED)
        not_tried = self.trial.not_tried()
        return _format_lines(
            each for each in self.trial.verdicts if each.kind not in listed_elsewhere and each not in not_tried
        )

    def not_before(self) -> list[str]:
        """Lines of the `--before` files that had no effect either."""
        return _format_lines(each for each in self.trial.verdicts_before if each.kind not in (Kind.APPLIED, Kind.SAME))

    def settings(self) -> list[str]:
        """Each changed key, with its old and its new value."""
        return [f"{key}: {was or 'empty'} → {now or 'empty'}" for key, (was, now) in self.trial.changed.items()]


def _together_by_scenario(endings: Sequence[Row]) -> Iterator[Row]:
    """One row for all stories of a scenario that end the same way."""
    groups: dict[tuple[str, str], int] = {}
    for row in endings:
        groups[row.scenario, row.before] = groups.get((row.scenario, row.before), 0) + 1
    for (scenario, ending), count in groups.items():
        what = counted(count, "story", "stories")
        yield Row(f"{scenario}.py::", what, ending, ending, Verdict.SAME)


def _predictions(row: Row) -> list[dict[str, Any]]:
    """The predictions of any play that stand in for measured values."""
    return [each for side in row.measured for each in side if isinstance(each, dict) and "why" in each]


def _timer_of(row: Row) -> tuple[str, ...] | None:
    """The sysctls that a timer is computed from; None if the observable is not one of _TIMERS."""
    return next((keys for name, keys in _TIMERS.items() if re.fullmatch(name, row.observable)), None)


def _format_lines(verdicts: Iterable[explain.Verdict]) -> list[str]:
    return [
        f"{each.line.place}: {each.line.key} = {each.line.value}: {each.kind}: {each.text}" for each in fold(verdicts)
    ]


def headline(report: Report) -> str:
    """The result, in one line."""
    result = {0: "Nothing changed", 1: "Changed", 3: "Not everything could be measured"}[report.status]
    if not report.trial.changed and not report.status:
        result = "Nothing to try: no value would change"
    parts = [result]
    if left_out := report.trial.left_out:
        parts.append(f"Left out: {counted(len(left_out), 'place')} that cannot be read")
    if lines := report.trial.not_tried():
        parts.append(f"{counted(len(lines), 'line')} could not be tried")
    if report.untried:
        parts.append(f"Keys not tried: {len(report.untried)}")
    if report.rows:
        parts.append(comparison.summary(report.rows))
    return ". ".join(parts)


def sections(report: Report) -> Iterator[tuple[str, Sequence[str]]]:
    """The sections below the table, each a heading and its lines; empty ones are left out."""
    explained = (row for row in report.rows if row.verdict in _EXPLAINED)
    why = ((row, f"{report.why(row)} Lesson: make lesson S={row.scenario}") for row in explained)
    untried = [f"{key}: {reason}" for key, reason in report.untried.items()]
    not_measured = _together(report.not_measured(), report.rows, values=True)
    listed = (
        ("Not as expected: what happened instead", _together(report.not_as_expected(), report.rows)),
        ("Why", _together(why, report.rows)),
        ("Not measured", [*not_measured, *([report.offer()] if report.offer() else [])]),
        ("Untested: no story shows what these would do", untried),
        ("Left out: these places cannot be read", list(map(str, report.trial.left_out))),
        ("Lines that could not be tried", _format_lines(report.trial.not_tried())),
        ("Lines that change nothing here", report.not_applied()),
        ("Lines of --before that had no effect", report.not_before()),
        ("Not compared: these stories set the changed keys themselves", _named(report)),
    )
    return ((heading, lines) for heading, lines in listed if lines)


def _named(report: Report) -> list[str]:
    """The names of the stories that were not compared, if `lists_all`."""
    rows = [Row(story, ENDING, "", "", Verdict.SAME) for story in report.not_compared if report.lists_all]
    return [f"{row.scenario}, {comparison.observable(row)}" for row in rows]


def _together(texts: Iterable[tuple[Row, str]], rows: Sequence[Row], *, values: bool = False) -> list[str]:
    """Lines from rows and their texts; rows of one scenario that have the same text share a line.

    `values`: include the values predicted before and after.
    """
    apart = dict(zip(rows, comparison.with_story_names(rows), strict=True))
    names: dict[tuple[str, bool, str], dict[str, None]] = {}
    for row, text in texts:
        name = comparison.observable(apart[row])
        if values and row.observable != ENDING and _predictions(row):
            name = f"{name} ({row.before} → {row.after})"
        names.setdefault((row.scenario, row.observable == ENDING, text), {})[name] = None
    return [
        f"{scenario}, {f'{len(each)} stories' if ending and len(each) > _MOST_STORIES else '; '.join(each)}: {text}"
        for (scenario, ending, text), each in names.items()
    ]
