"""The words that a scenario may use; everything else it gets from the fixture `lab`."""

from harness.errors import ExpectationFailed, Inconclusive, LabError, LabUnavailable
from harness.lab import Lab

__all__ = ["ExpectationFailed", "Inconclusive", "Lab", "LabError", "LabUnavailable"]
