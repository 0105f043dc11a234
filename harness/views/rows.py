"""The timeline as the rows of a ladder: client left, server right, the wire between. Every picture draws these rows."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from harness.evidence.icmp import IcmpError
from harness.evidence.sockets import Endpoint, Socket, State
from harness.evidence.transitions import Transition
from harness.evidence.wire import Segment
from harness.network.addresses import HOSTS, name_of
from harness.story.paths import Paths
from harness.story.timeline import Change, Counted, Event, Finding, Look, Step, Timeline
from harness.views.states import Correction, checked
from harness.views.words import words_in

_MANY = 8

_EVERYDAY_TIMERS = ("none", "retransmit", "delayed_ack")
"""Timers that any connection has while data is under way, so that they are not shown; the last lasts 40 ms."""


class Lane(StrEnum):
    """The two ends of every story; "other server" is in the server's lane."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(slots=True)
class Row:
    """What happened at one moment: at most one segment, and its effects (or causes) at each end."""

    time_ns: int
    segment: Segment | None = None
    sender: Lane | None = None
    """The lane that the segment leaves from."""
    lost: bool = False
    """Whether the segment was lost on the way: a router did not pass it on."""
    label: str = ""
    """The segment in short: flags, payload bytes if there are any ("PA 18"), a window of 0."""
    says: dict[Lane, list[str]] = field(default_factory=lambda: {Lane.CLIENT: [], Lane.SERVER: []})
    """The texts in each lane: steps ("» sent"), states ("FIN_WAIT1"), queues and timers ("Recv-Q 6, no owner")."""
    note: str = ""
    """A text for both ends: a sysctl, a firewall rule, a finding, the counters."""
    evidence: list[Event] = field(default_factory=list)
    """The records behind it, in full."""


def rows(timeline: Timeline, words: Mapping[str, str] | None = None) -> list[Row]:
    """The whole story, a row for each moment; pure. `words`: for a language other than English (words.py).

    The states are those that the segments imply, checked against each look at the table (views/states.py). So they are
    the same for every user, and include TIME_WAIT, which no tracepoint reports.
    """
    events: list[Event] = [event for event in timeline if not isinstance(event, Transition)]
    return _Rows(events, *checked(timeline), timeline.paths(), words or words_in("en")).build()


def lane_of(endpoint: Endpoint) -> Lane:
    """The lane of an address: every host but the client is in the server's."""
    return Lane.CLIENT if HOSTS.get(endpoint[0]) == "client" else Lane.SERVER


def lanes_of(segment: Segment) -> tuple[Lane, Lane]:
    """The lanes that a segment leaves and goes to. A router is where the peer of the other end is."""
    sender, receiver = lane_of(segment.source), lane_of(segment.destination)
    if segment.arrives:  # it has sent it itself, perhaps in the other host's name
        sender = _across(receiver)
    elif HOSTS.get(segment.destination[0]) == "router":  # whose NAT stands for the client
        receiver = _across(sender)
    return sender, receiver


def _across(lane: Lane) -> Lane:
    return Lane.SERVER if lane is Lane.CLIENT else Lane.CLIENT


class _Rows:
    def __init__(
        self,
        events: list[Event],
        changes: list[Transition],
        corrections: list[Correction],
        paths: Paths,
        words: Mapping[str, str],
    ) -> None:
        self._events = events
        self._paths = paths
        self._words = words
        self._corrections = corrections
        self._changes = changes
        self._lanes = lanes_of_actors(events)
        self._crowded = {lane for lane in Lane if list(self._lanes.values()).count(lane) > 1}
        self._ports = {client_port(event) for event in events if isinstance(event, Segment)}
        self._rows: list[Row] = []
        self._segments = [event for event in events if isinstance(event, Segment)]
        self._drawn: dict[int, Row] = {}
        self._row_of: dict[tuple[int, Endpoint], Row] = {}
        self._shown: dict[tuple[Endpoint, Endpoint], str] = {}

    def build(self) -> list[Row]:
        for segment in self._segments:
            lost, label = id(segment) in self._paths.lost, _label(segment)
            if segment.arrives:
                label = f"{label}, {self._words['router']}"
            row = Row(segment.time_ns, segment, lanes_of(segment)[0], lost, label, evidence=[segment])
            self._drawn[id(segment)] = self._row_of[segment.time_ns, segment.source] = row
        for change in self._changes:
            self._transition(change)
        for event in self._events:
            self._event(event)
        return self._rows

    def _event(self, event: Event) -> None:
        match event:
            case Segment():
                self._rows.append(self._drawn[id(event)])
            case Step():
                self._say(event, self._lanes[event.actor], self._step(event))
            case Look():
                self._look(event)
            case Change() | Finding() | Counted() | IcmpError():
                self._rows.append(Row(event.time_ns, note=_note(event), evidence=[event]))

    def _say(self, event: Event, lane: Lane, text: str) -> None:
        latest = self._rows[-1] if self._rows else None
        if latest is None or latest.time_ns != event.time_ns or latest.segment or latest.note:
            latest = Row(event.time_ns)
            self._rows.append(latest)
        latest.says[lane].append(text)
        if event not in latest.evidence:
            latest.evidence.append(event)

    def _step(self, step: Step) -> str:
        """A step's text, with its actor's name if several are in the same lane."""
        named = f"{step.actor}: {step.name}" if self._lanes[step.actor] in self._crowded else step.name
        detail = step.detail.partition(":")[0] if step.name == "failed" else step.detail
        return printable(f"» {named}" + (f" ({detail})" if detail else ""))

    def _transition(self, change: Transition) -> None:
        """Add a state change to the row of the segment that implies it, which its end sent or received."""
        ends = (change.local, change.remote, *self._paths.connection(change.local, change.remote))
        row = next(filter(None, (self._row_of.get((change.time_ns, end)) for end in ends)))
        row.says[lane_of(change.local)].append(self._named(change.local, change.remote, change.new))
        row.evidence.append(change)

    def _named(self, local: Endpoint, remote: Endpoint, text: str) -> str:
        """A text, with the client's port in front if the story has several connections."""
        port = local[1] if lane_of(local) is Lane.CLIENT else remote[1]
        return f"{port} {text}" if len(self._ports) > 1 and port else text

    def _look(self, look: Look) -> None:
        for known in self._corrections:
            if known.look is look:
                self._say(look, lane_of(known.local), self._named(known.local, known.remote, known.state))
        texts: dict[Lane, list[str]] = {lane: [] for lane in Lane}
        for socket in look.sockets:
            text = _notable(socket, self._words)
            key = (socket.local, socket.remote)
            if (lasting := re.sub(r" [\d.]+ s$", "", text)) != self._shown.get(key, ""):  # not for a timer's time alone
                self._shown[key] = lasting
                if text:
                    named = text if socket.state == State.LISTEN else self._named(socket.local, socket.remote, text)
                    texts[lane_of(socket.local)].append(named)
        for lane, lines in texts.items():
            for line in _folded(lines):
                self._say(look, lane, line)


def lanes_of_actors(events: list[Event]) -> dict[str, Lane]:
    """The lane of each actor: that of the first socket that it was seen to hold; if none was seen, the client's."""
    lanes: dict[str, Lane] = {}
    for event in events:
        if isinstance(event, Look):
            hosts = {socket.inode: lane_of(socket.local) for socket in event.sockets if socket.inode}
            for inode, program in event.owners:
                if inode in hosts:
                    lanes.setdefault(program, hosts[inode])
    actors = dict.fromkeys(event.actor for event in events if isinstance(event, Step))
    # The kernel keeps the first 15 bytes of a process's name (TASK_COMM_LEN).
    return {actor: lanes.get(actor) or lanes.get(actor[:15], Lane.CLIENT) for actor in actors}


def client_port(segment: Segment) -> int:
    """The port of a segment's end that is not a server's; a server knows its client by a router's, if that does NAT."""
    return segment.source[1] if HOSTS.get(segment.source[0]) in ("client", "router") else segment.destination[1]


def _label(segment: Segment) -> str:
    label = f"{segment.all_flags} {segment.length}" if segment.length else segment.all_flags
    return f"{label}, window 0" if segment.window == 0 and "R" not in segment.flags else label


def _notable(socket: Socket, words: Mapping[str, str]) -> str:
    """A text on the queues, the timer and the missing owner of a socket; empty if all of them are normal."""
    if socket.state == State.LISTEN:
        return words["queue"].format(socket.recv_q, socket.send_q) if socket.recv_q else words["queue_empty"]
    parts = [f"{name} {size}" for name, size in (("Recv-Q", socket.recv_q), ("Send-Q", socket.send_q)) if size]
    if socket.inode == 0 and socket.state in (State.ESTABLISHED, State.CLOSE_WAIT):
        parts.append(words["no_owner"])
    if socket.timer.name not in _EVERYDAY_TIMERS:
        parts.append(words["timer"].format(socket.timer.name, f"{socket.timer.expires_s:.1f}"))
    return ", ".join(parts)


def _folded(lines: list[str]) -> list[str]:
    """The lines; those of many sockets grouped and counted, without their ports and the seconds on their timers."""
    if len(lines) <= _MANY:
        return lines
    alike = Counter(re.sub(r"^\d+ |( [\d.]+ s)$", "", line) for line in lines)
    return [f"{count} × {text}" for text, count in alike.most_common(_MANY)]


def printable(text: str) -> str:
    """The text without control characters and lone surrogates, which a terminal or a file cannot take."""
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "?" for letter in text)


def said(error: IcmpError) -> str:
    """An ICMP error in words: "router → server: ICMP Packet Too Big, MTU 1400"."""
    source, destination = map(name_of, (error.source, error.destination))
    return f"{source} → {destination}: ICMP {error.kind}" + (f", MTU {error.mtu}" if error.mtu else "")


def _note(event: Change | Finding | Counted | IcmpError) -> str:
    match event:
        case IcmpError():
            return said(event)
        case Change():
            return printable(event.text)
        case Finding():
            return printable(f"{event.name}: {event.value}")
        case Counted():
            return str(event)
