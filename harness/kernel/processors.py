"""The processors of this machine, and those that a lab runs on."""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

MOST_LANES = 8
"""The most processors that one lab runs on: proving that the wire is quiet means visiting each (evidence/ring.py)."""

_ONLINE = Path("/sys/devices/system/cpu/online")


def online() -> list[int]:
    """The numbers of the processors that are online; without sysfs, of those that this process may use."""
    try:
        return parse(_ONLINE.read_text())
    except OSError:
        return sorted(os.sched_getaffinity(0))


def parse(text: str) -> list[int]:
    """The numbers in a list such as "0-3,8" (Documentation/admin-guide/cputopology.rst)."""
    ranges = [part.split("-") for part in text.strip().split(",") if part]
    return [number for each in ranges for number in range(int(each[0]), int(each[-1]) + 1)]


def lanes(allowed: Collection[int], slot: int) -> list[int]:
    """The processors for the labs of one nursery: all that it may use, at most 8, different ones for each slot."""
    numbers = sorted(allowed)
    if len(numbers) <= MOST_LANES:
        return numbers
    begin = slot * MOST_LANES % len(numbers)
    return sorted((numbers + numbers)[begin : begin + MOST_LANES])


@contextlib.contextmanager
def only(numbers: Collection[int]) -> Iterator[None]:
    """Inside the context, the calling thread runs only on those of these processors that it may use."""
    allowed = os.sched_getaffinity(0)
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, numbers)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, allowed)
