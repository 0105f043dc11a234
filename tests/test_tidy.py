"""Style rules that a machine can check: what every scenario must have, and what none may have."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.lessons.docstrings import proved_rows
from tests.playing import ROOT

SCENARIOS = sorted((ROOT / "scenarios").glob("*/*.py"), key=lambda path: path.stem)
CLAIMS = (ROOT / "scenarios" / "CLAIMS.md").read_text()
ROWS = set(re.findall(r"^\| (00\d-\d+) \|", CLAIMS, re.M))


def stories_of(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


def rows_proved(stories_named: str = "test_") -> set[str]:
    return {
        row
        for path in SCENARIOS
        for test in stories_of(path)
        if test.name.startswith(stories_named)
        for row in proved_rows(ast.get_docstring(test) or "")
    }


def test_there_are_scenarios_and_rows() -> None:
    assert len(SCENARIOS) >= 5
    assert len(ROWS) == 40


def test_every_row_has_a_proof() -> None:
    assert rows_proved() == ROWS


def test_every_row_has_a_control() -> None:
    assert rows_proved("test_control_") == ROWS


def test_every_row_cited_exists() -> None:
    cited = {row for path in SCENARIOS for row in re.findall(r"\b00\d-\d+\b", path.read_text())}
    assert cited - ROWS == set()


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
class TestEveryScenario:
    def test_is_a_lesson_with_a_ladder_and_sources(self, path: Path) -> None:
        lesson = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert re.search(r"(client|controller|prober).*server", lesson), "a ladder, client left, server right"
        assert re.search(r"──|->|<-", lesson), "a ladder"
        assert re.search(r"RFC \d+|net/ipv4/|PEP \d+", lesson), "sources"

    def test_has_a_fault_and_a_control(self, path: Path) -> None:
        names = [test.name for test in stories_of(path)]
        controls = [name for name in names if name.startswith("test_control_")]
        assert controls
        assert len(controls) < len(names)

    def test_every_test_has_what_it_proves_or_controls(self, path: Path) -> None:
        silent = [test.name for test in stories_of(path) if not ast.get_docstring(test)]
        assert silent == []

    def test_never_sleeps(self, path: Path) -> None:
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert [ast.unparse(call) for call in calls if ast.unparse(call.func).endswith("sleep")] == []

    def test_roles_know_nothing_of_the_harness(self, path: Path) -> None:
        tree = ast.parse(path.read_text())
        of_the_harness = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "harness"
            for alias in node.names
            if node.module != "harness.stock_roles"  # which is for roles, and is plain Python as well
        }
        for role in tree.body:
            if isinstance(role, ast.FunctionDef) and any(isinstance(node, ast.Yield) for node in ast.walk(role)):
                names = {node.id for node in ast.walk(role) if isinstance(node, ast.Name)}
                assert names & (of_the_harness | {"lab"}) == set(), role.name


def test_scapy_is_imported_in_one_place() -> None:
    importers = [
        str(path.relative_to(ROOT))
        for folder in ("harness", "scenarios")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"^\s*(from|import) scapy", path.read_text(), re.M)
    ]
    assert importers == ["harness/evidence/wire.py"]


def test_nothing_compares_kernel_versions() -> None:
    sources = [path.read_text() for path in (ROOT / "harness").rglob("*.py")]
    assert not any(re.search(r"platform\.release\(\)\s*[<>=]|uname\(\)\.release\s*[<>=]", text) for text in sources)


def test_only_the_kernel_room_and_the_addresses_know_the_family() -> None:
    # Those of evidence/ read both families; default_family.py knows which is Python's.
    knowers = {
        "kernel",
        "network",
        "conntrack.py",
        "ip.py",
        "sockets.py",
        "transitions.py",
        "default_family.py",
    }
    guilty = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "harness").rglob("*.py")
        if re.search(r"AF_INET|192\.0\.2\.|127\.0\.0\.", path.read_text())
        and not knowers & set(path.relative_to(ROOT / "harness").parts)
    ]
    assert guilty == []


@pytest.mark.parametrize("word", ["TODO", "FIXME", "XXX", "time.sleep(0.5", "shell=True"])
def test_no_leftovers(word: str) -> None:
    folders = ("harness", "scenarios")
    found = [str(path) for folder in folders for path in (ROOT / folder).rglob("*.py") if word in path.read_text()]
    assert found == []
