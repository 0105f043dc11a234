"""Which stories a changed key governs, as far as their sources say."""

import ast
import re
from collections.abc import Set
from functools import cache

from harness.lessons.lessons import Lesson


def governed(lesson: Lesson, changed: Set[str]) -> dict[str, set[str]]:
    """For each test of the lesson's scenario the changed keys that govern it; without the tests that none governs.

    A test whose docstring says what it observes is governed by that alone, any other by all keys of its lesson.
    """
    found = {}
    for test, observed in _observed(lesson).items():
        if keys := (observed or set(lesson.sysctls)) & changed:
            found[test] = keys
    return found


def observed_by(lesson: Lesson, story: str) -> set[str]:
    """Of the lesson's sysctls, those that a story's docstring says it observes ("Observes: net.ipv4.tcp_…, tcp_…")."""
    return _observed(lesson).get(test_of(story), set())


def test_of(story: str) -> str:
    """The test's own name: without its file, and without parameters."""
    return re.split(r"::|\[", story)[1]


@cache
def _observed(lesson: Lesson) -> dict[str, set[str]]:
    functions = (node for node in ast.parse(lesson.source()).body if isinstance(node, ast.FunctionDef))
    docstrings = {node.name: ast.get_docstring(node) or "" for node in functions if node.name.startswith("test_")}
    told = {name: re.split(r"\.\s|\.$", text.partition("Observes:")[2])[0] for name, text in docstrings.items()}
    return {name: {key for key in lesson.sysctls if _names(text, key)} for name, text in told.items()}


def _names(text: str, key: str) -> bool:
    return bool(re.search(rf"\b{short(key)}\b", text))


def short(key: str) -> str:
    """A key without what nearly all have in common."""
    return key.removeprefix("net.ipv4.")
