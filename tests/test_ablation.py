"""Ablation finds exactly the inputs that no test misses, in a scenario with inputs of both kinds."""

import ast
from pathlib import Path

import pytest

from tests.ablation import SCENARIOS, Findings, explained, find_unmissed, report
from tests.cuts import Cut, cuts_of, names_of_tests

STORY = """
import socket

import pytest


def serve(address, backlog=0):
    listener = socket.create_server(address, backlog=backlog)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    yield "listening"


def call(address):
    connection = socket.create_connection(address)
    yield "connected"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize(("abort", "backlog"), [(0, 3), (1, 3)])
def test_a_linger_time_of_0_resets(lab, abort, backlog):
    lab.set_sysctl("net.ipv4.tcp_abort_on_overflow", abort)
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 1)
    lab.drop("tcp dport 1")
    lab.start(serve, lab.server_address, backlog, to="listening")
    lab.start(call, lab.server_address).finish()
    assert lab.wire(port=lab.server_address[1]) == ["client S", "server SA", "client A", "client RA"]
    assert lab.sysctl("net.ipv4.tcp_fin_timeout") == "1"
"""
UNMISSED_THERE = [
    "listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)",
    "lab.set_sysctl('net.ipv4.tcp_abort_on_overflow', abort)",
    "lab.drop('tcp dport 1')",
    "backlog=backlog of socket.create_server(address, backlog=backlog)",
    "port=lab.server_address[1] of lab.wire(port=lab.server_address[1])",
    "backlog of lab.start(serve, lab.server_address, backlog, to='listening')",
    "abort=0 of (0, 3)",
    "abort=1 of (1, 3)",
]
MISSED_THERE = [
    "connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))",
    "lab.start(call, lab.server_address).finish()",
    "lab.start(serve, lab.server_address, backlog, to='listening')",
    "lab.set_sysctl('net.ipv4.tcp_fin_timeout', 1)",  # by the kernel's defaults alone: 1 is the reference's value
    "to='listening' of lab.start(serve, lab.server_address, backlog, to='listening')",
]


@pytest.mark.timeout(600)
def test_exactly_the_unmissed_inputs_are_found(tmp_path: Path) -> None:
    findings = find_unmissed({"story": STORY}, set(), tmp_path)
    assert sorted(cut.text for cut in findings.unmissed) == sorted(UNMISSED_THERE)
    assert {cut.text for cut in findings.missed} >= set(MISSED_THERE)
    assert findings.not_judged == []


def a_cut(text: str, kind: str = "call") -> Cut:
    return Cut("story", kind, 7, "test_it", text, "", ("test_it",))


def test_what_is_unmissed_is_reported_with_its_place() -> None:
    text, nothing_to_do = report(Findings([a_cut("one")], [a_cut("two")], []), {})
    assert not nothing_to_do
    assert "story.py:7: call two\n    green without it: test_it\n" in text
    assert text.splitlines()[-1] == "1 unexplained, 0 stale"


def test_what_is_explained_is_only_counted() -> None:
    text, nothing_to_do = report(Findings([a_cut("one")], [a_cut("two")], []), {a_cut("two").key: "why"})
    assert nothing_to_do
    assert [line.split() for line in text.splitlines()[-3:-1]] == [
        ["parameter", "0", "0", "0", "0", "0"], ["all", "2", "1", "1", "0", "0"],
    ]  # fmt: skip


@pytest.mark.parametrize("found", [[a_cut("one")], []], ids=["missed", "gone"])
def test_an_explanation_that_no_longer_applies_is_reported(found: list[Cut]) -> None:
    text, nothing_to_do = report(Findings(found, [], []), {a_cut("one").key: "why"})
    assert not nothing_to_do
    assert text.splitlines()[-1] == "0 unexplained, 1 stale"


def test_what_a_race_decides_may_be_missed() -> None:
    assert report(Findings([a_cut("one")], [], []), {a_cut("one").key: "race: why"})[1]
    assert not report(Findings([], [], []), {a_cut("one").key: "race: why"})[1]


@pytest.mark.parametrize(
    "path", sorted(SCENARIOS.glob("*/*.py"), key=lambda path: path.stem), ids=lambda path: path.stem
)
def test_every_scenario_can_be_cut(path: Path) -> None:
    source = path.read_text()
    cuts = cuts_of(path.stem, source)
    assert all(cut.source != ast.unparse(ast.parse(source)) for cut in cuts)
    assert {cut.kind for cut in cuts} >= {"call", "keyword"} or path.stem == "mariadb_meets_a_prober"
    assert {test for cut in cuts for test in cut.tests} <= set(names_of_tests(source))


def test_every_explanation_is_of_an_existing_piece() -> None:
    there = {cut.key for path in SCENARIOS.glob("*/*.py") for cut in cuts_of(path.stem, path.read_text())}
    assert set(explained()) - there == set()
