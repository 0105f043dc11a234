"""The report of a what-if, with made-up results: its order, its counts, and the wait that would measure more."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from harness.pytest_plugin.saving import _reason
from harness.runs.compare import ENDING, Row, Verdict, compare
from harness.runs.record import Run
from harness.whatif.forms import as_json, as_markdown, as_text
from harness.whatif.making import _reasons
from harness.whatif.page import page
from harness.whatif.playing import Played
from harness.whatif.report import sections
from tests.test_whatif import report, row

A, B, C, D = (f"scenarios/{name}.py::test_x" for name in "abcd")


def predicted(from_s: float, why: str = "longer than the 10 s of --lab-max-wait"):
    return {"predicted": f"{from_s}", "why": why, "from": from_s, "to": from_s + 1}


def unmeasured(story: str, before_s: float, after_s: float, name: str = "it lasts") -> Row:
    verdict = Verdict.NOT_MEASURED if before_s == after_s else Verdict.PREDICTED
    sides = [predicted(before_s)], [predicted(after_s)]
    return Row(story, name, f"predicted {before_s} s", f"predicted {after_s} s", verdict, measured=sides)


@pytest.fixture
def mixed():
    return report(
        row(Verdict.SAME, story=A), row(Verdict.NOT_MEASURED, "unmeasured", A), row(Verdict.CHANGED, "changed", B),
        unmeasured(C, 60.0, 30.0, "predicted"), row(Verdict.SAME, "unmoved", C), row(Verdict.CHANGED, "also", D),
    )  # fmt: skip


class TestTheOrder:
    def test_every_form_has_the_same(self, mixed, tmp_path) -> None:
        forms = [as_text(mixed), "\n".join(as_markdown(mixed)), page(mixed, tmp_path).partition("<h2>")[0]]
        for text in forms:
            table = text.partition("Why")[0].partition("**Why**")[0]
            forecast = re.search(r"\bpredicted(?! \d| to)", table)
            assert table.index("changed") < table.index("also") < forecast.start() < table.index("unmeasured")

    def test_same_rows_are_one_counted_line_and_all_lists_them(self, mixed, tmp_path) -> None:
        line = "2 observables are the same, in 2 scenarios (--all lists them)"
        for text in (as_text(mixed), "\n".join(as_markdown(mixed)), page(mixed, tmp_path)):
            plain = " ".join(text.replace("\\", "").split())
            assert line in plain
            assert "unmoved" not in plain
        listed = as_text(replace(mixed, lists_all=True))
        assert "unmoved" in listed
        assert "2 observables are the same, in 2 scenarios\n" in listed

    def test_uncompared_stories_are_counted_and_all_names_them(self) -> None:
        found = report(row(Verdict.CHANGED), not_compared=("scenarios/a.py::test_sets_it[1]", B))
        assert "2 stories were not compared, because they set the changed keys themselves (--all" in as_text(found)
        assert "sets it" not in as_text(found)
        assert "  a, “sets it[1]”\n  b, “x”\n" in as_text(replace(found, lists_all=True))
        assert json.loads(as_json(found))["not_compared"] == ["scenarios/a.py::test_sets_it[1]", B]

    def test_json_has_all_rows_whatever_is_listed(self, mixed) -> None:
        assert len(json.loads(as_json(mixed))["observables"]) == 6


class TestTheMaximumWait:
    def test_each_row_has_the_wait_that_would_measure_it(self) -> None:
        found = report(unmeasured(A, 60.0, 29.5), unmeasured(B, 103.2, 103.2))
        assert dict(sections(found))["Not measured"] == [
            "a, it lasts (predicted 60.0 s → predicted 29.5 s): longer than the 10 s of --max-wait; "
            "--max-wait 60 would measure it",
            "b, it lasts (predicted 103.2 s → predicted 103.2 s): longer than the 10 s of --max-wait; "
            "--max-wait 104 would measure it",
            "--max-wait 60 would measure 1 observable more; --max-wait 104 would measure 2 observables more.",
        ]
        assert [each["max_wait"] for each in json.loads(as_json(found))["observables"]] == [60, 104]

    def test_the_table_has_that_wait_too(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setenv("COLUMNS", "200")
        found = report(unmeasured(A, 60.0, 29.5), row(Verdict.CHANGED))
        assert [each.note for each in found.shown()] == ["", "needs --max-wait 60"]
        for text in (as_text(found), "\n".join(as_markdown(found)), page(found, tmp_path)):
            assert "needs --max-wait 60" in " ".join(text.split())

    def test_what_no_wait_would_measure_has_none(self) -> None:
        many = replace(row(Verdict.NOT_MEASURED), measured=([predicted(5, "more than 1000 sockets")],) * 2)
        assert dict(sections(report(many)))["Not measured"] == ["full_accept_queue, it (1 → 2): more than 1000 sockets"]
        assert report(row(Verdict.NOT_MEASURED, ENDING)).offer() == ""

    def test_one_wait_for_all_is_offered_once(self) -> None:
        found = report(unmeasured(A, 60.0, 30.0), unmeasured(B, 60.0, 30.0))
        assert found.offer() == "--max-wait 60 would measure 2 observables more."
        assert report(unmeasured(A, 60.0, 30.0)).offer() == "", "its own line has it"


def played(verdict: str, reason: str = "", story: str = A) -> dict:
    return {"story": story, "verdict": verdict, "reason": reason, "pinned": [], "findings": [], "course": []}


class TestWhatHappenedInstead:
    def test_a_story_not_as_expected_has_what_happened(self) -> None:
        why = "client's state: expected CLOSED, last seen TIME_WAIT"
        sides = (Run("6", "before", {}, (played("passed"),)), Run("6", "after", {}, (played("failed", why),)))
        found = report(*compare(*sides), reasons=_reasons(Played(*sides)))
        assert dict(sections(found))["Not as expected: what happened instead"] == [f"a, “x”: after: failed: {why}"]
        assert json.loads(as_json(found))["observables"][0]["reason"] == f"after: failed: {why}"
        assert why in " ".join("\n".join(as_markdown(found)).replace("\\", "").split())

    def test_a_failure_on_both_sides_is_reported_once_without_a_side(self) -> None:
        sides = [Run("6", name, {}, (played("failed", "why"),)) for name in ("before", "after")]
        assert _reasons(Played(*sides)) == {A: "failed: why"}

    @pytest.mark.parametrize(("message", "reason"), [
        ("client's state\n  expected:  CLOSED\n  last seen: TIME_WAIT\n  for:       5.000 s",
         "client's state: expected CLOSED, last seen TIME_WAIT"),
        ("harness.errors.ExpectationFailed: x\n  expected:  1\n  last seen: 2\n  for:       5.000 s",
         "x: expected 1, last seen 2"),
        ("assert 'a' == 'b'\n  - b\n  + a", "assert 'a' == 'b'"),
        ("", ""),
    ])  # fmt: skip
    def test_the_reason_in_a_record_is_one_line_with_what_was_seen(self, message, reason) -> None:
        assert _reason(SimpleNamespace(longrepr=message)) == reason


def test_no_line_of_the_table_is_cut_at_80_columns(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    long = Row(f"scenarios/{'s' * 30}.py::test_x", "the client's FIN_WAIT2 lasts", "predicted 60.0 s",
               "predicted 30.0 s", Verdict.PREDICTED)  # fmt: skip
    table = as_text(report(long)).partition("\nWhy")[0]
    assert "predicted to change" in table or re.search(r"predicted to *\n.* change", table)
    assert max(map(len, table.splitlines())) <= 80
