"""Scenarios call the harness correctly, even on lines that never run on this kernel (mypy checks only typed code)."""

import ast
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.lab.actor import Actor
from harness.lab.lab import Lab
from tests.playing import ROOT
from tests.test_tidy import SCENARIOS


def imported(tree: ast.Module) -> dict[str, Any]:
    """The objects of the harness that a scenario uses, by the names that it uses."""
    return {
        alias.asname or alias.name: getattr(importlib.import_module(node.module), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "harness"
        for alias in node.names
        if hasattr(importlib.import_module(node.module), alias.name)
    }


def called(function: ast.expr, names: dict[str, Any]) -> tuple[Callable[..., Any] | None, int]:
    """The object of the harness that a call calls, if any, and the number of arguments before those written."""
    match function:
        case ast.Name(name) if callable(names.get(name)):
            return names[name], 0
        case ast.Attribute(ast.Name("lab"), verb) if callable(getattr(Lab, verb, None)):
            return getattr(Lab, verb), 1
        case ast.Attribute(ast.Name("lab"), verb):
            raise AssertionError(f"a lab has no {verb}()")
        case ast.Attribute(ast.Name(name), member) if inspect.ismodule(names.get(name)):
            return getattr(names[name], member), 0
        case ast.Attribute(ast.Call(ast.Attribute(ast.Name("lab"), "start")), verb):
            return getattr(Actor, verb), 1
    return None, 0


def complaints(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    names = imported(tree)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        function, before = called(call.func, names)
        given = [*call.args, *call.keywords]
        if function is None or any(isinstance(each, ast.Starred) for each in call.args):
            continue
        if any(isinstance(each, ast.keyword) and each.arg is None for each in given):
            continue
        positional = [None] * (before + len(call.args))
        try:
            inspect.signature(function).bind(*positional, **{each.arg or "": None for each in call.keywords})
        except ValueError:  # an exception without its own __init__ has no signature, and accepts anything
            continue
        except TypeError as error:
            yield f"line {call.lineno}: {ast.unparse(call.func)}(): {error}"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_scenario_calls_the_harness_as_it_is(path) -> None:
    assert list(complaints(path.read_text())) == []


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("raise LabUnavailable('one argument alone')", "missing a required argument: 'hint'"),
        ("lab.state()", "missing a required argument: 'end'"),
        ("lab.expect_states(clint='CLOSED')", "unexpected keyword argument 'clint'"),
        ("lab.start(role, to='ready').run_to()", "missing a required argument: 'step'"),
        ("timers.fin_wait2(1)", "missing a required argument: 'tick_s'"),
    ],
)
def test_a_wrong_call_is_found(line, wanted) -> None:
    imports = "from harness.errors import LabUnavailable\nfrom harness.predict import timers\n"
    source = f"{imports}def test_it(lab):\n    {line}\n"
    [complaint] = complaints(source)
    assert wanted in complaint


def test_a_verb_that_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError, match=r"a lab has no expect_state\(\)"):
        list(complaints("def test_it(lab):\n    lab.expect_state(client='CLOSED')\n"))


WITHOUT_THE_DELAY = """
from harness.lab.lab import Lab

_sysctl, _set_sysctl = Lab.sysctl, Lab.set_sysctl

def sysctl(self, key, default=None):
    return _sysctl(self, "net.ipv4.no_such" if key == "net.ipv4.tcp_tw_reuse_delay" else key, default)

def set_sysctl(self, key, value, **options):
    assert key != "net.ipv4.tcp_tw_reuse_delay", "this kernel has no such key"
    _set_sysctl(self, key, value, **options)

Lab.sysctl, Lab.set_sysctl = sysctl, set_sysctl
"""


def test_without_tcp_tw_reuse_delay_four_stories_are_skipped(play, tmp_path) -> None:
    """The key is new in Linux 6.14 (commit ca6a6f93867a, "tcp: Add sysctl to configure TIME-WAIT reuse delay")."""
    (tmp_path / "conftest.py").write_text(WITHOUT_THE_DELAY)
    done = play((ROOT / "scenarios" / "sysctls" / "folklore_of_reuse.py").read_text(), "-rs")
    assert "1 passed, 4 skipped" in done.stdout, done.stdout
    assert "this kernel has no net.ipv4.tcp_tw_reuse_delay. Hint: " in done.stdout
