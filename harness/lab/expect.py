"""Polling to a deadline, and the message of a failure: expected, last seen, for how long."""

import time
from collections.abc import Callable
from typing import TypeVar

from harness.errors import ExpectationFailed

__tracebackhide__ = True

POLL_S = 0.002
"""The interval between two looks: long enough to leave the processor to the actors, short beside any TCP timer."""

_LONGEST_POLL_S = 0.02
"""The interval grows to this during a long wait: a look costs a millisecond, and the actors need the processor."""

Seen = TypeVar("Seen")


def time_limit_s(within_s: float | None, deadline_s: float) -> float:
    """Seconds that a verb may wait: `within_s` (0 looks once) if given, else the lab's limit."""
    return deadline_s if within_s is None else within_s


def poll(what: str, expected: object, look: Callable[[], Seen], within_s: float) -> Seen:
    """Look until what is seen equals `expected`, and return it; ExpectationFailed after `within_s` seconds."""
    start = time.monotonic()
    while True:
        seen = look()
        if seen == expected:
            return seen
        waited_s = time.monotonic() - start
        if waited_s >= within_s:
            raise failure(what, expected, seen, waited_s)
        time.sleep(min(max(POLL_S, waited_s / 20), _LONGEST_POLL_S))


def failure(what: str, expected: object, seen: object, waited_s: float) -> ExpectationFailed:
    """An ExpectationFailed in the form that all of them have."""
    return ExpectationFailed(f"{what}\n  expected:  {expected}\n  last seen: {seen}\n  for:       {waited_s:.3f} s")
