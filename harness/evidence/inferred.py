"""The states of both ends, read off the segments alone (RFC 9293, figure 5, and section 3.10.7).

For whoever may not trace the kernel, and for the minisocks that no tracepoint reports. What is inferred is marked so;
resting states are confirmed by the socket table.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

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


@dataclass(slots=True)
class _End:
    state: State = State.CLOSED
    fin_end: int | None = None
    """The sequence number that acknowledges this end's FIN, once it was sent."""


_Move = Callable[[_End, State | None], Iterator[Transition]]


def infer(segments: Iterable[Segment]) -> Iterator[Transition]:
    """Every state change that the segments imply, each at the time of the segment that shows it."""
    ends: dict[tuple[Endpoint, Endpoint], _End] = {}
    for segment in segments:
        sender = ends.setdefault((segment.source, segment.destination), _End())
        receiver = ends.setdefault((segment.destination, segment.source), _End())
        yield from _changes(segment, sender, receiver)


def _changes(segment: Segment, sender: _End, receiver: _End) -> Iterator[Transition]:
    def move(end: _End, new: State | None) -> Iterator[Transition]:
        if new is None or new == end.state:
            return
        old, end.state = end.state, new
        ours, theirs = segment.source, segment.destination
        local, remote = (ours, theirs) if end is sender else (theirs, ours)
        yield Transition(segment.time_ns, local, remote, old, new, inferred=True)

    flags = set(segment.flags)
    if "R" in flags:
        # A SYN_SENT socket answers an unacceptable ACK with a RST and stays as it is (3.10.7.3, first).
        if sender.state != State.SYN_SENT:
            yield from move(sender, State.CLOSED)
        yield from move(receiver, State.CLOSED)
    elif flags == {"S"}:
        if sender.state in (State.CLOSED, State.TIME_WAIT):
            yield from move(sender, State.SYN_SENT)
    elif flags == {"S", "A"}:
        if receiver.state == State.SYN_SENT:
            yield from move(sender, State.SYN_RECV)
    elif "A" in flags:
        yield from _acknowledged(segment, sender, receiver, move)


def _acknowledged(segment: Segment, sender: _End, receiver: _End, move: _Move) -> Iterator[Transition]:
    if sender.state == State.SYN_SENT and receiver.state == State.SYN_RECV:
        yield from move(sender, State.ESTABLISHED)
        yield from move(receiver, State.ESTABLISHED)
    if sender.state not in _SYNCHRONISED:
        return
    if "F" in segment.flags and sender.state in _ON_SENDING_FIN:
        sender.fin_end = (segment.seq + segment.length + 1) % 2**32
        yield from move(sender, _ON_SENDING_FIN[sender.state])
    if receiver.fin_end == segment.ack:
        yield from move(receiver, _ON_FIN_ACKNOWLEDGED.get(receiver.state))
    if "F" in segment.flags:
        yield from move(receiver, _ON_RECEIVING_FIN.get(receiver.state))
