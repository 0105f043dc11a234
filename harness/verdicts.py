"""pytest's three outcomes, and the lab's fourth: inconclusive, where the evidence has a hole. It is never green."""

import pytest

__tracebackhide__ = True

INCONCLUSIVE = ("lab-verdict", "inconclusive")
"""A report's property, so that it travels from an xdist worker."""


def verdict_of(report: pytest.TestReport) -> str:
    """passed, failed, skipped or inconclusive."""
    return "inconclusive" if INCONCLUSIVE in map(tuple, report.user_properties) else report.outcome
