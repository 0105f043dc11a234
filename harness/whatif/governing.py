"""Which stories a changed key governs, as far as their sources say."""

from collections.abc import Set

from harness.lessons.docstrings import observed_by_test
from harness.lessons.lessons import Lesson


def governed(lesson: Lesson, changed: Set[str]) -> dict[str, set[str]]:
    """For each test of the lesson's scenario the changed keys that govern it; without the tests that none governs.

    A test whose docstring says what it observes is governed by that alone, any other by all keys of its lesson.
    """
    found = {}
    for test, observed in observed_by_test(lesson).items():
        if keys := (observed or set(lesson.sysctls)) & changed:
            found[test] = keys
    return found
