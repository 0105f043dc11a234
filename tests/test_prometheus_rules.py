"""`python -m harness diagnose --prometheus-rules`: valid rules, and counters that the signatures read and vouch for."""

import ast
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from harness.diagnose import prometheus
from harness.diagnose.finding import Certainty
from harness.diagnose.signatures import SIGNATURES
from harness.diagnose.snapshot import Snapshot
from harness.lessons import lessons
from tests.playing import clean_environment, run_module

TEXT = prometheus.rules()
GROUPS: list[dict[str, Any]] = yaml.safe_load(TEXT)["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
DURATION = re.compile(r"(\d+)m")


def read_by(signature: Callable[..., object]) -> set[str]:
    """The names of counters in a signature's source, and in what it uses of its own module."""
    module: Any = sys.modules[signature.__module__]
    assert isinstance(module, ModuleType)
    parts: dict[str, ast.AST] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef):
            parts[node.name] = node
        elif isinstance(node, ast.Assign):
            parts |= {
                each.id: node for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)
            }
    found, wanted, done = set(), [signature.__name__], set()
    while wanted:
        name = wanted.pop()
        done.add(name)
        for node in ast.walk(parts[name]):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value} if re.fullmatch(r"(Tcp|TCP)\w+", node.value) else set()
            elif isinstance(node, ast.Name) and node.id in parts and node.id not in done:
                wanted.append(node.id)
    return found


@pytest.mark.parametrize("name", prometheus.ALERTS)
def test_an_alert_stands_for_a_signature_and_reads_its_counters(name: str) -> None:
    assert name in SIGNATURES
    read = read_by(SIGNATURES[name])
    assert all({counter, counter.removeprefix("TcpExt")} & read for counter in prometheus.ALERTS[name].counters)


def test_the_counters_of_a_signature_are_found_in_its_source() -> None:
    assert read_by(SIGNATURES["full_accept_queue"]) >= {"TcpExtListenOverflows"}
    assert read_by(SIGNATURES["close_with_unread_data"]) == {"TcpExtTCPAbortOnClose"}  # and not what its texts mention
    assert read_by(SIGNATURES["close_wait_piles_up"]) == set()


def test_close_with_unread_data_needs_nothing_but_its_counter() -> None:
    (counter,) = prometheus.ALERTS["close_with_unread_data"].counters
    signature = SIGNATURES["close_with_unread_data"]
    assert signature(Snapshot(0, (), counters={counter: 7}), Snapshot(5, (), counters={counter: 8}))
    assert not signature(Snapshot(0, (), counters={counter: 7}), Snapshot(5, (), counters={counter: 7}))


def test_last_segment_lost_needs_nothing_but_its_counters() -> None:
    repaired, needless = prometheus.ALERTS["last_segment_lost"].counters
    signature = SIGNATURES["last_segment_lost"]

    def look(repairs: int, dsacks: int) -> Snapshot:
        return Snapshot(0, (), counters={repaired: repairs, needless: dsacks})

    found = signature(look(5, 5), look(7, 6))
    assert found
    assert found.certainty == Certainty.FOUND
    doubtful = signature(look(5, 5), look(6, 6))
    assert not doubtful or doubtful.certainty == Certainty.POSSIBLE


def test_each_rule_has_what_prometheus_wants() -> None:
    assert [set(group) for group in GROUPS] == [{"name", "rules"}]
    assert [rule["labels"]["lesson"] for rule in RULES] == list(prometheus.ALERTS)
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", rule["alert"])
        growth = r"increase\(node_netstat_Tcp(Ext)?_[A-Za-z]+\[\d+m\]\)"
        assert re.fullmatch(rf"{growth} > (0|{growth})", rule["expr"])
        assert all(isinstance(value, str) for value in (*rule["labels"].values(), *rule["annotations"].values()))


def test_each_rule_has_the_texts_of_its_lesson() -> None:
    for rule in RULES:
        lesson = lessons.load(rule["labels"]["lesson"])
        annotations = rule["annotations"]
        assert annotations["summary"] == f"{{{{ $labels.instance }}}}: {lesson.texts.claim}"
        assert (annotations["symptom"], annotations["cure"]) == (lesson.texts.symptom, lesson.texts.cure)
        assert annotations["play"] == f"make lesson S={lesson.name}"
        assert annotations["unlike"] == prometheus.ALERTS[lesson.name].unlike
        texts = [text.replace("{{ $labels.instance }}", "") for text in annotations.values()]
        assert not any("{{" in text for text in texts)  # Prometheus would take it for a template


def test_one_event_does_not_alert() -> None:
    for rule in RULES:
        windows = [int(minutes) for minutes in re.findall(r"\[(\d+)m\]", rule["expr"])]
        assert windows
        lasts = DURATION.fullmatch(rule["for"])
        assert lasts
        assert int(lasts[1]) > max(windows)


def test_the_counters_that_node_exporter_leaves_out_are_named_and_set() -> None:
    set_to = re.findall(r"--collector\.netstat\.fields='(.*)'", TEXT)
    assert len(set_to) == 1
    for alert in prometheus.ALERTS.values():
        for counter in alert.counters:
            field = prometheus.field(counter)
            is_off = re.search(prometheus.DEFAULT_FIELDS, field) is None
            state = "off by default, see above" if is_off else "on by default"
            assert f"# needs node_netstat_{field} ({state})" in TEXT
            assert re.search(set_to[0], field)


@pytest.mark.parametrize(
    ("counter", "is_off"),
    [("TcpExtListenOverflows", False), ("TcpExtListenDrops", False), ("TcpExtTCPTimeouts", False),
     ("TcpExtSyncookiesRecv", False), ("TcpOutRsts", False), ("TcpRetransSegs", False), ("TcpAttemptFails", True),
     ("TcpEstabResets", True), ("TcpExtTCPAbortOnClose", True), ("TcpExtTCPAbortOnData", True),
     ("TcpExtTCPDeferAcceptDrop", True), ("TcpExtTCPReqQFullDoCookies", True), ("TcpExtTCPTimeWaitOverflow", True)],
)  # fmt: skip
def test_what_node_exporter_exports_by_default(counter: str, is_off: bool) -> None:
    assert prometheus.is_off_by_default(counter) == is_off


def test_what_is_set_exports_all_that_is_exported_by_default() -> None:
    set_to = prometheus.fields_to_set()
    for field in ("TcpExt_ListenDrops", "Tcp_OutRsts", "Udp6_NoPorts", "Ip_Forwarding", "Tcp_InErrors"):
        assert re.search(prometheus.DEFAULT_FIELDS, field)
        assert re.search(set_to, field)
    assert not re.search(set_to, "Tcp_AttemptFails")


def test_every_lesson_has_an_alert_or_is_listed_without_one() -> None:
    listed = [name for names in prometheus.without_alert().values() for name in names]
    has_alert = [lesson.name for lesson in lessons.every() if (lesson.signature or lesson.name) in prometheus.ALERTS]
    assert sorted([*listed, *has_alert]) == sorted(lesson.name for lesson in lessons.every())
    assert set(re.findall(r"^#   (\w+)$", TEXT, re.M)) == set(listed)
    assert "close_wait_piles_up" in prometheus.without_alert()[prometheus.NEEDS_MORE]


def test_the_command_prints_the_rules_and_nothing_else() -> None:
    done = run_module("harness", "diagnose", "--prometheus-rules")
    assert (done.returncode, done.stdout, done.stderr) == (0, TEXT, "")


@pytest.fixture
def rules_file(tmp_path: Path) -> Path:
    if not shutil.which("promtool"):
        pytest.skip("no promtool here. Hint: install Prometheus (Debian and Ubuntu: apt install prometheus)")
    path = tmp_path / "rules.yml"
    path.write_text(TEXT)
    return path


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_them(rules_file: Path) -> None:
    promtool("check", "rules", str(rules_file))


def test_what_recurs_alerts_and_what_happens_once_does_not(rules_file: Path) -> None:
    tests = []
    for rule in RULES:
        series = re.findall(r"increase\((\w+)\[", rule["expr"])
        expected = {
            "exp_labels": rule["labels"] | {"instance": "here"},
            "exp_annotations": {
                name: text.replace("{{ $labels.instance }}", "here") for name, text in rule["annotations"].items()
            },
        }
        for values, alerts in (("3x40", []), ("3x10 4x30", []), ("3+1x40", [expected])):
            tests.append({
                "interval": "1m",
                "input_series": [{"series": f'{name}{{instance="here"}}', "values": "3x40" if number else values}
                                 for number, name in enumerate(series)],
                "alert_rule_test": [
                    {"eval_time": f"{minute}m", "alertname": rule["alert"], "exp_alerts": alerts}
                    for minute in ((14, 18, 22, 30) if not alerts else (20, 30))
                ],
            })  # fmt: skip
    path = rules_file.with_name("tests.yml")
    path.write_text(yaml.safe_dump({"rule_files": [rules_file.name], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", str(path))
