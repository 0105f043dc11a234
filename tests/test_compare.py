"""What changed between two runs: the verdict on each observable, and which records can be read."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import LabError
from harness.output import files
from harness.predict.timers import Interval
from harness.runs import paths, record
from harness.runs.compare import COURSE, ENDING, Verdict, changed, compare, sysctls
from harness.runs.record import Run
from harness.story.timeline import Duration, Finding, Timeline, Untried
from harness.views import comparison
from tests.playing import ROOT
from tests.test_outcome import complaints

SCHEMA = json.loads((ROOT / "harness" / "runs" / "record.schema.json").read_text())
STORY = "scenarios/a.py::test_b[1]"


def took(seconds, begins=1.0, ends=1.3):
    return {"seconds": seconds, "from": begins, "to": ends}


def untried(predicted, *ends):
    return {"predicted": predicted, "why": "longer than 10 s"} | dict(zip(("from", "to"), ends, strict=False))


def play(verdict="passed", story=STORY, pinned=(), **findings):
    found = [{"name": name, "value": value} for name, value in findings.items()]
    return {"story": story, "verdict": verdict, "reason": "", "pinned": list(pinned), "findings": found, "course": []}


def run(*plays):
    return Run("6.18", "reference", {"net.ipv4.tcp_fin_timeout": "1"}, plays)


def verdicts(before, after):
    return {row.observable: row.verdict for row in compare(run(*before), run(*after))}


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([5, 5, 5], [5, 5, 5], Verdict.SAME),
        ([5, 5, 5], [6, 6, 6], Verdict.CHANGED),
        ([5, 6, 5], [5, 5, 5], Verdict.VARIES),
        ([5, 5, 5], [5, 6, 5], Verdict.VARIES),
        ([5], [5.5], Verdict.CHANGED),
        ([1], [True], Verdict.CHANGED),
        (["a"], ["a"], Verdict.SAME),
        ([None], ["a"], Verdict.CHANGED),
        ([took(1.0)], [took(1.3)], Verdict.SAME),
        ([took(1.0)], [took(1.31)], Verdict.CHANGED),
        ([took(1.31)], [took(1.0)], Verdict.CHANGED),
        ([took(1.0), took(1.31)], [took(1.0), took(1.0)], Verdict.VARIES),
        ([took(1.0)], [took(1.9, 1.5, 2.5)], Verdict.SAME),  # within the wider tolerance of the two
        ([took(1.0)], ["1.0"], Verdict.CHANGED),
        ([untried("60 s")], [untried("60 s")], Verdict.NOT_MEASURED),
        ([untried("60 s")], [untried("90 s")], Verdict.PREDICTED),
        ([untried("60 s")], [took(1.0)], Verdict.CHANGED),
        ([untried("a", 7875, 8025)], [untried("b", 7875, 8025)], Verdict.NOT_MEASURED),
        ([untried("a", 7875, 8025)], [untried("b", 7740, 7900)], Verdict.PREDICTED),
    ],
)
def test_verdict_on_a_finding(before, after, verdict):
    assert verdicts([play(it=value) for value in before], [play(it=value) for value in after])["it"] is verdict


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (["passed"] * 3, ["passed"] * 3, Verdict.SAME),
        (["failed"] * 3, ["failed"] * 3, Verdict.NOT_MEASURED),
        (["not measured"] * 3, ["failed"] * 3, Verdict.NOT_MEASURED),
        (["failed", "failed", "not measured"], ["not measured"] * 3, Verdict.NOT_MEASURED),
        (["passed"] * 3, ["failed"] * 3, Verdict.CHANGED),
        (["passed"] * 3, ["passed", "failed", "passed"], Verdict.VARIES),
        (["passed"] * 3, ["passed", "inconclusive", "passed"], Verdict.SAME),
        (["passed"] * 3, ["inconclusive"] * 3, Verdict.NOT_MEASURED),
        (["skipped"] * 3, ["skipped"] * 3, Verdict.NOT_MEASURED),
    ],
)
def test_verdict_on_an_ending(before, after, verdict):
    assert verdicts(map(play, before), map(play, after)) == {ENDING: verdict}


def test_what_a_failed_story_found_is_not_compared():
    assert verdicts([play(it=1)], [play("failed")]) == {ENDING: Verdict.CHANGED}


def test_a_story_that_did_not_wait_does_not_count_for_later_rows():
    before, after = play("not measured", one=untried("60 s")), play(one=took(9.0, 9.0, 9.5), two=3)
    assert verdicts([before], [after]) == {"one": Verdict.CHANGED}
    assert verdicts([after], [before]) == {"one": Verdict.CHANGED}


def test_a_story_of_only_one_run_is_reported():
    [row] = compare(run(play()), run())
    assert (row.verdict, row.before, row.after) == (Verdict.GONE, "as expected", "not played")


def test_times_that_are_the_same_are_shown_the_same():
    [_, row] = compare(run(play(it=took(1.0)), play(it=took(1.1, 1.04))), run(play(it=took(1.2, 1.06))))
    assert (row.before, row.after) == ("1.0 s", "1.0 s")


def test_times_are_shown_as_expected_not_as_measured():
    [_, row] = compare(run(play(it=took(1.012))), run(play(it=took(3.7, 3.0, 3.5))))
    assert (row.before, row.after, row.measured) == ("1.0 s", "3.7 s", ([took(1.012)], [took(3.7, 3.0, 3.5)]))
    assert changed([row]) == [row]
    assert row.scenario == "a"


def test_the_sysctls_that_differ_are_named():
    before, after = Run("6.18", "a", {"same": "4 5", "moved": "1", "old": ""}, ()), Run("6.18", "b", {}, ())
    after.settings.update({"same": "4\t5", "moved": "\x1b[2J", "new": "7"})
    assert sysctls(before, after) == {"moved": ("1", "\x1b[2J")}
    told = comparison.format_text(before, after, [], 80, color=False)
    assert "sysctls that differ:\n  moved: 1 → ?[2J\nin only one record: new, old\n" in told
    assert "sysctls" not in comparison.format_text(before, before, [], 80, color=False)


def test_a_sysctl_of_only_one_record_does_not_count_as_different():
    before, after = Run("6.18", "a", {"same": "4"}, ()), Run("6.18", "a", {"same": "4", "\x1b[2J": "500"}, ())
    told = comparison.format_text(before, after, [], 80, color=False)
    assert "differ" not in told
    assert "in only one record: ?[2J\n" in told


def test_a_record_survives_a_round_trip_and_obeys_its_schema(tmp_path):
    timeline = Timeline(0)
    for value in (
        1,
        0.5,
        True,
        None,
        "words",
        float("nan"),
        Duration(1.02, Interval(1.0, 1.3)),
        Untried("60 s", "long"),
    ):
        timeline.add(Finding(1, "it", value))
    told = record.play(timeline, story=STORY, verdict="passed", reason="", pinned={"b", "a"}, course=True)
    assert [each["name"] for each in told["findings"][:3]] == ["it", "it (2)", "it (3)"]
    assert told["pinned"] == ["a", "b"]
    kept = run(told, play("skipped"))
    path = tmp_path / "kept" / "x.json"
    files.check(path)
    record.save(kept, path)
    assert list(complaints(json.loads(path.read_text()), SCHEMA)) == []
    assert record.load(path) == kept
    assert compare(record.load(path), kept)[1].verdict is Verdict.SAME


@pytest.mark.parametrize("tried", [files.check, files.check_folder])
def test_an_inaccessible_path_is_refused(tmp_path, tried):
    with pytest.raises(LabError, match="cannot be written: File name too long"):
        tried(tmp_path / ("x" * 300) / "y")
    assert list(tmp_path.iterdir()) == []


def test_a_different_course_shows_its_first_different_line():
    one, other = play() | {"course": ["a", "b"]}, play() | {"course": ["a", "c", "d"]}
    [_, row] = compare(run(one), run(other))
    assert (row.observable, row.before, row.after, row.verdict) == (COURSE, "“b”", "“c”", Verdict.CHANGED)
    assert compare(run(one), run(one))[1].verdict is Verdict.SAME
    assert compare(run(one, other), run(one, one))[1].verdict is Verdict.VARIES
    assert compare(run(one), run(one | {"course": ["a"]}))[1].after == "“its end”"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is damaged"),
        ("[]", "of version None"),
        ('{"version": 0}', "of version 0"),
        ('{"version": true, "kernel": "", "profile": "", "settings": {}, "plays": []}', "of version True"),
        ('{"version": 1}', "of version 1, but this program reads version 2"),
        ('{"version": 2}', "is damaged"),
        ('{"version": 2, "kernel": "", "profile": "", "settings": {}, "plays": [{"verdict": "green"}]}', "is damaged"),
        ("[" * 100_000, "is damaged"),
        ("\xff", "is damaged"),
    ],
)
def test_a_file_that_is_not_a_record_is_refused(tmp_path, text, why):
    path = tmp_path / "x.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(LabError, match=f"{why}.*Hint: "):
        record.load(path)


def test_a_missing_record_is_refused(tmp_path):
    with pytest.raises(LabError, match=r"there is no record .* Hint: save one"):
        record.load(tmp_path / "x.json")
    with pytest.raises(LabError, match="cannot be read: Is a directory"):
        record.load(tmp_path)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(
                        ["version", "kernel", "profile", "settings", "plays", "story", "verdict", "reason", "pinned",
                         "findings", "name", "value", "seconds", "from", "to"]), inner), max_leaves=25))  # fmt: skip
@settings(max_examples=300)
def test_any_json_is_read_or_refused(tmp_path_factory, found):
    path = tmp_path_factory.mktemp("record") / "x.json"
    whole = {"version": record.VERSION, "kernel": "", "profile": "", "settings": {}, "plays": found}
    for value in (found, whole):
        path.write_text(json.dumps(value))
        with contextlib.suppress(LabError):
            kept = record.load(path)
            compare(kept, kept)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a b", "a\nb", "$x"])
def test_a_name_for_a_record_is_a_plain_one(name):
    with pytest.raises(LabError, match="Hint: use letters"):
        paths.path_of(name)


def test_a_name_means_a_file_in_the_folder_of_saved_runs():
    assert str(paths.path_of("before-6.18")) == ".tcp-fault-lab/before-6.18.json"
    assert str(paths.path_of("x/y")) == "x/y"
    assert str(paths.path_of("y.json")) == "y.json"
