"""Keeps the timeline up to date: reads the capture and the tracepoint until no segment is under way."""

import time
from collections.abc import Iterator
from itertools import islice

from harness.errors import ExpectationFailed, LabError
from harness.evidence import ring
from harness.evidence.sockets import Socket
from harness.evidence.transitions import Events
from harness.lab.nursery import LabKeeper
from harness.network import addresses
from harness.story.timeline import Change, Look, Timeline

__tracebackhide__ = True

_QUIET_WITHIN_S = 1.0
_MARK_LOST_AFTER_S, _MARK_WITHIN_S = 0.1, 5.0

_CLOCK_PAIR_NS = 20_000
_CLOCK_PAIRS = 10

_ENDLESS = 10_000
"""This many bare ACKs in a row are an ACK storm: two ends that correct each other for ever."""


class Watch:
    """The capture and the tracepoint of one lab.

    It needs no settle time: marks and a count of all frames prove that the capture is complete.
    """

    def __init__(
        self, keeper: LabKeeper, events: Events | None, port: int, timeline: Timeline, processors: list[int]
    ) -> None:
        self._keeper = keeper
        self._events = events
        self._port = port
        self._timeline = timeline
        self._ring = ring.Ring(keeper.capture)
        self._marks = ring.Marks(keeper.capture, processors)
        self._latest_look: list[object] = []
        self.captured = 0
        """The number of frames that came out of the capture, without the marks."""
        self._no_room = 0
        self._storm = ""
        self._marks_seen = 0
        self._uncaptured = 0
        self._round_before: tuple[int, int] | None = None
        self._quiet_at = -1
        try:
            self._sent_before = self._start_counting()
            if events:
                events.follow(port)
        except BaseException:
            self.close()
            raise

    def _start_counting(self) -> int:
        """Discard frames that the set-up itself may have sent; returns the number of frames sent so far."""
        while True:
            sent = self._keeper.frames_sent()
            for _ in self._ring.read(0):
                pass
            if sent == self._keeper.frames_sent():
                return sent

    def settle(self) -> None:
        """Return when every frame sent so far, and every frame that the kernel sent in answer, is in the timeline.

        If nothing has been sent since the wire was last quiet, it still is; otherwise rounds of marks prove it. Timers
        and running processes may always send again; if they never stop, it returns after a second, and the caller's
        expectations report what they miss. An ACK storm, which never ends, raises ExpectationFailed, now and at each
        later call.
        """
        deadline = time.monotonic() + _QUIET_WITHIN_S
        done = bool(self._storm) or self._keeper.frames_sent() == self._quiet_at
        self._round_before = None
        while not done:
            done = self._round() or self._is_storm() or time.monotonic() >= deadline
        if self._storm:
            raise ExpectationFailed(f"the wire\n  expected:  quiet\n  last seen: {self._storm}")
        if self._events:
            for change in self._events.read(self._port):
                if change.local[0] in addresses.HOSTS:  # others on this machine may use the same port
                    self._timeline.add(change)
            if self._events.lost:
                text = f"{self._events.lost} state changes were lost: the tracepoint's buffer was full"
                self._timeline.add(Change(time.monotonic_ns(), text))
                self._events.lost = 0

    def drain(self) -> int:
        """Move what was captured so far into the timeline, to make room in the ring; returns the number of frames."""
        if self._storm:
            return 0
        frames = sum(mark is None for mark in islice(self._take(), ring.FRAMES))
        self._is_storm()
        return frames

    def _is_storm(self) -> bool:
        """Whether two ends acknowledge each other without end; if so, cut those ACKs out of the timeline."""
        if self.captured >= _ENDLESS and (left_out := self._timeline.cut_bare_acks(_ENDLESS)):
            self._storm = f"bare ACKs without end: {left_out} more in a row, and everything later, are left out"
            self._timeline.add(Change(time.monotonic_ns(), self._storm))
        return bool(self._storm)

    def _round(self) -> bool:
        """Send one round of marks; returns whether it proves that nothing is under way.

        When a mark is captured, every frame captured before it on its processor has been handled, and every answer to
        it sent (evidence/ring.py). So nothing is under way if no frame was captured after the first mark of the round,
        and if all frames that `lo` has sent are captured.
        """
        marks = self._send_marks()
        awaited = set(marks)
        began = time.monotonic()
        new, late = 0, False
        while awaited:
            for mark in self._take():
                late |= mark is None and len(awaited) < len(marks)
                new += mark is None
                awaited.discard(mark or (0, 0))
                if new >= _ENDLESS:  # in a storm there is always another frame, and no free slot for the marks
                    return False
            if not awaited:
                break
            self._ring.wait(_MARK_LOST_AFTER_S)
            waited_s = time.monotonic() - began
            if waited_s > _MARK_LOST_AFTER_S and self.lost():  # the ring was full, and lost the marks themselves
                return False
            if waited_s > _MARK_WITHIN_S:
                raise LabError("the capture does not show its own marks. Hint: check that the lab's lo is up")
        return not late and self._all_captured()

    def _send_marks(self) -> set[ring.Mark]:
        try:
            if marks := self._marks.send():
                return marks
        except OSError as error:
            raise LabError(f"no mark can be sent ({error.strerror}). Hint: check that the lab's lo is up") from None
        raise LabError(
            "this process may run on none of the lab's processors. Hint: see `taskset -p` for pytest's process"
        )

    def _all_captured(self) -> bool:
        """Whether every frame that `lo` has sent has come out of the capture; then the wire is known to be quiet.

        A missing frame may still be queued on a processor that no mark visits: the timers of an idle processor can
        expire on any other (kernel/time/timer_migration.c). But if two rounds, with nothing sent between them, miss the
        same number of frames, the capture will never show these.
        """
        sent = self._keeper.frames_sent()
        uncaptured = sent - self._sent_before - self.captured - self._marks_seen
        if uncaptured != self._uncaptured:
            uncaptured -= self._ring.lost()
        this_round = uncaptured, sent - self._marks.sent
        known = uncaptured == self._uncaptured or this_round == self._round_before
        self._round_before = this_round
        if known:
            self._uncaptured, self._quiet_at = uncaptured, sent
        return known

    def _take(self) -> Iterator[ring.Mark | None]:
        """Move everything captured so far into the timeline. Yields each mark, and None for every other frame."""
        add = self._timeline.add_captured
        for time_ns, data, length, link in self._ring.read(self._real_minus_monotonic_ns()):
            mark = ring.marked(data)
            if mark:
                self._marks_seen += 1
            else:
                self.captured += 1
                self._no_room += not add(time_ns, data, length, link)
            yield mark

    def _real_minus_monotonic_ns(self) -> int:
        """CLOCK_REALTIME, which stamps the capture, minus CLOCK_MONOTONIC, the lab's one clock.

        It takes the closest of a few pairs of readings, because the process may lose the processor between the two
        readings of a pair. The timeline keeps how far apart they were.
        """
        spread_ns, offset_ns = _clock_pair()
        for _ in range(_CLOCK_PAIRS):
            if spread_ns <= _CLOCK_PAIR_NS:
                break
            spread_ns, offset_ns = min((spread_ns, offset_ns), _clock_pair())
        self._timeline.clock_spread_ns = max(self._timeline.clock_spread_ns, spread_ns)
        return offset_ns

    def lost(self) -> int:
        """The number of frames that the capture or the timeline had no room for; any makes every list inconclusive."""
        return self._ring.lost() + self._no_room

    def looked(self, rows: list[Socket]) -> None:
        """Add a look at the socket table to the timeline if it differs from the one before."""
        seen: list[object] = [(row.state, row.local, row.remote, row.recv_q, row.send_q, row.inode) for row in rows]
        if seen != self._latest_look:  # timers, which run down between any two looks, are not compared
            self._latest_look = seen
            self._timeline.add(Look(time.monotonic_ns(), tuple(rows)))

    def close(self) -> None:
        """Stop capturing."""
        self._ring.close()


def _clock_pair() -> tuple[int, int]:
    before = time.monotonic_ns()
    real = time.time_ns()
    after = time.monotonic_ns()
    return after - before, real - (before + after) // 2
