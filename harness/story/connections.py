"""The connections of a story: what each end did on the wire, and which actors hold it. story/shape.py describes them.

The holders of an end are known from the looks that follow each step (`Observer.looks_closely`), and those of a
listener's connections from the listener. Without such looks, no holders are known.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.evidence.sockets import Endpoint, Socket, State
from harness.evidence.wire import Segment
from harness.story.paths import Paths
from harness.story.timeline import Change, Event, Look, Step

_COMM_BYTES = 15
"""The length to which the kernel cuts a process's name (include/linux/sched.h, TASK_COMM_LEN)."""

_ENDINGS = ("finished", "failed", "killed")


@dataclass(slots=True)
class Sent:
    """Something that one end did on the wire: S, SA, A, data, FIN or RST. `at`: its index among the story's events."""

    at: int
    word: str
    segment: Segment

    @property
    def after(self) -> int:
        """The ack number that acknowledges it."""
        return (self.segment.seq + self.segment.length + (self.word in ("S", "SA", "FIN"))) % 2**32

    def acknowledges(self, other: "Sent") -> bool:
        """Whether its ack number covers `other`, modulo 2^32 (RFC 9293, 3.4)."""
        return "A" in self.segment.flags and (self.segment.ack - other.after) % 2**32 < 2**31


@dataclass(slots=True)
class End:
    """One end of a connection. `steps` are those of all its holders, with their indices; "killed" counts as a step."""

    local: Endpoint
    remote: Endpoint
    sent: list[Sent] = field(default_factory=list)
    holders: set[str] = field(default_factory=set)
    steps: list[tuple[int, str]] = field(default_factory=list)
    latest_was_reported: bool = True

    def has_new_data(self, segment: Segment) -> bool:
        """Whether a segment carries bytes that this end has not sent before."""
        data = [each for each in self.sent if each.word == "data"]
        return not data or 0 < (segment.seq + segment.length - data[-1].after) % 2**32 < 2**31

    def has(self, word: str) -> bool:
        return any(each.word == word for each in self.sent)

    def last_watched(self) -> float:
        """The index up to which the story waited for this end's actors; infinite if they ended, as the kernel acts on.

        0 if no holder is known.
        """
        at, name = max(self.steps, default=(0, ""))
        return math.inf if name in _ENDINGS else at


@dataclass(slots=True)
class Connection:
    """A connection, begun by a SYN with a new sequence number; it ends when the next one of its two ports begins."""

    at: int
    syn: Segment
    client: End
    server: End
    until: float = math.inf
    left: tuple[Socket, ...] = ()
    """Its rows in the last look."""

    def ends(self) -> Iterator[tuple[End, End]]:
        """Each end and its peer, the client's first. A socket that has connected to itself is one end, the client."""
        yield self.client, self.server
        if self.server.local != self.client.local:
            yield self.server, self.client

    def take(self, at: int, segment: Segment) -> None:
        if segment.arrives:  # a router has sent it, so it is of neither end
            return
        end, peer = next(pair for pair in self.ends() if pair[0].local == segment.source)
        words = list(_words(segment, end, peer))
        end.latest_was_reported = bool(words)
        for word in words:
            sent = Sent(at, word, segment)
            if end.sent and end.sent[-1].word == word and _continues(end.sent[-1], sent, peer):
                end.sent[-1].segment = segment
            else:
                end.sent.append(sent)


def connections(events: list[Event], paths: Paths) -> list[Connection]:
    """The connections, in the order of their SYNs; a retransmitted SYN begins no new one."""
    servers = {client: server for server, client in reversed(paths.translated.items())}
    now: dict[frozenset[Endpoint], Connection] = {}
    found = []
    for at, event in enumerate(events):
        if isinstance(event, Segment):
            ends = paths.connection(event.source, event.destination)
            if event.flags == "S" and (ends not in now or now[ends].syn.seq != event.seq):
                forth = event.source, event.destination
                back = servers.get(forth, (event.destination, event.source))
                if ends in now:
                    now[ends].until = at
                now[ends] = Connection(at, event, End(*forth), End(*back))
                found.append(now[ends])
            if ends in now:
                now[ends].take(at, event)
    looks = [event for event in events if isinstance(event, Look)]
    for row in looks[-1].sockets if looks else ():
        if connection := now.get(paths.connection(row.local, row.remote)):
            connection.left += (row,)
    _Holders(events).set_in(found)
    return found


def _words(segment: Segment, end: End, peer: End) -> Iterator[str]:
    """The words for the new parts of a segment; shape.py gives the reasons for what is left out."""
    flags = segment.flags.replace("P", "")
    if "R" in flags:
        if "A" in flags or _answers_something_reported(end, peer):
            yield "RST"
    elif "S" in flags:
        times = sum(each.word == flags and each.segment.seq == segment.seq for each in end.sent)
        if times < (2 if flags == "S" else 1):
            yield flags
    elif segment.length or "F" in flags:
        yield from _of_the_stream(segment, end)
    elif peer.sent and peer.sent[-1].word in ("S", "SA") and (not end.sent or end.sent[-1].at < peer.sent[-1].at):
        yield "A"


def _of_the_stream(segment: Segment, end: End) -> Iterator[str]:
    if segment.length and end.has_new_data(segment):
        yield "data"
    if "F" in segment.flags and not end.has("FIN"):
        yield "FIN"


def _continues(before: Sent, sent: Sent, peer: End) -> bool:
    """Whether it continues what the same end sent before: it acknowledges no data of the peer in between."""
    heard = [each for each in peer.sent if each.word == "data" and each.at > before.at]
    return sent.word == "RST" or (sent.word == "data" and not any(sent.acknowledges(each) for each in heard))


def _answers_something_reported(end: End, peer: End) -> bool:
    """Whether a plain RST answers something that is reported.

    Answers to a late ACK do not count, nor answers to a FIN for which TIME_WAIT would have sent something else.
    """
    last = peer.sent[-1].word if peer.sent else ""
    return peer.latest_was_reported and not (last == "FIN" and end.has("FIN"))


class _Holders:
    def __init__(self, events: list[Event]) -> None:
        self._steps: dict[str, list[tuple[int, str]]] = {}
        self._looks: list[tuple[int, dict[tuple[Endpoint, Endpoint], set[str]]]] = []
        self._listeners: dict[Endpoint, set[str]] = {}
        for at, event in enumerate(events):
            if isinstance(event, Step):
                self._steps.setdefault(event.actor, []).append((at, event.name))
            elif isinstance(event, Change) and event.text.endswith(" is killed"):
                self._steps.setdefault(event.text.removesuffix(" is killed"), []).append((at, "killed"))
            elif isinstance(event, Look):
                self._look(at, event)

    def _look(self, at: int, look: Look) -> None:
        programs: dict[int, set[str]] = {}
        for inode, program in look.owners:
            programs.setdefault(inode, set()).add(program)
        held = [row for row in look.sockets if row.inode in programs]
        self._looks.append((at, {(row.local, row.remote): programs[row.inode] for row in held}))
        for row in held:
            if row.state == State.LISTEN:
                self._listeners.setdefault(row.local, set()).update(programs[row.inode])

    def set_in(self, found: list[Connection]) -> None:
        for connection in found:
            for end, _ in connection.ends():
                end.holders = self._actors(end, connection)
                end.steps = [step for name in end.holders for step in self._steps[name]]

    def _actors(self, end: End, connection: Connection) -> set[str]:
        """The holders that have steps, so not real programs."""
        programs = set(self._listeners.get(end.local, ()))
        for at, held in self._looks:
            if connection.at < at < connection.until:
                programs |= held.get((end.local, end.remote), set())
        return set().union(*(self._called(program, connection.at) for program in programs))

    def _called(self, program: str, since: int) -> set[str]:
        """The actor that a look shows by that name: if several names begin alike, the one whose step comes next."""
        if len(program) < _COMM_BYTES:
            return {program} & set(self._steps)
        alike = [name for name in self._steps if name[:_COMM_BYTES] == program]
        steps = [(at, name) for name in alike for at, _ in self._steps[name] if at > since]
        return {min(steps)[1]} if steps else set()
