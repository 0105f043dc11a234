"""The names of the verdicts on a story, which every other room takes from here.

A new verdict is a member here. harness/pytest_plugin/verdicts.py decides which report gets it, and
harness/runs/compare.py what it means for a comparison.
"""

from enum import StrEnum


class StoryVerdict(StrEnum):
    """How a story ended. Only PASSED is green."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    INCONCLUSIVE = "inconclusive"
    """The evidence is incomplete, or a story failed while its processes waited too long for a processor."""
    NOT_MEASURED = "not measured"
    """It would have waited longer, or opened more sockets, than this run may."""
