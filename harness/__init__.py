"""The errors that a scenario may meet; everything else it gets from the fixture `lab` (lab/lab.py), and predict.

Nothing more is imported here: the helper processes import this package, too, and must stay small.
"""

from harness.errors import ExpectationFailed, Inconclusive, LabError, LabUnavailable

__all__ = ["ExpectationFailed", "Inconclusive", "LabError", "LabUnavailable"]
