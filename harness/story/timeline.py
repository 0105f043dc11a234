"""Everything that was seen in one run, in one order. Assertions and displays are views of it.

A step is added when the wire is quiet, so everything that it caused comes before it. This order, not the clocks of the
different sources, decides what happened "since" a step. Between two entries, displays are in order of time.
"""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

from harness.errors import LabError
from harness.evidence import icmp, inferred, wire
from harness.evidence.frames import Frames
from harness.evidence.icmp import IcmpError
from harness.evidence.ring import Frame
from harness.evidence.sockets import Socket
from harness.evidence.transitions import Transition
from harness.evidence.wire import Segment
from harness.predict.timers import Interval
from harness.story.paths import Paths, follow

__tracebackhide__ = True


@dataclass(frozen=True, slots=True)
class Step:
    """An actor reached a named step of its role, or its end ("finished", "failed")."""

    time_ns: int
    actor: str
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """The harness itself did something: a sysctl, a firewall rule, a signal, a provoked segment."""

    time_ns: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A result of a scenario: a named observable with its value."""

    time_ns: int
    name: str
    value: object


@dataclass(frozen=True, slots=True)
class Duration:
    """A finding's value: a measured time, with the interval that it was expected in.

    Two of them are the same if they differ by no more than the timer's tolerance (harness/runs/compare.py).
    """

    seconds: float
    expected: Interval

    def __str__(self) -> str:
        return f"{self.seconds:.3f} s"


@dataclass(frozen=True, slots=True)
class Untried:
    """A finding's value that was not measured: the prediction, and why it was not measured."""

    predicted: str | Interval
    why: str

    def __str__(self) -> str:
        return f"not measured ({self.why}), predicted: {self.predicted}"


@dataclass(frozen=True, slots=True)
class Look:
    """The sockets when a test looked, if they differ from the look before."""

    time_ns: int
    sockets: tuple[Socket, ...]
    owners: tuple[tuple[int, str], ...] = ()
    """Inode and program of each socket that a process has open, if the look included the owners."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The counters that have changed since the lab was ready, and by how much."""

    time_ns: int
    moved: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        return "counters: " + ", ".join(f"{name} {by:+d}" for name, by in self.moved)


Entry = Step | Change | Finding | Look | Counted
Event = Entry | Segment | Transition | IcmpError


@dataclass(frozen=True, slots=True)
class Moment:
    """A position in the timeline: everything before index `at` had happened."""

    at: int
    time_ns: int
    name: str


_SAMPLE = 20
"""How many bare ACKs of an ACK storm to keep."""


class Timeline:
    """Entries in the order in which they were added; frames are decoded when segments are asked for."""

    def __init__(self, start_ns: int, *, routed: bool = False) -> None:
        self.start_ns = start_ns
        self.routed = routed
        """Whether a router passes the segments on, and each is captured again where it leaves the router."""
        self.clock_spread_ns = 0
        """The uncertainty of the segments' times, in nanoseconds (harness/lab/watch.py)."""
        self._frames = Frames()
        self._entries: list[Entry | Transition | _Stretch] = []

    def add(self, entry: Entry | Transition) -> Moment:
        """Add one entry; returns the moment just after it."""
        self._entries.append(entry)
        name = entry.name if isinstance(entry, Step) else ""
        return Moment(len(self._entries), entry.time_ns, name)

    def add_captured(self, time_ns: int, data: bytes, length: int, link: int = 0) -> bool:
        """Add one captured frame; returns False if there is no room for it (evidence/frames.py)."""
        if not self._frames.append(time_ns, data, length, link):
            return False
        latest = self._entries[-1] if self._entries else None
        if isinstance(latest, _Stretch):
            latest.end += 1
        else:
            self._entries.append(_Stretch(self._frames, len(self._frames) - 1))
        return True

    def cut_bare_acks(self, at_least: int) -> int:
        """If the timeline ends in `at_least` bare ACKs in a row, keep the first 20; returns the number removed."""
        latest = self._entries[-1] if self._entries else None
        if not isinstance(latest, _Stretch) or latest.end - latest.begin < at_least:
            return 0
        begin = latest.end
        while begin > latest.begin and _is_bare_ack(self._frames[begin - 1]):
            begin -= 1
        if latest.end - begin < at_least:
            return 0
        left_out = latest.end - begin - _SAMPLE
        latest.cut(begin + _SAMPLE)
        return left_out

    def rewritten(self, rewrite: Callable[[Entry | Transition], Entry | Transition | None]) -> "Timeline":
        """A copy with the same capture, and each other entry replaced by rewrite(entry); None leaves it out."""
        copy = Timeline(self.start_ns, routed=self.routed)
        copy.clock_spread_ns, copy._frames = self.clock_spread_ns, self._frames
        kept = (entry if isinstance(entry, _Stretch) else rewrite(entry) for entry in self._entries)
        copy._entries = [entry for entry in kept if entry is not None]
        return copy

    def find(self, name: str) -> Moment:
        """The moment of the only step with that name; "actor: step" if two actors have it. LabError lists the steps."""
        steps = [(at, entry) for at, entry in enumerate(self._entries, 1) if isinstance(entry, Step)]
        found = [(at, step) for at, step in steps if name in (step.name, f"{step.actor}: {step.name}")]
        if len(found) == 1:
            at, step = found[0]
            return Moment(at, step.time_ns, step.name)
        known = ", ".join(repr(f"{step.actor}: {step.name}") for _, step in steps) or "none"
        trouble = "no step is called" if not found else f"{len(found)} steps are called"
        raise LabError(f"{trouble} {name!r}. Hint: use one of: {known}; or the moment that run_to() returned")

    def segments(self, since: Moment | None = None, until: Moment | None = None) -> list[Segment]:
        """The segments that hosts, or a router itself, sent between two moments, in the order of capture."""
        by_router = self.paths().by_router
        return [each for each in self._decoded(since, until) if not each.arrives or id(each) in by_router]

    def arrivals(self, since: Moment | None = None, until: Moment | None = None) -> list[Segment]:
        """The segments that left a router for their receivers between two moments; none on loopback."""
        return [segment for segment in self._decoded(since, until) if segment.arrives]

    def icmp_errors(self, since: Moment | None = None, until: Moment | None = None) -> list[IcmpError]:
        """The ICMP errors about segments, as they arrived at hosts, in the order of capture."""
        stretches = self._entries[since.at if since else 0 : until.at if until else None]
        return [each for entry in stretches if isinstance(entry, _Stretch) for each in self._errors_in(entry)]

    def _errors_in(self, stretch: "_Stretch") -> Iterator[IcmpError]:
        return (each for each in stretch.icmp_errors() if each.arrives == self.routed)

    def _decoded(self, since: Moment | None, until: Moment | None) -> Iterator[Segment]:
        for entry in self._entries[since.at if since else 0 : until.at if until else None]:
            if isinstance(entry, _Stretch):
                yield from filter(None, entry.segments())

    def captured(self) -> Iterator[tuple[Frame, Segment | None]]:
        """Every frame and the segment in it, in the order of capture."""
        for entry in self._entries:
            if isinstance(entry, _Stretch):
                yield from zip(entry.frames(), entry.segments(), strict=True)

    def entered(self) -> Iterator[Event]:
        """Every event in the order of the timeline: what a step caused comes before it, whatever the clocks show."""
        by_router = self.paths().by_router
        for entry in self._entries:
            if isinstance(entry, _Stretch):
                yield from entry.sent(by_router)
            else:
                yield entry

    def paths(self) -> Paths:
        """What became of the segments on their way through a router; on loopback, all arrive as they were sent."""
        return follow(self._decoded(None, None)) if self.routed else Paths()

    def lost(self) -> set[int]:
        """The segments that a router did not pass on, each as the id() of what segments() returned."""
        return self.paths().lost

    def transitions(self) -> list[Transition]:
        """Each end's state changes as the segments imply them, including minisocks; the same for every user."""
        paths = self.paths()
        return list(inferred.infer(self.segments(), paths.lost, paths.arrived))

    def __iter__(self) -> Iterator[Event]:
        """Every event by time, for display; state changes as reported by the kernel, or inferred if it reported none.

        Segments keep the order of their capture, even if the time stamps of two processors disagree.
        """
        reported = {frozenset((entry.local, entry.remote)) for entry in self._entries if isinstance(entry, Transition)}
        timed: list[tuple[int, int, Event]] = [
            (change.time_ns, _RANK[Transition], change)
            for change in self.transitions()
            if frozenset((change.local, change.remote)) not in reported
        ]
        latest_ns, by_router = 0, self.paths().by_router
        for entry in self._entries:
            if not isinstance(entry, _Stretch):
                timed.append((entry.time_ns, _RANK[type(entry)], entry))
                continue
            timed += [(error.time_ns, _RANK[Segment], error) for error in self._errors_in(entry)]
            for segment in entry.sent(by_router):
                latest_ns = max(latest_ns, segment.time_ns)
                timed.append((latest_ns, _RANK[Segment], segment))
        return (event for _, _, event in sorted(timed, key=lambda each: each[:2]))


_RANK: dict[type, int] = {Segment: 0, Transition: 1, Step: 2, Change: 3, Finding: 4, Look: 5, Counted: 6}


class _Stretch:
    """Frames that were captured between two other entries."""

    def __init__(self, frames: Frames, begin: int) -> None:
        self._frames = frames
        self._decoded: list[Segment | None] = []
        self.begin = begin
        self.end = begin + 1
        """The number just after the last frame."""

    def cut(self, end: int) -> None:
        """Delete the frames from number `end` on; no stretch may follow this one."""
        self.end = end
        self._frames.cut(end)
        del self._decoded[end - self.begin :]

    def frames(self) -> Iterator[Frame]:
        return (self._frames[number] for number in range(self.begin, self.end))

    def segments(self) -> list[Segment | None]:
        """The segment in each frame; each is decoded once."""
        for number in range(self.begin + len(self._decoded), self.end):
            self._decoded.append(wire.decode(self._frames[number]))
        return self._decoded

    def icmp_errors(self) -> Iterator[IcmpError]:
        """The ICMP error in each frame that has one."""
        for frame, segment in zip(self.frames(), self.segments(), strict=True):
            if segment is None and (error := icmp.decode(frame)):
                yield error

    def sent(self, by_router: Container[int]) -> Iterator[Segment]:
        """The segments that hosts sent, and those that a router sent itself, without those that it only passed on."""
        return (each for each in self.segments() if each and (not each.arrives or id(each) in by_router))


def _is_bare_ack(frame: Frame) -> bool:
    segment = wire.decode(frame)
    return segment is not None and segment.flags == "A" and not segment.length
