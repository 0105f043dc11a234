"""The reports that a role sends over its channel. Times are CLOCK_MONOTONIC, in ns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reached:
    """The role has reached a step: when it was resumed, and when it got here."""

    resumed_ns: int
    time_ns: int
    step: str
    line: int
    """The line of its source where it waits."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The role has returned, with this value."""

    resumed_ns: int
    time_ns: int
    value: object
    step: str = "finished"


@dataclass(frozen=True, slots=True)
class Failed:
    """The role has raised an exception: `name` is its errno's name, else its class; `hint` is what to do instead."""

    resumed_ns: int
    time_ns: int
    name: str
    text: str
    traceback: str
    step: str = "failed"
    hint: str = ""


Report = Reached | Finished | Failed
