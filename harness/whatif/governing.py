"""Which stories a changed key governs, according to their sources."""

from collections.abc import Set

from harness.lessons.docstrings import observed_by_test
from harness.lessons.lessons import Lesson


def governed(lesson: Lesson, changed: Set[str]) -> dict[str, set[str]]:
    """The changed keys that govern each test of the lesson's scenario; tests that none governs are left out.

    A test is governed by the keys after "Observes:" in its docstring, or without these by all keys of its lesson.
    """
    found = {}
    for test, observed in observed_by_test(lesson).items():
        if keys := (observed or set(lesson.sysctls)) & changed:
            found[test] = keys
    return found
