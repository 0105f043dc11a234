"""pytest's three outcomes, and two of the lab's own: inconclusive, where the evidence has a hole, and not measured."""

import pytest

from harness.errors import Inconclusive, NotMeasured
from harness.profile import Profile

__tracebackhide__ = True

PROFILE = pytest.StashKey[Profile]()
"""Of an item that is played under other sysctls than the rest of its run."""

_PROPERTY = "lab-verdict"
"""A report's property, so that it travels from an xdist worker."""


def judge(report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
    """Give the report of a call the lab's own verdict, where its exception says so.

    Inconclusive stays a failure; not measured becomes a skip, as nothing is wrong. Neither is ever green.
    """
    if call.excinfo and call.excinfo.errisinstance(Inconclusive):
        report.user_properties.append((_PROPERTY, "inconclusive"))
    if call.excinfo and call.excinfo.errisinstance(NotMeasured):
        report.user_properties.append((_PROPERTY, "not measured"))
        path, line, _ = report.location
        report.outcome, report.longrepr = "skipped", (path, line or 0, str(call.excinfo.value))


def verdict_of(report: pytest.TestReport) -> str:
    """passed, failed, skipped, inconclusive or not measured."""
    return str(dict(report.user_properties).get(_PROPERTY, report.outcome))
