"""The timeline as plain text, detailed enough for a CI log to show what happened without another run."""

from collections.abc import Iterator
from itertools import groupby

from harness.evidence.icmp import IcmpError
from harness.evidence.sockets import Endpoint, Socket, State
from harness.evidence.transitions import Transition
from harness.evidence.wire import Segment
from harness.network.addresses import name_of
from harness.story.timeline import Change, Counted, Event, Finding, Look, Step, Timeline
from harness.views.rows import said
from harness.views.states import checked
from harness.views.words import words_in

_ARROW_WIDTH = 34
_USUAL_SPREAD_US = 20
_LONG_STRETCH, _SHOWN_OF_LONG = 40, 10


def transcript(timeline: Timeline) -> str:
    """One line for each event: milliseconds since the start, who, what.

    State changes are as reported by the kernel, or marked as inferred from the segments. Sequence numbers are relative.
    """
    lines = _clocks(timeline)
    first_seq: dict[tuple[Endpoint, Endpoint], int] = {}
    lost = timeline.lost()
    for kind, stretch in groupby(_unrefuted(timeline), _kind):
        shown = [
            line for event in stretch for line in _timed(event, timeline.start_ns, first_seq, lost=id(event) in lost)
        ]
        if kind and len(shown) > _LONG_STRETCH:
            left_out = len(shown) - 2 * _SHOWN_OF_LONG
            shown[_SHOWN_OF_LONG:-_SHOWN_OF_LONG] = [f"{'':10}     … {left_out} more lines: {kind}"]
        lines += shown
    return "\n".join(lines)


def _clocks(timeline: Timeline) -> list[str]:
    """A line on the uncertainty of the segments' times, if the clocks could not be read as closely as usual."""
    spread_us = timeline.clock_spread_ns / 1000
    return [f"{'':10}     times of segments may be off by {spread_us:.0f} µs"] if spread_us > _USUAL_SPREAD_US else []


def _unrefuted(timeline: Timeline) -> Iterator[Event]:
    """All events except inferred state changes that a look at the socket table refutes."""
    kept = set(checked(timeline)[0])
    yield from (each for each in timeline if not isinstance(each, Transition) or not each.inferred or each in kept)


def _kind(event: Event) -> str:
    """The kind of an event in a stretch that is shortened; empty for events that are always shown."""
    match event:
        case Segment() | Transition():
            return "segments and state changes"
        case Look():
            return "sockets"
    return ""


def _timed(event: Event, start_ns: int, first_seq: dict[tuple[Endpoint, Endpoint], int], *, lost: bool) -> list[str]:
    at_ms = (event.time_ns - start_ns) / 1e6
    return [f"{at_ms:10.3f} ms  {line}" for line in _lines(event, first_seq, lost=lost)]


def _lines(event: Event, first_seq: dict[tuple[Endpoint, Endpoint], int], *, lost: bool) -> Iterator[str]:
    match event:
        case Step():
            yield f"{event.actor}: {event.name}" + (f" ({event.detail})" if event.detail else "")
        case Change():
            yield f"lab: {event.text}"
        case Counted():
            yield str(event)
        case Finding():
            yield f"found: {event.name}: {event.value}"
        case Segment() | IcmpError():
            yield _on_the_wire(event, first_seq, lost=lost)
        case Transition():
            yield f"    {_name(event.local)} {event.old} → {event.new}" + ("  (inferred)" if event.inferred else "")
        case Look():
            yield "    sockets:"
            yield from (f"      {format_socket(row)}" for row in event.sockets)


def _on_the_wire(event: Segment | IcmpError, first_seq: dict[tuple[Endpoint, Endpoint], int], *, lost: bool) -> str:
    if isinstance(event, IcmpError):
        return f"{said(event)}, about {_name(event.sender)} → {_name(event.receiver)}"
    way = ", lost on the way" if lost else ", sent by the router" if event.arrives else ""
    return _segment(event, first_seq) + way


def _segment(segment: Segment, first_seq: dict[tuple[Endpoint, Endpoint], int]) -> str:
    forth, back = (segment.source, segment.destination), (segment.destination, segment.source)
    if "S" in segment.flags or forth not in first_seq:
        first_seq[forth] = segment.seq
    arrow = f"{_name(segment.source)} ── {segment.all_flags} ──▶ {_name(segment.destination)}"
    details = f"seq {(segment.seq - first_seq[forth]) % 2**32}"
    if "A" in segment.flags:
        details += f" ack {(segment.ack - first_seq.get(back, segment.ack)) % 2**32}"
    if segment.length:
        details += f" length {segment.length}"
    return f"{arrow:<{_ARROW_WIDTH}} {details}"


def format_socket(row: Socket, language: str = "en") -> str:
    """One row of the socket table, in words."""
    words = words_in(language)
    if row.state == State.LISTEN:
        return f"{_name(row.local)} LISTEN, {words['queue'].format(row.recv_q, row.send_q)}"
    owner = "" if row.inode else f", {words['no_process']}"
    timer = words["timer"].format(row.timer.name, f"{row.timer.expires_s:.3f}")
    timer = "" if row.timer.name == "none" else f", {timer}"
    ends = f"{_name(row.local)} ↔ {_name(row.remote)}"
    return f"{ends} {row.state}, Recv-Q {row.recv_q}, Send-Q {row.send_q}{timer}{owner}"


def _name(endpoint: Endpoint) -> str:
    host, port = endpoint
    return f"{name_of(host)}:{port}"
