"""The command whatif, from trial to report: with real stories, before and after a change."""

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from harness.cli.main import main
from harness.cli.whatif import run
from harness.errors import LabError
from harness.explain import explain
from harness.explain.explain import Kind
from harness.kernel.sysctls import read
from harness.lessons import lessons
from harness.runs import record
from harness.runs.compare import ENDING, Row, Verdict
from harness.sysctl_files.lines import Line
from harness.views import comparison
from harness.whatif.forms import as_json, as_markdown
from harness.whatif.report import Report, headline, sections
from harness.whatif.trial import Trial, trial
from tests.playing import GENEROUS_S, ROOT, clean_environment, run_module

FIN_TIMEOUT, Y = "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_y"


def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run_module("harness", *arguments)


@pytest.fixture
def conf(tmp_path):
    def written(text: str, name: str = "99.conf") -> str:
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return written


class TestTheTrial:
    def test_a_change_has_the_kernels_resulting_value(self, conf) -> None:
        file = conf(
            "net.ipv4.tcp_retries2 = 7\nfs.file-max = 1\nnet.ipv4.tcp_rfc1337 = 0\nnet.ipv4.tcp_syn_retries = 0\n"
        )
        found = trial([file], ["reference"], set())
        assert found.changed == {"net.ipv4.tcp_retries2": ("3", "7")}
        assert [str(each.kind) for each in found.verdicts] == ["applied", "host-wide", "same as now", "value refused"]

    def test_files_on_both_sides_are_set_on_top_of_the_defaults(self, conf) -> None:
        before, after = conf(f"{FIN_TIMEOUT} = 9\nnet.ipv4.tcp_retries2 = 7\n", "a.conf"), conf(f"{FIN_TIMEOUT} = 8\n")
        kernel = trial([after], ["kernel"], {"net.ipv4.tcp_retries2"}).changed[FIN_TIMEOUT][0]
        found = trial([after], [before], set())
        assert found.changed[FIN_TIMEOUT] == ("9", "8")
        assert found.changed["net.ipv4.tcp_retries2"][0] == "7"  # a removed line is a change, too
        assert kernel not in ("9", "8")
        assert (found.before.name, found.after.name) == ("kernel + a.conf", "kernel + 99.conf")

    def test_files_of_one_name_are_shown_with_their_paths(self, conf, tmp_path) -> None:
        after = conf("net.ipv4.tcp_retries2 = 6\n")
        before = tmp_path / "before" / "99.conf"
        before.parent.mkdir()
        before.write_text("net.ipv4.tcp_retries2 = 5\n")
        found = trial([after], [str(before)], set())
        assert (found.before.name, found.after.name) == (f"kernel + {before}", f"kernel + {after}")

    def test_the_standard_input_is_what_is_tried(self, monkeypatch) -> None:
        monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b"net.ipv4.tcp_retries2 = 7")))
        found = trial(["-"], ["reference"], set())
        assert found.changed == {"net.ipv4.tcp_retries2": ("3", "7")}
        assert found.after.values()["net.ipv4.tcp_retries2"] == "7"
        assert found.after.name == "reference + stdin"

    def test_errors_in_before_files_are_reported_too(self, conf) -> None:
        before = conf(
            "net.ipv4.tcp_syn_retries = 0\nnet.ipv4.tcp_fin_timout = 5\nnet.ipv4.tcp_retries2 = 7\n", "a.conf"
        )
        found = trial([conf("")], [before], set())
        assert [str(each.kind) for each in found.verdicts_before] == ["value refused", "unknown", "applied"]
        assert found.changed["net.ipv4.tcp_retries2"][0] == "7"

    def test_lines_of_only_the_old_file_do_not_disable_a_key(self, conf) -> None:
        before = conf("net.ipv4.tcp_timestamps = 0\nnet.ipv4.tcp_tw_reuse = 0\n", "a.conf")
        [verdict] = trial([conf("net.ipv4.tcp_tw_reuse = 1\n")], [before], set()).verdicts
        assert str(verdict.kind) == "applied"

    def test_a_scripts_last_accepted_value_is_played(self, conf) -> None:
        script = "sysctl -w net.ipv4.tcp_keepalive_time=77\nsysctl -w net.ipv4.tcp_keepalive_time=99999999999\n"
        assert trial([conf(script, "a.sh")], ["reference"], set()).changed["net.ipv4.tcp_keepalive_time"][1] == "77"

    def test_a_base_stands_alone(self, conf) -> None:
        with pytest.raises(LabError, match="--before takes either kernel or files"):
            trial([conf("")], ["kernel", conf("", "a.conf")], set())

    def test_the_host_is_the_host_for_every_key_that_is_named(self, conf) -> None:
        here = read("net.ipv4.ip_default_ttl")
        found = trial([conf(f"net.ipv4.ip_default_ttl = {int(here) - 1}")], ["host"], set())
        assert found.changed == {"net.ipv4.ip_default_ttl": (here, str(int(here) - 1))}
        assert found.before.values()["net.ipv4.ip_default_ttl"] == here

    def test_what_a_lab_cannot_try_is_out_of_reach(self, conf) -> None:
        here = Path("/proc/sys/fs/file-max").read_text().strip()
        wan = "net.ipv4.conf.wan7.rp_filter"
        file = conf(
            f"vm.swappiness = 1234\nnet.ipv4.route.flush = 1\nfs.file-max = {here}\nnet.ipv4.nope = 1\n{wan} = 1\n"
        )
        found = trial([file], ["kernel"], set()).out_of_reach()
        assert sorted(found) == ["fs.file-max", wan, "net.ipv4.route.flush", "vm.swappiness"]
        assert found[wan] == "cannot be tried here: of the interface wan7, which a lab does not have"
        assert sorted(trial([file], ["host"], set()).out_of_reach()) == [wan, "net.ipv4.route.flush", "vm.swappiness"]
        assert trial([file], [file], set()).out_of_reach() == {}

    def test_a_refused_line_could_not_be_tried(self, conf) -> None:
        refused, unknown = "net.ipv4.tcp_syn_retries = 0\n", "net.ipv4.nope = 1\n"
        file = conf(f"{refused}{unknown}-net.ipv4.tcp_nope = 1\nnet.ipv4.tcp_tw_recycle = 1\nvm.swappiness = 1\n")
        assert [each.line.line for each in trial([file], ["reference"], set()).not_tried()] == [1, 2]
        before = conf(refused, "a.conf")
        assert [each.line.line for each in trial([file], [before], set()).not_tried()] == [2], (
            "line 1 is in the old file, too"
        )

    def test_a_key_without_effect_names_the_keys_that_disable_it(self, conf) -> None:
        file = conf("net.ipv4.tcp_max_syn_backlog = 64\nnet.ipv4.tcp_low_latency = 1\nnet.ipv4.tcp_tw_reuse = 1\n")
        found = trial([file], ["reference"], set()).without_effect
        assert found["net.ipv4.tcp_max_syn_backlog"] == {"net.ipv4.tcp_syncookies"}
        assert "net.ipv4.tcp_tw_reuse" not in found

    def test_containers_that_differ_are_not_one_network(self, conf) -> None:
        service = "  {}: {{sysctls: {{net.ipv4.tcp_retries2: {}}}}}\n"
        two = conf("services:\n" + service.format("a", 7) + service.format("b", 8), "a.yml")
        for asked in ([[two], ["kernel"]], [[conf("")], [two]]):
            with pytest.raises(
                LabError, match=rf"{two}:3:\d+: of another container than {two}:2, .* Hint: give each alone"
            ):
                trial(*asked, set())
        alike = conf("services:\n" + service.format("a", 7) + service.format("b", 7), "b.yml")
        found = trial([alike], ["kernel"], set())
        assert [str(each.kind) for each in found.verdicts] == ["applied", "applied"]
        assert found.changed == {"net.ipv4.tcp_retries2": ("15", "7")}
        mixed = conf("sysctl -w net.ipv4.tcp_retries2=7\ndocker run --sysctl net.ipv4.tcp_sack=0 x\n", "a.sh")
        with pytest.raises(LabError, match="of another container than"):
            trial([mixed], ["kernel"], set())

    def test_a_secret_is_not_kept(self, conf) -> None:
        key, secrets = "net.ipv4.tcp_fastopen_key", ("1234567a-b-c-d", "7654321a-b-c-d")
        old, new = (conf(f"{key} = {secret}\n", f"{secret}.conf") for secret in secrets)
        found = trial([new], [old], set())
        assert found.changed == {key: ("(secret)", "(secret)")}
        assert [each.line.value for each in (*found.verdicts, *found.verdicts_before)] == ["(secret)"] * 2
        assert not any(secret in each.text for secret in secrets for each in found.verdicts)
        assert trial([new], [new], set()).changed == {}

    def test_an_empty_file_changes_nothing(self, conf) -> None:
        assert trial([conf("")], ["host"], {FIN_TIMEOUT}).changed == {}


def row(verdict, observable="it", story="scenarios/full_accept_queue.py::test_x"):
    return Row(story, observable, "1", "2", verdict)


class MadeUp:
    """A lesson, as far as a report asks for one."""

    sysctls = ("net.core.somaxconn", "net.ipv4.tcp_y", "net.ipv4.tcp_other")

    def source(self) -> str:
        return SOURCE


def line(kind, key="net.ipv4.tcp_y", value="1"):
    return explain.Verdict(Line(key, value, "x.conf", 1, 1), kind, "why")


def report(*rows, changed=("net.core.somaxconn",), lines=(), without_effect=None, **others):
    names = SimpleNamespace(name="host"), SimpleNamespace(name="x")
    made = Trial(*names, lines, (), dict.fromkeys(changed, ("1", "2")), without_effect or {})
    sentences = dict.fromkeys((*MadeUp.sysctls, FIN_TIMEOUT), "limits.")
    said = {"untried": {}, "sentences": sentences, "pinned": {}, "reasons": {}} | others
    return Report(made, "6.18", 3, rows, {each.scenario: MadeUp() for each in rows}, **said)


SOURCE = '''
def test_x():
    """Says it.

    Observes: net.core.somaxconn, tcp_y. Not tcp_other.
    """
'''


DIES = """
import socket

def dies(address):
    listener = socket.create_server(address)
    yield "alive"
    raise OSError("dead")

def test_it(lab):
    lab.start(dies, lab.server_address, to="alive").resume()
    lab.expect_table()
"""


class TestTheReport:
    @pytest.mark.parametrize(
        ("verdicts", "status"),
        [
            ([Verdict.SAME, Verdict.NOT_MEASURED], 0),
            ([Verdict.SAME, Verdict.CHANGED, Verdict.PREDICTED], 1),
            ([Verdict.SAME, Verdict.PREDICTED], 3),
            ([Verdict.SAME, Verdict.VARIES], 3),
            ([Verdict.GONE], 3),
        ],
    )
    def test_exit_status(self, verdicts, status) -> None:
        assert report(*map(row, verdicts)).status == status

    def test_a_change_that_nothing_covers_was_not_measured(self) -> None:
        assert report(row(Verdict.SAME), untried={"net.ipv4.tcp_y": "no scenario covers it"}).status == 3
        assert report(row(Verdict.CHANGED), untried={"net.ipv4.tcp_y": "no scenario covers it"}).status == 1
        assert report(changed=()).status == 0

    def test_a_story_that_always_lost_evidence_was_not_measured(self) -> None:
        assert report(row(Verdict.NOT_MEASURED, ENDING)).status == 3

    def test_each_change_has_its_sentence_and_its_lesson(self) -> None:
        [(heading, [why])] = sections(report(row(Verdict.CHANGED), row(Verdict.SAME, "other")))
        assert heading == "Why"
        assert why == "full_accept_queue, it: net.core.somaxconn: limits. Lesson: make lesson S=full_accept_queue"

    def test_a_story_names_the_keys_that_it_observes(self) -> None:
        found = report(row(Verdict.CHANGED), changed=("net.core.somaxconn", "net.ipv4.tcp_y"))
        assert found.keys_behind(found.rows[0]) == ["net.core.somaxconn", "net.ipv4.tcp_y"]

    def test_a_story_that_sets_the_key_itself_has_a_note(self) -> None:
        pinned = {"scenarios/full_accept_queue.py::test_x": {"net.core.somaxconn"}}
        [shown] = report(row(Verdict.SAME), pinned=pinned, lists_all=True).shown()
        assert shown.note == "the story sets net.core.somaxconn itself"

    def test_each_key_that_the_story_sets_is_named(self) -> None:
        changed, own = ("net.core.somaxconn", "net.ipv4.tcp_y"), {"scenarios/full_accept_queue.py::test_x": {Y}}
        [shown] = report(row(Verdict.SAME), changed=changed, pinned=own, lists_all=True).shown()
        assert shown.note == "the story sets tcp_y itself"

    def test_a_change_is_not_attributed_to_a_key_that_the_story_sets(self) -> None:
        changed, own = ("net.core.somaxconn", Y), {"scenarios/full_accept_queue.py::test_x": {Y}}
        found = report(row(Verdict.CHANGED), changed=changed, pinned=own)
        assert found.keys_behind(found.rows[0]) == ["net.core.somaxconn"]
        [(_, [why])] = sections(found)
        assert "tcp_y" not in why
        assert json.loads(as_json(found))["observables"][0]["set_by_the_story"] == [Y]
        [(_, [why])] = sections(report(row(Verdict.CHANGED), changed=(Y,), pinned=own))
        assert why.startswith("full_accept_queue, it: no changed key is known to affect it, except those that")

    def test_one_of_several_keys_is_not_singled_out(self) -> None:
        [(_, [why])] = sections(report(row(Verdict.CHANGED), changed=("net.core.somaxconn", Y)))
        assert why.startswith("full_accept_queue, it: one or more of these: net.core.somaxconn: limits.")

    def test_a_timers_row_names_only_its_own_sysctls(self) -> None:
        moved = row(Verdict.CHANGED, "the client's FIN_WAIT2 lasts", "scenarios/b.py::test_tells_nothing")
        [(_, [why])] = sections(report(moved, changed=("net.core.somaxconn", FIN_TIMEOUT)))
        assert why == "b, the client's FIN_WAIT2 lasts: tcp_fin_timeout: limits. Lesson: make lesson S=b"

    def test_the_order_is_changed_predicted_not_measured(self) -> None:
        verdicts = [Verdict.SAME, Verdict.NOT_MEASURED, Verdict.PREDICTED, Verdict.VARIES, Verdict.CHANGED]
        rows = [row(verdict, story=f"scenarios/{at}.py::test_x") for at, verdict in enumerate(verdicts)]
        assert [each.scenario for each in report(*rows).shown()] == ["4", "3", "2", "1"]
        assert [each.scenario for each in report(*rows, lists_all=True).shown()] == ["4", "3", "2", "1", "0"]
        mixed = [row(verdict, str(verdict)) for verdict in verdicts]
        assert [each.verdict for each in report(*mixed).shown()] == verdicts[:0:-1], "of one scenario, too"

    def test_rows_of_one_name_have_their_stories_names(self) -> None:
        rows = [row(Verdict.CHANGED, story=f"scenarios/a.py::test_{name}") for name in ("one", "two")]
        found = report(*rows, row(Verdict.SAME, story="scenarios/b.py::test_one"), lists_all=True)
        assert [each.observable for each in found.shown()] == ["it: “one”", "it: “two”", "it"]
        [(_, [why])] = sections(found)
        assert why.startswith("a, it: “one”; it: “two”: net.core.somaxconn: limits.")

    def test_the_reason_for_not_measuring_is_shown(self) -> None:
        took, untried = (
            {"seconds": 1.0, "from": 1.0, "to": 1.1},
            {"predicted": "2", "why": "longer than --lab-max-wait"},
        )
        rows = [
            replace(row(verdict, name), measured=([took, untried], [untried]))
            for name, verdict in (("a", Verdict.NOT_MEASURED), ("b", Verdict.PREDICTED), ("c", Verdict.SAME))
        ]
        lost = row(Verdict.NOT_MEASURED, ENDING)
        told = dict(sections(report(*rows, lost, reasons={lost.story: "skipped: no tcpdump"})))
        assert told["Not measured"] == [
            "full_accept_queue, b (1 → 2); a (1 → 2): longer than --max-wait",
            "full_accept_queue, “x”: skipped: no tcpdump",
        ]  # fmt: skip

    @pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.UNKNOWN, Kind.READ_ONLY])
    def test_a_refused_line_is_counted_and_does_not_pass(self, kind) -> None:
        found = report(row(Verdict.SAME), lines=(line(kind),))
        assert found.status == 3
        assert headline(found) == "Not everything could be measured. 1 line could not be tried. 1 observable: 1 same"
        told = dict(sections(found))
        assert told == {"Lines that could not be tried": [f"x.conf:1: net.ipv4.tcp_y = 1: {kind}: why"]}
        assert headline(report(lines=(line(kind),) * 2, changed=())).endswith(". 2 lines could not be tried")
        assert report(row(Verdict.CHANGED), lines=(line(kind),)).status == 1

    @pytest.mark.parametrize("verdict", [Verdict.CHANGED, Verdict.PREDICTED])
    def test_a_story_that_enables_a_dead_key_shows_no_change(self, verdict) -> None:
        dead, story = {Y: {"net.ipv4.tcp_z"}}, "scenarios/full_accept_queue.py::test_x"
        found = report(row(verdict), changed=(Y,), without_effect=dead, pinned={story: {"net.ipv4.tcp_z"}})
        assert (found.status, [each.verdict for each in found.rows]) == (0, [Verdict.NOT_MEASURED])
        assert found.shown()[0].note == "the story sets tcp_z itself"
        assert dict(sections(found))["Not measured"] == [
            "full_accept_queue, it: tcp_y: without effect here; it has an effect only in this story, "
            "which sets tcp_z itself"
        ]
        found = report(row(verdict), changed=(Y,), without_effect=dead)
        assert found.status != 0, "here the kernel shows an effect"
        found = report(row(verdict), changed=(Y, "net.core.somaxconn"), without_effect=dead)
        assert found.keys_behind(found.rows[0]) == ["net.core.somaxconn"]

    def test_the_number_of_nouns_is_right(self) -> None:
        [ending] = report(row(Verdict.SAME, ENDING), lists_all=True).shown()
        assert ending.observable == "1 story"
        assert headline(report(row(Verdict.SAME))) == "Nothing changed. 1 observable: 1 same"
        assert headline(report(changed=())) == "Nothing to try: no value would change"
        text = "\n".join(as_markdown(replace(report(row(Verdict.SAME)), plays=1)))
        assert "Each story 1 time." in text

    def test_endings_that_are_the_same_share_a_row(self) -> None:
        rows = report(*(row(Verdict.SAME, ENDING, f"scenarios/a.py::test_{n}") for n in "xyz"), lists_all=True).shown()
        assert [(each.observable, each.verdict) for each in rows] == [("3 stories", Verdict.SAME)]

    def test_json_has_everything(self) -> None:
        told = json.loads(as_json(report(row(Verdict.CHANGED), untried={"k": "no scenario covers it"})))
        assert (told["version"], told["status"], told["untried"]) == (1, 1, {"k": "no scenario covers it"})
        assert told["observables"][0]["keys"] == ["net.core.somaxconn"]


@pytest.mark.parametrize("hostile", ["a|b", "`x`", "<script>", "[x](http://y)", "a\n\n# b", "*x*", "&amp;", "\\|"])
def test_markdown_is_escaped(hostile) -> None:
    [_, _, line] = comparison.markdown([Row("scenarios/a.py::test_b", hostile, hostile, "", Verdict.SAME)])
    assert "\n" not in line
    plain = line.replace("\\\\", "").replace("\\|", "")
    assert plain.count("|") == 6
    for mark in "`<[*&#":
        assert plain.count(mark) == plain.count("\\" + mark)


def test_in_markdown_a_note_follows_the_verdict() -> None:
    noted = replace(row(Verdict.SAME), note="the story sets it")
    assert list(comparison.markdown([noted]))[2].endswith("| same (the story sets it) |")


def test_two_runs_side_by_side_name_the_stories_too() -> None:
    run = record.Run("6.18", "kernel", {}, ())
    rows = [row(Verdict.CHANGED, story=f"scenarios/a.py::test_{name}") for name in ("one", "two")]
    told = comparison.format_text(run, run, rows, 100, color=False)
    assert "it: “one”" in told
    assert "it: “two”" in told
    assert comparison.format_text(run, run, [], 100, color=False).endswith("Nothing was observed")


def test_markdown_mentions_no_user() -> None:
    assert "@team" not in comparison.escaped("@team")


class TestTheCommand:
    def test_a_change_is_in_every_form_and_exits_with_1(self, conf, tmp_path) -> None:
        file = conf("net.ipv4.tcp_abort_on_overflow = 1\nnet.ipv4.no_such_key = 1\n")
        told, kept = tmp_path / "t.md", tmp_path / "t.json"
        done = harness(
            "whatif", "--before", "reference", "--plays", "1", "--json", str(kept), "--markdown", str(told), "--", file
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert "net.ipv4.tcp_abort_on_overflow: 0 → 1" in done.stdout
        assert "CHANGED" in done.stdout
        assert "tcp_abort_on_overflow: if the accept queue is full" in " ".join(done.stdout.split())
        assert "no_such_key" in done.stdout
        assert "make lesson S=" in " ".join(done.stdout.split())
        assert "| CHANGED |" in told.read_text()
        found = json.loads(kept.read_text())
        assert found["status"] == 1
        assert [line["verdict"] for line in found["lines"]] == ["applied", "unknown"]
        assert {len(each["measured"]["before"]) for each in found["observables"]} <= {0, 1}

    def test_the_same_values_leave_nothing_to_try_and_exit_with_0(self, conf) -> None:
        done = harness("whatif", "--before", "reference", conf("net.ipv4.tcp_fin_timeout = 1\n"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Nothing to try: no value would change" in done.stdout

    def test_an_uncovered_key_is_untested_and_exits_with_3(self, conf) -> None:
        done = harness("whatif", "--before", "reference", conf("net.ipv4.tcp_moderate_rcvbuf = 0\n"))
        assert done.returncode == 3, done.stdout + done.stderr
        assert "net.ipv4.tcp_moderate_rcvbuf: no scenario covers it" in done.stdout

    def test_bad_input_is_exit_2_with_its_place(self, conf) -> None:
        done = harness("whatif", conf("net.ipv4.tcp_fin_timeout 1\n"))
        assert done.returncode == 2
        assert "99.conf:1:" in done.stderr

    def test_partial_tries_what_can_be_read_and_exits_with_7(self, conf, tmp_path) -> None:
        file = conf("net.ipv4.tcp_fin_timeout = 1\nnet.ipv4.tcp_retries2 5\n")
        strict = harness("whatif", "--before", "reference", file)
        assert strict.returncode == 2
        assert "net.ipv4.tcp_fin_timeout = 1" in strict.stderr, "what could be read"
        kept = tmp_path / "t.json"
        done = harness("whatif", "--before", "reference", "--partial", "--json", str(kept), file)
        assert done.returncode == 7, done.stdout + done.stderr
        assert "Left out: these places cannot be read" in done.stdout
        assert "Nothing to try: no value would change. Left out: 1 place that cannot be read" in done.stdout
        found = json.loads(kept.read_text())
        assert [(each["line"], each["text"]) for each in found["left_out"]] == [
            (2, "no '=' in 'net.ipv4.tcp_retries2 5'")
        ]
        assert found["status"] == 0, "of what was tried"
        assert re.search(r'^ "status": 0,$', kept.read_text(), re.M), "as docs/ci/whatif.yml looks for it"

    def test_host_wide_keys_do_not_pass(self, conf) -> None:
        done = harness("whatif", "--before", "reference", conf("vm.swappiness = 1234\n"))
        assert done.returncode == 3
        assert "Keys not tried: 1" in done.stdout
        assert "vm.swappiness: host-wide" in done.stdout

    def test_lines_that_the_kernel_refuses_do_not_pass(self, conf) -> None:
        done = harness("whatif", "--before", "reference", conf("net.ipv4.tcp_retries1 = 99999\nnet.ipv4.nope = 1\n"))
        assert done.returncode == 3, done.stdout + done.stderr
        assert "2 lines could not be tried" in done.stdout

    def test_what_has_no_effect_is_neither_changed_nor_untested(self, conf) -> None:
        file = conf("net.ipv4.tcp_max_syn_backlog = 64\nnet.ipv4.tcp_probe_interval = 7\n")
        done = harness("whatif", "--before", "reference", "--plays", "1", file)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Nothing changed. " in done.stdout
        assert "Untested" not in done.stdout
        assert "(the story sets tcp_syncookies itself)" in " ".join(done.stdout.split())

    @pytest.mark.parametrize("form", ["json", "markdown", "html"])
    def test_an_unwritable_file_is_reported_before_playing(self, conf, form, monkeypatch) -> None:
        monkeypatch.setattr("harness.cli.whatif.trial", lambda *_, **__: 1 / 0)
        with pytest.raises(LabError, match=r"cannot be written: .*Hint: "):
            run([conf("")], ["reference"], plays=1, max_wait_s=1, **{"json": "", "markdown": "", "html": ""}
                | {form: "/proc/nope/x"})  # fmt: skip

    def test_a_writable_file_is_unchanged_if_nothing_is_played(self, conf, tmp_path) -> None:
        kept, empty, new = tmp_path / "kept.json", tmp_path / "empty.html", tmp_path / "new.md"
        kept.write_text("old")
        empty.touch()
        files = ["--json", str(kept), "--html", str(empty), "--markdown", str(new)]
        done = harness("whatif", conf("nonsense\n"), *files)
        assert done.returncode == 2
        assert (kept.read_text(), empty.read_text()) == ("old", "")
        assert not new.exists()

    def test_the_statuses_are_in_the_help(self) -> None:
        text = " ".join(harness("whatif", "--help").stdout.split())
        assert re.search(r"exit status: 0: .* 1: .* 2: .* 3: ", text)

    def test_the_users_options_for_pytest_leave_nothing_out(self, conf) -> None:
        arguments = ["--before", "reference", "--plays", "1", "--all", conf("net.ipv4.tcp_keepalive_time = 7199\n")]
        done = run_module("harness", "whatif", *arguments, environment={"PYTEST_ADDOPTS": "-k no_such_story"})
        assert done.returncode == 1, done.stdout + done.stderr
        assert "2 stories" in done.stdout

    @pytest.mark.parametrize(
        "arguments",
        [["--plays", "0"], ["--no-such"], ["--json", "a", "--html", "a"], ["--before", "host", "--before", "kernel"]],
    )
    def test_bad_options_are_exit_2(self, conf, arguments) -> None:
        assert harness("whatif", conf(""), *arguments).returncode == 2

    @pytest.mark.parametrize("seconds", ["0", "nan", "inf", "1e9"])
    def test_an_impossible_wait_is_refused_by_its_options_name(self, conf, seconds) -> None:
        done = harness("whatif", "--before", "reference", conf(""), "--max-wait", seconds)
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stderr.startswith("--max-wait ")
        assert "Hint: give more than 0 seconds" in done.stderr


def test_an_internal_error_does_not_claim_a_change(monkeypatch, conf, capsys) -> None:
    monkeypatch.setattr("harness.cli.whatif.trial", lambda *_, **__: 1 / 0)
    assert main(["whatif", conf("")]) == 3
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_ci_recipe_installs_existing_packages() -> None:
    recipe = (ROOT / "docs" / "ci" / "whatif.yml").read_text()
    asked = {
        option
        for option in re.findall(r"(?<!-)--[a-z][a-z-]+", recipe)
        if option in ("--before", "--markdown", "--json", "--partial")
    }
    assert asked == {"--before", "--markdown", "--json", "--partial"}
    assert asked <= set(re.findall(r"--[a-z][a-z-]+", harness("whatif", "--help").stdout))


def is_a_nursery_at_work(process: psutil.Process) -> bool:
    try:
        return "-I" in process.cmdline() and bool(process.children(recursive=True)[1:])
    except psutil.NoSuchProcess:
        return False


def test_a_what_if_that_is_killed_leaves_nothing(conf) -> None:
    command = [sys.executable, "-m", "harness", "whatif", "--before", "reference", conf(f"{FIN_TIMEOUT} = 9\n")]
    command += ["--plays", "30"]  # otherwise a process that was not killed might end by itself
    whatif = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
                          env=clean_environment())  # fmt: skip
    started: list[psutil.Process] = []
    while not any(map(is_a_nursery_at_work, started)):
        started = whatif.children(recursive=True)
        assert whatif.poll() is None
        time.sleep(0.01)
    whatif.kill()
    whatif.wait()
    _, alive = psutil.wait_procs(started, timeout=GENEROUS_S)
    assert alive == []


class TestBaselines:
    def test_two_runs_of_the_same_are_the_same(self, tmp_path) -> None:
        story = "scenarios/waiting/fin_timeout_leaves_time_wait_alone.py"
        kept = str(tmp_path / "kept.json")
        one = self.play(story, "-k", "above_60", "--lab-save", kept)
        assert one.returncode == 0, one.stdout
        other = self.play(story, "-k", "above_60", "--lab-compare", kept, "--lab-compare-fail=changed")
        assert other.returncode == 0, other.stdout
        assert "3 observables: 3 same" in other.stdout

    def test_changes_are_shown_and_fail_the_run_on_request(self, tmp_path) -> None:
        path, kept, now = tmp_path / "story.py", str(tmp_path / "kept.json"), str(tmp_path / "now.json")
        path.write_text("def test_it(lab): lab.finding('timeout', lab.sysctl('net.ipv4.tcp_fin_timeout'))\n")
        arguments = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-p", "harness.pytest_plugin"]
        assert self.play(str(path), *arguments, "--lab-save", kept).returncode == 0
        changed = ["--lab-sysctl", "net.ipv4.tcp_fin_timeout=7", "--lab-compare", kept, "--lab-save", now]
        told = self.play(str(path), *arguments, *changed)
        assert told.returncode == 0, told.stdout
        assert re.search(r"timeout +1 +7 +CHANGED", told.stdout)
        differ = "sysctls that differ:\n  net.ipv4.tcp_fin_timeout: 1 → 7\n"
        assert differ in told.stdout
        assert self.play(str(path), *arguments, *changed, "--lab-compare-fail=changed").returncode == 1
        compared = harness("compare", kept, now)
        assert compared.returncode == 1, compared.stderr
        assert re.search(r"timeout +1 +7 +CHANGED", compared.stdout)
        assert "before: Linux" in compared.stdout
        assert differ in compared.stdout
        assert harness("compare", now, now).returncode == 0

    @pytest.mark.parametrize("workers", [(), ("-n", "2")])
    def test_a_record_has_the_effective_sysctls(self, tmp_path, workers) -> None:
        path, kept, conf = tmp_path / "story.py", tmp_path / "kept.json", tmp_path / "99.conf"
        keys = ("tcp_retries2", "tcp_invalid_ratelimit", "tcp_rmem", "tcp_slow_start_after_idle", "tcp_fastopen_key")
        path.write_text(f"def test_it(lab):\n for key in {keys[:4]}: lab.finding(key, lab.sysctl('net.ipv4.' + key))\n")
        conf.write_text("net.ipv4.tcp_slow_start_after_idle = 0\nfs.file-max = 1\n"
                        "net.ipv4.tcp_fastopen_key = 00000000-00000000-00000000-00000001\n")  # fmt: skip
        arguments = [
            "-c",
            str(ROOT / "pyproject.toml"),
            "--rootdir",
            str(tmp_path),
            "-p",
            "harness.pytest_plugin",
            *workers,
        ]
        asked = ["--lab-sysctls=kernel", "--lab-sysctl-file", str(conf), "--lab-save", str(kept)]
        done = self.play(str(path), *arguments, *asked)
        assert done.returncode == 0, done.stdout
        told = json.loads(kept.read_text())
        findings = {each["name"]: each["value"] for each in told["plays"][0]["findings"]}
        assert findings == {key: told["settings"][f"net.ipv4.{key}"] for key in keys[:4]}
        assert findings["tcp_slow_start_after_idle"] == "0"
        governing = {key for lesson in lessons.every() for key in lesson.sysctls}
        assert {key for key in governing if Path("/proc/sys", key.replace(".", "/")).exists()} <= set(told["settings"])
        assert told["settings"]["net.ipv4.tcp_fastopen_key"] == "(secret)"
        assert "fs.file-max" not in told["settings"]

    def test_a_role_that_dies_unnoticed_is_one_play_that_failed(self, tmp_path) -> None:
        path, kept = tmp_path / "story.py", tmp_path / "kept.json"
        path.write_text(DIES)
        arguments = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-p", "harness.pytest_plugin"]
        assert self.play(str(path), *arguments, "--lab-save", str(kept)).returncode == 1
        [told] = json.loads(kept.read_text())["plays"]
        assert told["verdict"] == "failed"
        assert self.play(str(path), *arguments, "-k", "nothing", "--lab-save", str(kept)).returncode == 5
        assert json.loads(kept.read_text())["plays"] == [told]

    @pytest.mark.parametrize(
        "arguments", [["--lab-compare-fail=changed"], ["--lab-save", "/proc/nope/x.json"], ["--lab-save", "a b"]]
    )
    def test_an_unusable_record_is_refused_before_playing(self, arguments) -> None:
        done = self.play("scenarios/closing/close_with_unread_data.py", *arguments)
        assert done.returncode == 4
        assert "Hint: " in done.stderr

    def test_two_runs_with_nothing_in_common_do_not_pass(self, tmp_path) -> None:
        for name, story in (("a", "x"), ("b", "y")):
            play = {"story": story, "verdict": "passed", "reason": "", "pinned": [], "findings": [], "course": []}
            record.save(record.Run("6.18\x1b[2J", "kernel", {}, (play,)), tmp_path / f"{name}.json")
        done = harness("compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"))
        assert done.returncode == 3, done.stderr
        assert "\x1b" not in done.stdout

    def test_a_damaged_record_is_refused_before_anything_is_played(self, tmp_path) -> None:
        kept = tmp_path / "kept.json"
        kept.write_text("{")
        done = self.play("scenarios/closing/close_with_unread_data.py", "--lab-compare", str(kept))
        assert done.returncode == 4
        assert "is damaged" in done.stderr
        assert harness("compare", str(kept), str(kept)).returncode == 2

    def play(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_module("pytest", "-q", *arguments)
