"""The states of both ends, inferred from the segments alone (RFC 9293, figure 5, and section 3.10.7).

For users who may not trace the kernel, and for minisocks, which no tracepoint reports. Inferred states are marked as
such; states that last are confirmed by the socket table.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

from harness.evidence.sockets import Endpoint, State
from harness.evidence.transitions import Transition
from harness.evidence.wire import Segment

_SYNCHRONISED = {State.ESTABLISHED, State.FIN_WAIT1, State.FIN_WAIT2, State.CLOSE_WAIT, State.CLOSING,
                 State.LAST_ACK, State.TIME_WAIT}  # fmt: skip
_ON_SENDING_FIN = {State.ESTABLISHED: State.FIN_WAIT1, State.SYN_RECV: State.FIN_WAIT1,
                   State.CLOSE_WAIT: State.LAST_ACK}  # fmt: skip
_ON_RECEIVING_FIN = {State.ESTABLISHED: State.CLOSE_WAIT, State.SYN_RECV: State.CLOSE_WAIT,
                     State.FIN_WAIT1: State.CLOSING, State.FIN_WAIT2: State.TIME_WAIT}  # fmt: skip
_ON_FIN_ACKNOWLEDGED = {State.FIN_WAIT1: State.FIN_WAIT2, State.CLOSING: State.TIME_WAIT,
                        State.LAST_ACK: State.CLOSED}  # fmt: skip
_MAY_BE_GONE = {State.CLOSED, State.TIME_WAIT, State.FIN_WAIT2}
"""States that end without a segment if a minisock has them: the next segment of that end is a new connection's SYN."""


@dataclass(slots=True)
class _End:
    state: State = State.CLOSED
    fin_end: int | None = None
    """The sequence number that acknowledges this end's FIN, once that was sent."""
    late_fin: bool = False
    """Whether the peer's FIN was captured, but arrives only after this end has sent its own."""


_Move = Callable[[_End, State | None], Iterator[Transition]]


class _Hop(NamedTuple):
    """A segment, and the two ends as their own sockets have them: local and remote."""

    segment: Segment
    sender: tuple[Endpoint, Endpoint]
    receiver: tuple[Endpoint, Endpoint]


def infer(
    segments: Iterable[Segment], lost: Container[int] = (), arrived: Mapping[int, Segment] | None = None
) -> Iterator[Transition]:
    """Every state change that the segments imply, each at the time of the segment that implies it.

    `lost`: the segments that change nothing at their receivers, by id(). `arrived`: those that arrived with other
    addresses or ports, as they arrived.
    """
    hops = list(_hops(segments, arrived or {}))
    crossing = _crossing_fins(hops)
    ends: dict[tuple[Endpoint, Endpoint], _End] = {}
    for place, hop in enumerate(hops):
        segment = hop.segment
        sender, receiver = ends.setdefault(hop.sender, _End()), ends.setdefault(hop.receiver, _End())
        if "S" in segment.flags:
            sender.fin_end, sender.late_fin = None, False
        if id(segment) in lost:
            changes = _changes(hop, sender, copy(receiver))
            yield from (change for change in changes if change.local == segment.source)
            continue
        receiver.late_fin |= place in crossing
        if segment.arrives:  # a router has sent it, perhaps in the name of its peer
            changes = _changes(hop, copy(sender), receiver)
            yield from (change for change in changes if change.local == segment.destination)
            continue
        yield from _changes(hop, sender, receiver)


def _hops(segments: Iterable[Segment], arrived: Mapping[int, Segment]) -> Iterator[_Hop]:
    """The segments with both ends; that of a lost one's receiver as an earlier segment has shown it."""
    peers: dict[tuple[Endpoint, Endpoint], tuple[Endpoint, Endpoint]] = {}
    for segment in segments:
        sender = segment.source, segment.destination
        receiver = peers.get(sender, (segment.destination, segment.source))
        if there := arrived.get(id(segment)):
            receiver = there.destination, there.source
            peers |= {sender: receiver, receiver: sender}
        yield _Hop(segment, sender, receiver)


def _crossing_fins(hops: list[_Hop]) -> set[int]:
    """The indices of FINs that crossed the peer's FIN: the peer's, captured later, does not acknowledge them.

    The capture sees a segment before a busy socket does (net/ipv4/tcp_ipv4.c, tcp_add_backlog).
    """
    crossing: set[int] = set()
    fins: dict[tuple[Endpoint, Endpoint], tuple[int, list[int]]] = {}
    for place, (segment, forth, back) in enumerate(hops):
        if "S" in segment.flags:
            fins.pop(forth, None)
        elif "F" in segment.flags:
            _, places = fins.setdefault(forth, (_after_fin(segment), []))
            places.append(place)
            if len(places) == 1 and back in fins and segment.ack != fins[back][0]:
                crossing.update(fins[back][1])
    return crossing


def _after_fin(segment: Segment) -> int:
    return (segment.seq + segment.length + 1) % 2**32


def _changes(hop: _Hop, sender: _End, receiver: _End) -> Iterator[Transition]:
    segment = hop.segment

    def move(end: _End, new: State | None) -> Iterator[Transition]:
        if new is None or new == end.state:
            return
        old, end.state = end.state, new
        local, remote = hop.sender if end is sender else hop.receiver
        yield Transition(segment.time_ns, local, remote, old, new, inferred=True)

    match "".join(flag for flag in segment.flags if flag in "SFRA"):
        case "R" | "RA":
            # A socket in SYN_SENT answers an unacceptable ACK with an RST, and stays in SYN_SENT (3.10.7.3, first). A
            # RST that carries an ACK is an abort (tcp_send_active_reset).
            stays = sender.state == State.SYN_SENT and "A" not in segment.flags
            yield from move(sender, State.SYN_SENT if stays else State.CLOSED)
            yield from move(receiver, State.CLOSED)
        case "S" if sender.state in _MAY_BE_GONE:
            yield from move(sender, State.SYN_SENT)
        case "SA" if receiver.state == State.SYN_SENT:
            yield from move(sender, State.SYN_RECV)
        case "A" | "FA":
            yield from _acknowledged(segment, sender, receiver, move)


def _acknowledged(segment: Segment, sender: _End, receiver: _End, move: _Move) -> Iterator[Transition]:
    if sender.state == State.SYN_SENT and receiver.state == State.SYN_RECV:
        yield from move(sender, State.ESTABLISHED)
        yield from move(receiver, State.ESTABLISHED)
    if sender is receiver and sender.state == State.SYN_RECV:  # it has connected to itself
        yield from move(sender, State.ESTABLISHED)
    if sender.state not in _SYNCHRONISED:
        return
    if "F" in segment.flags and sender.state in _ON_SENDING_FIN:
        sender.fin_end = _after_fin(segment)
        yield from move(sender, _ON_SENDING_FIN[sender.state])
        if sender.late_fin:
            yield from move(sender, State.CLOSING)
    if receiver.fin_end == segment.ack:
        yield from move(receiver, _ON_FIN_ACKNOWLEDGED.get(receiver.state))
    if "F" in segment.flags and not receiver.late_fin:
        yield from move(receiver, _ON_RECEIVING_FIN.get(receiver.state))
