"""Parses the parts of the docstrings of a scenario's stories, each of which begins with a keyword.

"Proves: 003-2." lists rows of scenarios/CLAIMS.md. "Said: …. Shown: …." has a piece of common advice, and what the
kernel does. "Observes: tcp_fin_timeout." lists those of the lesson's sysctls that a story depends on.
"""

import re
from functools import cache

from harness.kernel import sysctls
from harness.lessons.lessons import Lesson


def proved_rows(text: str) -> set[str]:
    """The rows of the articles after each "Proves:" in docstrings, up to the first full stop."""
    proofs = re.findall(r'Proves: ([^."]+)', text)
    return {row for proof in proofs for row in re.findall(r"\b\d{3}-\d+\b", proof)}


def advice(text: str) -> tuple[str, str] | None:
    """The advice in a docstring, and what was shown about it: "Said: …. Shown: …."; None if it has neither."""
    found = re.match(r"Said: (.+?)\. Shown: (.+?)\.( |$)", " ".join(text.split()))
    return (found[1], found[2]) if found else None


def rows_of(lesson: Lesson) -> list[str]:
    """The rows of the articles that a lesson's scenario proves, in order."""
    return sorted(proved_rows(lesson.source()), key=lambda row: tuple(map(int, row.split("-"))))


def test_of(story: str) -> str:
    """The test's name in a story's name: without its file and its parameters."""
    return re.split(r"::|\[", story)[1]


def observed_by(lesson: Lesson, story: str) -> set[str]:
    """The lesson's sysctls that a story's docstring lists after "Observes:"."""
    return observed_by_test(lesson).get(test_of(story), set())


@cache
def observed_by_test(lesson: Lesson) -> dict[str, set[str]]:
    """The same for every test of the scenario, by its name."""
    lists = {name: re.split(r"\.\s|\.$", text.partition("Observes:")[2])[0] for name, text in of_tests(lesson).items()}
    return {name: {key for key in lesson.sysctls if _names(text, key)} for name, text in lists.items()}


def _names(text: str, key: str) -> bool:
    return bool(re.search(rf"\b{sysctls.short(key)}\b", text))


def of_tests(lesson: Lesson) -> dict[str, str]:
    """The docstring of every test of the scenario, by its name; empty for a test without one."""
    import ast  # takes 5 ms, which a role's process does not need

    functions = (node for node in ast.parse(lesson.source()).body if isinstance(node, ast.FunctionDef))
    return {node.name: ast.get_docstring(node) or "" for node in functions if node.name.startswith("test_")}
