"""Adds entries to a lab's timeline, and waits for processes. The methods that observe the lab are in observer.py."""

import math
import select
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NoReturn

from harness.errors import NotMeasured
from harness.evidence import holders, rest, sockets
from harness.evidence.sockets import Socket, unmapped
from harness.evidence.starvation import Gap, RunDelay
from harness.lab import waiting
from harness.lab.nursery import LabKeeper
from harness.lab.watch import Watch
from harness.predict.timers import Interval
from harness.story.timeline import Change, Finding, Look, Moment, Step, Timeline, Untried

__tracebackhide__ = True

_SHORTEST_TURN_S, _LONGEST_TURN_S = 0.005, 0.04
"""The interval between two drains of the capture. In the longer one the ring has room for 800,000 frames a second."""

_MANY_FRAMES = 1000


class Recorder:
    """One lab's timeline, its time limits, and the gaps in which its processes waited for a processor."""

    deadline_s = 5.0
    """Seconds that a verb waits for what should happen at once."""

    max_wait_s: float = math.inf
    """The longest kernel timer that this run waits for (`--lab-max-wait`)."""

    looks_closely = False
    """Whether to look at the sockets and their owners after each step, for a story that will be shown."""

    def __init__(self, keeper: LabKeeper, watch: Watch, timeline: Timeline, allowance_s: float) -> None:
        self.allowance_s = allowance_s
        """Seconds that the scheduler may take to wake a process whose timer has expired."""
        self.timeline = timeline
        self._keeper = keeper
        self._watch = watch
        self._run_delay = RunDelay("self")
        self.longest_gap = Gap(0.0, "no process", "")
        """The longest time for which a process of this story, or pytest itself, waited for a processor."""

    def record(self, entry: Step | Change | Finding) -> Moment:
        """Wait until the wire is quiet, then add one entry to the timeline; returns the moment after it."""
        self._watch.settle()
        what = entry.text if isinstance(entry, Change) else entry.name
        self.note_gap(self._run_delay.lap_s(), "pytest", f"before {what!r}")
        moment = self.timeline.add(entry)
        if self.looks_closely:
            owners = sorted({(holder.inode, holder.program) for holder in holders.read(self._keeper.pid)})
            self.timeline.add(Look(time.monotonic_ns(), tuple(self._socket_table()), tuple(owners)))
        return moment

    def _socket_table(self) -> list[Socket]:
        """The rows of every host's table, with the addresses that the segments have: IPv4, not IPv4-mapped IPv6."""
        tables = [place.table for place in self._keeper.places.values()] or [self._keeper.table]
        return [_unmapped(row) for table in tables for row in sockets.read(table)]

    def wait_for(self, *fds: int, within_s: float) -> list[int]:
        """The readable ones of `fds`, as soon as there is one; empty after `within_s` seconds.

        It drains the capture meanwhile: otherwise a step that sends many segments would overrun the ring.
        """
        poller = select.poll()
        for fd in fds:
            poller.register(fd, select.POLLIN)
        deadline = time.monotonic() + within_s
        turn_s = _SHORTEST_TURN_S
        while True:
            began = time.monotonic()
            remaining_s = max(0.0, deadline - began)
            ready = [fd for fd, _ in poller.poll(min(turn_s, remaining_s) * 1000)]
            self.note_gap(time.monotonic() - began - turn_s, "pytest", "while it waited for a process")
            if ready or remaining_s <= turn_s:
                return ready
            turn_s = _SHORTEST_TURN_S if self._watch.drain() > _MANY_FRAMES else min(2 * turn_s, _LONGEST_TURN_S)

    def note_gap(self, seconds: float, who: str, when: str) -> None:
        """Note that a process waited this long for a processor: the longest such gap is kept."""
        if seconds > self.longest_gap.seconds:
            self.longest_gap = Gap(seconds, who, when)

    def drain(self) -> None:
        """Take what was captured so far out of the ring, for loops that do not wait in wait_for()."""
        self._watch.drain()

    def acting(self) -> Iterator[list[str]]:
        """The programs that may act without being woken, anew at each next(): none once all sleep on a quiet wire.

        Nobody ran between two looks at all threads that show the same numbers of switches, and the wire was quiet in
        between: so nothing that a process sent before can still wake another.
        """
        first = before = rest.threads(self._keeper.pid)
        while True:
            self._watch.settle()
            now = rest.threads(self._keeper.pid)
            yield rest.still_acting(first, before, now)
            before = now

    @property
    def pids(self) -> dict[str, int]:
        """A process in each network namespace of the lab, by the namespace's name (network/kinds.py)."""
        return {name: place.pid for name, place in self._keeper.places.items()}

    @property
    def keeper_pid(self) -> int:
        """The PID of the process that owns the lab's network, for `nsenter --target`."""
        return self._keeper.pid

    def finding(self, name: str, value: object) -> None:
        """Record an observable and its value, to be shown in the transcript."""
        self.record(Finding(time.monotonic_ns(), name, value))

    def not_measured(self, name: str, predicted: object, why: str) -> NoReturn:
        """Record that an observable was only predicted, and end the story with NotMeasured."""
        known = predicted if isinstance(predicted, Interval) else str(predicted)
        self.finding(name, Untried(known, why))
        raise NotMeasured(f"{name}: {why}, by the prediction of {predicted}")

    def skip_if_longer_than_max_wait(self, name: str, interval: Interval) -> Interval:
        """Return the interval if this run may wait for it; otherwise not_measured()."""
        if why := waiting.exceeds(interval, self.max_wait_s):
            self.not_measured(name, interval, why)
        return interval


def _unmapped(row: Socket) -> Socket:
    """The row of a socket of a listener on [::] and its IPv4 peer, as of two IPv4 addresses; any other row itself."""
    (host, port), (remote, remote_port) = row.local, row.remote
    if host == (plain := unmapped(host)):
        return row
    return replace(row, local=(plain, port), remote=(unmapped(remote), remote_port))
