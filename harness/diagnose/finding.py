"""What a signature reports."""

from dataclasses import dataclass
from enum import StrEnum

from harness.evidence.sockets import Socket


class Certainty(StrEnum):
    """FOUND: the evidence proves the fault. POSSIBLE: something is missing to be sure, and Finding.missing names it."""

    FOUND = "found"
    POSSIBLE = "possible"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One piece of evidence: `text` describes it in one line; the other fields name its source.

    `row`: a socket. `counter`: a counter that has grown. `pid`: a process that has the socket, or is blocked in a call.
    A lesson's `recognise` commands must show each of them (tests/test_diagnosis.py).
    """

    text: str
    row: Socket | None = None
    counter: str = ""
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. `unlike`: what looks alike, and how it differs.

    `because_of`: the lessons of other faults that explain this one if one of them is found as well.
    `missing`: if the fault is only possible, what is missing to be sure, and the command that shows it.
    """

    lesson: str
    evidence: tuple[Evidence, ...]
    unlike: str
    missing: str = ""
    because_of: tuple[str, ...] = ()

    @property
    def certainty(self) -> Certainty:
        """POSSIBLE if anything is missing to be sure."""
        return Certainty.POSSIBLE if self.missing else Certainty.FOUND
