"""Keeps the timeline up to date: reads the capture and the tracepoint until nothing is under way any more."""

import time

from harness.errors import ExpectationFailed, LabError
from harness.evidence import ring
from harness.evidence.sockets import Socket
from harness.evidence.transitions import Events
from harness.kernel import addresses
from harness.nursery import KeeperHandle
from harness.timeline import Change, Look, Timeline

__tracebackhide__ = True

_QUIET_WITHIN_S = 1.0
_MARK_WITHIN_S = 5.0
_CLOCK_PAIR_NS = 20_000

_ENDLESS = 10_000
"""So many bare ACKs with nothing else between them are two ends that correct each other for ever: an ACK storm."""


class Watch:
    """The observers of one lab. Without a settle time: marks sent through the capture say when it is complete."""

    def __init__(self, keeper: KeeperHandle, events: Events | None, port: int, timeline: Timeline) -> None:
        self._keeper = keeper
        self._events = events
        self._port = port
        self._timeline = timeline
        self._ring = ring.Ring(keeper.capture)
        self._latest_look: list[object] = []
        self.captured = 0
        self._storm = ""
        for _ in self._ring.read(0):  # what the set-up itself may have sent
            pass
        if events:
            events.follow(port)

    def settle(self) -> None:
        """Return when every frame sent so far, and every frame that the kernel sent in answer, is in the timeline.

        A round of marks comes back after all that was queued before it, on every CPU. Whatever a frame provokes is
        queued, on the same CPU, while that frame is handled: before the marks of the *next* round. So a round that
        brings no new frame shows that nothing is under way. Timers and running processes may always send again;
        where they never stop, it returns after a second: the caller's expectations then say what they miss. An ACK
        storm is an ExpectationFailed, now and at each later call: nobody could read, or wait for, all of it.
        """
        deadline = time.monotonic() + _QUIET_WITHIN_S
        going_on = not self._storm
        while going_on:
            going_on = self._round() > 0 and time.monotonic() < deadline
            if self.captured >= _ENDLESS and (left_out := self._timeline.cut_bare_acks(_ENDLESS)):
                self._storm = f"bare ACKs without end: {left_out} more in a row are left out, and all that came later"
                self._timeline.add(Change(time.monotonic_ns(), self._storm))
                going_on = False
        if self._storm:
            raise ExpectationFailed(f"the wire\n  expected:  quiet\n  last seen: {self._storm}")
        if self._events:
            for change in self._events.read(self._port):
                if change.local[0] in addresses.HOSTS:  # others on this machine may use the same port
                    self._timeline.add(change)
            if self._events.lost:
                text = f"{self._events.lost} state changes found no room in the tracepoint's buffer"
                self._timeline.add(Change(time.monotonic_ns(), text))
                self._events.lost = 0

    def _round(self) -> int:
        """One round of marks; how many other frames came before its end, or before there were too many for one."""
        awaited: set[tuple[int, int]] = self._keeper.ask("mark")
        deadline = time.monotonic() + _MARK_WITHIN_S
        new = 0
        while True:
            offset_ns = _real_minus_monotonic_ns()
            for frame in self._ring.read(offset_ns):
                if mark := ring.marked(frame):
                    awaited.discard(mark)
                else:
                    self._timeline.add_frame(frame)
                    self.captured += 1
                    new += 1
                if new >= _ENDLESS:  # in a storm there is always another frame, and no slot for the marks
                    return new
            if not awaited:
                return new
            if not self._ring.wait(0.1) and self.lost():  # the ring was full: the marks themselves found no slot
                return 0
            if time.monotonic() > deadline:
                raise LabError("the capture does not show its own marks. Hint: see that lo of the lab is up")

    def lost(self) -> int:
        """Segments that the capture had no room for; any number above 0 makes every list inconclusive."""
        return self._ring.lost()

    def looked(self, rows: list[Socket]) -> None:
        """Keep a look at the socket table where it differs from the one before."""
        seen: list[object] = [(row.state, row.local, row.remote, row.recv_q, row.send_q, row.inode) for row in rows]
        if seen != self._latest_look:  # timers run down between any two looks, and are no news
            self._latest_look = seen
            self._timeline.add(Look(time.monotonic_ns(), tuple(rows)))

    def close(self) -> None:
        """Stop capturing."""
        self._ring.close()


def _real_minus_monotonic_ns() -> int:
    """The capture stamps CLOCK_REALTIME; the lab's one clock is CLOCK_MONOTONIC.

    The tightest of a few pairs: where this process loses the processor between two readings, they are no pair.
    """
    spread_ns, offset_ns = min(_clock_pair() for _ in range(3))
    while spread_ns > _CLOCK_PAIR_NS:
        spread_ns, offset_ns = min((spread_ns, offset_ns), _clock_pair())
    return offset_ns


def _clock_pair() -> tuple[int, int]:
    before = time.monotonic_ns()
    real = time.time_ns()
    after = time.monotonic_ns()
    return after - before, real - (before + after) // 2
