"""The timeline as the rows of a ladder: client left, server right, the wire between. Every picture draws these rows."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from harness.evidence.sockets import Endpoint, Socket, State
from harness.evidence.transitions import Transition
from harness.evidence.wire import Segment
from harness.kernel.addresses import HOSTS
from harness.timeline import Change, Counted, Event, Finding, Look, Step, Timeline

_BELONGS_WITHIN_NS = 2_000_000
"""A state change belongs to the segment that its end sent or received last: microseconds, on a busy machine more."""

_QUIET_STATES = (State.LISTEN, State.TIME_WAIT)


class Lane(StrEnum):
    """The two ends of every story; "other server" stands with the server."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(slots=True)
class Row:
    """What happened at one moment: at most one segment, and what it did (or what led to it) at each end."""

    time_ns: int
    segment: Segment | None = None
    sender: Lane | None = None
    """The lane that the segment leaves from."""
    label: str = ""
    """The segment in a word: flags, payload bytes where there are any ("PA 18"), a window of 0."""
    says: dict[Lane, list[str]] = field(default_factory=lambda: {Lane.CLIENT: [], Lane.SERVER: []})
    """What stands in each lane: steps ("» sent"), states ("FIN_WAIT1"), queues and timers ("Recv-Q 6, no owner")."""
    note: str = ""
    """What concerns both ends: a sysctl, a firewall rule, a finding, the counters."""
    evidence: list[Event] = field(default_factory=list)
    """The records behind it, in full."""


def rows(timeline: Timeline) -> list[Row]:
    """The whole story, a row a moment; pure."""
    events = list(timeline)
    return _Rows(events).build()


def lane_of(endpoint: Endpoint) -> Lane:
    """Where an address stands: what is not the client's is the server's."""
    return Lane.CLIENT if HOSTS.get(endpoint[0]) == "client" else Lane.SERVER


class _Rows:
    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._lanes = _lanes_of_actors(events)
        self._crowded = {lane for lane in Lane if list(self._lanes.values()).count(lane) > 1}
        self._ports = {_client_port(event) for event in events if isinstance(event, Segment)}
        self._rows: list[Row] = []
        self._segments = [event for event in events if isinstance(event, Segment)]
        self._row_of: dict[int, Row] = {}
        self._shown: dict[tuple[Endpoint, Endpoint], str] = {}

    def build(self) -> list[Row]:
        for segment in self._segments:
            sender = lane_of(segment.source)
            row = Row(segment.time_ns, segment, sender, _label(segment), evidence=[segment])
            self._row_of[id(segment)] = row
        for event in self._events:
            match event:
                case Segment():
                    self._rows.append(self._row_of[id(event)])
                case Transition():
                    self._transition(event)
                case Step():
                    self._say(event, self._lanes[event.actor], self._step(event))
                case Look():
                    self._look(event)
                case Change() | Finding() | Counted():
                    self._rows.append(Row(event.time_ns, note=_note(event), evidence=[event]))
        return self._rows

    def _say(self, event: Event, lane: Lane, text: str) -> None:
        latest = self._rows[-1] if self._rows else None
        if latest is None or latest.time_ns != event.time_ns or latest.segment or latest.note:
            latest = Row(event.time_ns)
            self._rows.append(latest)
        latest.says[lane].append(text)
        if event not in latest.evidence:
            latest.evidence.append(event)

    def _step(self, step: Step) -> str:
        """With its actor's name where several stand in the same lane."""
        named = f"{step.actor}: {step.name}" if self._lanes[step.actor] in self._crowded else step.name
        return f"» {named}" + (f" ({step.detail})" if step.detail else "")

    def _transition(self, change: Transition) -> None:
        text = self._named(change.local, change.remote, f"{change.new}{' (inferred)' if change.inferred else ''}")
        lane = lane_of(change.local)
        segment = self._cause(change)
        if segment is None:
            self._say(change, lane, text)
            return
        row = self._row_of[id(segment)]
        row.says[lane].append(text)
        row.evidence.append(change)

    def _cause(self, change: Transition) -> Segment | None:
        """The segment that this end sent (just after the change) or received (just before it), the nearest in time."""
        near = [
            (abs(segment.time_ns - change.time_ns), at)
            for at, segment in enumerate(self._segments)
            if abs(segment.time_ns - change.time_ns) < _BELONGS_WITHIN_NS and _fits(change, segment)
        ]
        return self._segments[min(near)[1]] if near else None

    def _named(self, local: Endpoint, remote: Endpoint, text: str) -> str:
        """With the client's port in front where a story has several connections."""
        port = local[1] if lane_of(local) is Lane.CLIENT else remote[1]
        return f"{port} {text}" if len(self._ports) > 1 and port else text

    def _look(self, look: Look) -> None:
        for socket in look.sockets:
            text = _worth_telling(socket)
            key = (socket.local, socket.remote)
            if text != self._shown.get(key, ""):
                self._shown[key] = text
                if text:
                    named = text if socket.state == State.LISTEN else self._named(socket.local, socket.remote, text)
                    self._say(look, lane_of(socket.local), named)


def _lanes_of_actors(events: list[Event]) -> dict[str, Lane]:
    """Each actor stands where the first socket is that it was seen to hold; where none was seen, with the client."""
    lanes: dict[str, Lane] = {}
    for event in events:
        if isinstance(event, Look):
            hosts = {socket.inode: lane_of(socket.local) for socket in event.sockets if socket.inode}
            for inode, program in event.owners:
                if inode in hosts:
                    lanes.setdefault(program, hosts[inode])
    actors = dict.fromkeys(event.actor for event in events if isinstance(event, Step))
    # The kernel knows a process by the first 15 bytes of its name (TASK_COMM_LEN).
    return {actor: lanes.get(actor) or lanes.get(actor[:15], Lane.CLIENT) for actor in actors}


def _client_port(segment: Segment) -> int:
    return segment.source[1] if lane_of(segment.source) is Lane.CLIENT else segment.destination[1]


def _fits(change: Transition, segment: Segment) -> bool:
    ends = (change.local, change.remote)
    if change.local[1] == 0:  # an autobound SYN_SENT has no port yet
        return segment.flags == "S" and segment.destination == change.remote
    return ends in ((segment.source, segment.destination), (segment.destination, segment.source))


def _label(segment: Segment) -> str:
    label = f"{segment.flags} {segment.length}" if segment.length else segment.flags
    return f"{label}, window 0" if segment.window == 0 and "R" not in segment.flags else label


def _worth_telling(socket: Socket) -> str:
    """The queues, the timer and the missing owner of a socket; nothing where all is as it should be."""
    if socket.state == State.LISTEN:
        return f"accept queue {socket.recv_q} of {socket.send_q}" if socket.recv_q else ""
    told = [f"{name} {size}" for name, size in (("Recv-Q", socket.recv_q), ("Send-Q", socket.send_q)) if size]
    if socket.inode == 0 and socket.state in (State.ESTABLISHED, State.CLOSE_WAIT):
        told.append("no owner")
    if socket.timer.name not in ("none", "retransmit"):
        told.append(f"timer {socket.timer.name} {socket.timer.expires_s:.1f} s")
    return ", ".join(told)


def _note(event: Change | Finding | Counted) -> str:
    match event:
        case Change():
            return event.text
        case Finding():
            return f"{event.name}: {event.value}"
        case Counted():
            return "counters: " + ", ".join(f"{name} {moved:+d}" for name, moved in event.moved)


def changes_of(row: Row) -> Iterator[Transition]:
    """The state changes that a row shows."""
    yield from (event for event in row.evidence if isinstance(event, Transition))
