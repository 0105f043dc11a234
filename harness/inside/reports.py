"""What a role says of itself, over its channel: times are CLOCK_MONOTONIC in ns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reached:
    """A step: when the role had gone on from the one before, and when it came here."""

    resumed_ns: int
    time_ns: int
    step: str
    line: int
    """Where it stands in its source."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a role that went well, and what it returned."""

    resumed_ns: int
    time_ns: int
    value: object
    step: str = "finished"


@dataclass(frozen=True, slots=True)
class Failed:
    """The end of a role by an exception: its errno's name, or its class if it has none. `hint`: what to do instead."""

    resumed_ns: int
    time_ns: int
    name: str
    text: str
    traceback: str
    step: str = "failed"
    hint: str = ""


Report = Reached | Finished | Failed
