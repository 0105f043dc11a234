"""The errors that a scenario may catch. Everything else comes from the fixture `lab` (lab/lab.py) and from predict/.

Nothing more is imported here: the helper processes import this package too, and must stay small.
"""

from harness.errors import ExpectationFailed, Inconclusive, LabError, LabUnavailable

__all__ = ["ExpectationFailed", "Inconclusive", "LabError", "LabUnavailable"]
