"""The verdicts on a story, by name. Every other room takes the names from here.

A new verdict is a member here. harness/pytest_plugin/verdicts.py says which report gets it, and harness/runs/compare.py
what it means for a comparison.
"""

from enum import StrEnum


class StoryVerdict(StrEnum):
    """How a story ended. Only PASSED is green."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    INCONCLUSIVE = "inconclusive"
    """The evidence has a hole, or a story failed while its processes were kept from running."""
    NOT_MEASURED = "not measured"
    """It would have waited longer, or opened more sockets, than this run may."""
