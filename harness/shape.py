"""What is certain of a story, in a few lines: the same each time that it is played, on an idle machine and a busy one.

First the steps, what the lab changed and the names of findings, in order; then each connection, in a line: → sent by
its client, ← to it. What no play can promise is not told, and neither is a time, a port or a number:

- A later pure ACK: it is delayed, or rides on data (tcp_send_delayed_ack). Told are the handshake's, and a challenge.
- How data was cut, and what was repeated; of a SYN or SYN-ACK, no more than that it was.
- What came after the last step, and what an end did after the last step of whoever holds it: a server that runs on by
  itself closes sooner or later. Its data is told where the other end acknowledged it with more than an ACK.
- RST in answer to a late ACK; or to a FIN, after one's own: FIN_WAIT2 may be over, or not (tcp_timewait_state_process).
- The order of two FINs where data has just woken one of the ends ("↔FIN").
- States that have a timer, or are passed through. At the end, ESTABLISHED and CLOSE_WAIT are told.

Who holds an end is known from the looks after each step (`Observer.looks_closely`), so only of a story that somebody
was to see: --lab-show, --lab-report, --lab-artifacts.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.evidence.sockets import Endpoint, Socket, State
from harness.evidence.wire import Segment
from harness.kernel.addresses import HOSTS
from harness.timeline import Change, Event, Finding, Look, Step, Timeline

_MANY = 40
_LONGEST_RESULT = 40
_LASTING = (State.ESTABLISHED, State.CLOSE_WAIT)


def shape(timeline: Timeline) -> list[str]:
    """One line a step, a change, a finding and a connection; of more than 40 connections, how many are alike."""
    events = list(timeline.entered())
    last = max((at for at, event in enumerate(events) if isinstance(event, Step)), default=-1)
    events = events[: last + 2]  # with the look that follows the step
    connections = _connections(events)
    lines = [line for line in map(_Actors(events).told, connections) if line]
    if len(lines) > _MANY:
        lines = [f"{count} × {line}" for line, count in sorted(Counter(lines).items())]
    return [*_story(events, {connection.server.local[1] for connection in connections}), *lines]


def _story(events: list[Event], server_ports: set[int]) -> Iterator[str]:
    for event in events:
        match event:
            case Step():
                yield f"{_name(event.actor)}: {event.name}{_result(event)}"
            case Change():
                yield f"lab: {_change(event.text, server_ports)}"
            case Finding():
                yield f"finding: {event.name}"


def _change(text: str, server_ports: set[int]) -> str:
    """Without the port that a worker's servers have, and with the host alone that a made-up segment was for."""
    told = re.sub(r"^(provoked: \w+ to) \('([\d.]+)'.*", lambda to: f"{to[1]} {HOSTS.get(to[2])}", text)
    return re.sub(r"\d+", lambda number: "(server)" if int(number[0]) in server_ports else number[0], told)


def _result(step: Step) -> str:
    """Of a failure the error's name; what was returned, where it is short and holds neither a time nor an address."""
    if step.name == "failed":
        return f" ({step.detail.partition(':')[0]})"
    if not step.detail or len(step.detail) > _LONGEST_RESULT or re.search(r"\d\.\d", step.detail):
        return ""
    return f" ({step.detail})"


def _name(program: str) -> str:
    """Python is called by whatever name it was started."""
    return re.sub(r"^python[\d.]+", "python", program)


@dataclass(slots=True)
class _Sent:
    """Something that one end did on the wire: S, SA, A, data, FIN, RST; where it stands in the story."""

    at: int
    word: str
    segment: Segment

    @property
    def end(self) -> int:
        """The number that acknowledges it."""
        one = self.word in ("S", "SA", "FIN")
        return (self.segment.seq + self.segment.length + one) % 2**32

    def is_the_kernels(self) -> bool:
        """Whether it comes at once, whatever the processes do: a part of the handshake, or an answer to what is told."""
        return self.word in ("S", "SA", "A") or self.segment.flags == "R"


@dataclass(slots=True)
class _End:
    local: Endpoint
    remote: Endpoint
    sent: list[_Sent] = field(default_factory=list)
    latest_was_told: bool = True

    def has(self, word: str) -> bool:
        return any(each.word == word for each in self.sent)


@dataclass(slots=True)
class _Connection:
    """One handshake's, begun by a SYN with a number of its own."""

    syn: Segment
    client: _End
    server: _End
    left: list[Socket] = field(default_factory=list)

    def ends(self) -> Iterator[tuple[_End, _End]]:
        yield from ((self.client, self.server), (self.server, self.client))

    def take(self, at: int, segment: Segment) -> None:
        end, peer = next(pair for pair in self.ends() if pair[0].local == segment.source)
        words = list(_words(segment, end, peer))
        end.latest_was_told = bool(words)
        for word in words:
            if word in ("data", "RST") and end.sent and end.sent[-1].word == word:
                end.sent[-1].segment = segment
            else:
                end.sent.append(_Sent(at, word, segment))


def _connections(events: list[Event]) -> list[_Connection]:
    """In the order of their SYNs; a repeated SYN begins nothing new."""
    now: dict[frozenset[Endpoint], _Connection] = {}
    found = []
    for at, event in enumerate(events):
        if isinstance(event, Segment):
            ends = frozenset((event.source, event.destination))
            if event.flags == "S" and (ends not in now or now[ends].syn.seq != event.seq):
                forth, back = (event.source, event.destination), (event.destination, event.source)
                now[ends] = _Connection(event, _End(*forth), _End(*back))
                found.append(now[ends])
            if ends in now:
                now[ends].take(at, event)
    for row in _last_table(events):
        if connection := now.get(frozenset((row.local, row.remote))):
            connection.left.append(row)
    return found


def _last_table(events: list[Event]) -> tuple[Socket, ...]:
    looks = [event for event in events if isinstance(event, Look)]
    return looks[-1].sockets if looks else ()


def _words(segment: Segment, end: _End, peer: _End) -> Iterator[str]:
    flags = segment.flags.replace("P", "")
    if "R" in flags:
        if "A" in flags or _is_certain_answer(end, peer):
            yield "RST"
    elif "S" in flags:
        if sum(each.word == flags and each.segment.seq == segment.seq for each in end.sent) < 2:
            yield flags
    elif segment.length or "F" in flags:
        if segment.length:
            yield "data"
        if "F" in flags and not end.has("FIN"):
            yield "FIN"
    elif peer.sent and peer.sent[-1].word in ("S", "SA") and (not end.sent or end.sent[-1].at < peer.sent[-1].at):
        yield "A"


def _is_certain_answer(end: _End, peer: _End) -> bool:
    """Whether a plain RST answers what is told, and neither a late ACK nor a FIN that may find a TIME_WAIT."""
    last = peer.sent[-1].word if peer.sent else ""
    return peer.latest_was_told and not (last == "FIN" and end.has("FIN"))


class _Actors:
    """Who holds which end, and until when it was watched."""

    def __init__(self, events: list[Event]) -> None:
        self._steps: dict[str, list[tuple[int, str]]] = {}
        self._owners: dict[Endpoint, set[str]] = {}
        for at, event in enumerate(events):
            if isinstance(event, Step):
                self._steps.setdefault(event.actor, []).append((at, event.name))
            elif isinstance(event, Change) and event.text.endswith(" is killed"):
                self._steps.setdefault(event.text.removesuffix(" is killed"), []).append((at, "killed"))
            elif isinstance(event, Look):
                ends = {row.inode: row.local for row in event.sockets if row.inode}
                for inode, program in event.owners:
                    if inode in ends:
                        self._owners.setdefault(ends[inode], set()).add(program)

    def told(self, connection: _Connection) -> str:
        """Its opener, what is certain of its segments, and where it stands at the end."""
        self._keep_what_is_certain(connection)
        actors = " or ".join(sorted(map(_name, self._watched(connection.client)))) or "somebody"
        left = ", ".join(self._left(connection))
        return f"{actors} to {HOSTS.get(connection.server.local[0])}: {self._merged(connection)}{left and f'; {left}'}"

    def _watched(self, end: _End) -> set[str]:
        """Those that hold it and have steps; a real program's own connections are somebody's."""
        return self._owners.get(end.local, set()) & set(self._steps)

    def _keep_what_is_certain(self, connection: _Connection) -> None:
        certain = {}
        for end, _ in connection.ends():
            unknown = math.inf if end is connection.client else -1  # a client that came and went between two looks
            until = max((self._steps[name][-1][0] for name in self._watched(end)), default=unknown)
            certain[end.local] = [each for each in end.sent if each.at < until or each.is_the_kernels()]
        for end, peer in connection.ends():
            answers = certain[peer.local]
            waited_for = [each for each in end.sent if any(_answers(answer, each) for answer in answers)]
            end.sent = [each for each in end.sent if each in certain[end.local] or each in waited_for]

    def _merged(self, connection: _Connection) -> str:
        """Both ends' words in one order: an end's own, and what acknowledges after what it acknowledges."""
        client, server = list(connection.client.sent), list(connection.server.sent)
        told = []
        while client or server:
            if client and not (server and _waits_for(client[0], server[0])):
                told.append(f"→{client.pop(0).word}")
            else:
                told.append(f"←{server.pop(0).word}")
        if self._finish_in_any_order(connection):
            told = [word for word in told if word not in ("→FIN", "←FIN")] + ["↔FIN"]
        return " ".join(told)

    def _finish_in_any_order(self, connection: _Connection) -> bool:
        if not all(end.has("FIN") for end, _ in connection.ends()):
            return False
        for end, peer in connection.ends():
            fin = next(each for each in end.sent if each.word == "FIN")
            steps = [step for name in self._watched(end) for step in self._steps[name] if step[0] < fin.at]
            at, name = max(steps, default=(0, ""))
            woken = any(each.word == "data" and at < each.at < fin.at for each in peer.sent)
            if name.startswith("blocked in") and woken:
                return True
        return False

    def _left(self, connection: _Connection) -> Iterator[str]:
        """The states that no timer ends; not at an end that a real program may close at any moment."""
        for row in sorted(connection.left, key=lambda row: row.local != connection.client.local):
            end = connection.client if row.local == connection.client.local else connection.server
            if row.state in _LASTING and self._watched(end):
                owned = "" if row.inode else " without owner"
                yield f"{HOSTS.get(row.local[0])} {row.state}{owned}"


def _answers(answer: _Sent, sent: _Sent) -> bool:
    if sent.word != "data" or answer.at < sent.at or answer.word not in ("data", "FIN", "RST"):
        return False
    return _covers(answer.segment, sent) if "A" in answer.segment.flags else answer.word == "RST"


def _covers(segment: Segment, sent: _Sent) -> bool:
    return (segment.ack - sent.end) % 2**32 < 2**31


def _waits_for(mine: _Sent, theirs: _Sent) -> bool:
    """By what it acknowledges; of what the kernel answers at once, and of what ends everything, by the capture."""
    if mine.word in ("S", "SA", "A", "RST") or theirs.word == "RST":
        return theirs.at < mine.at
    return _covers(mine.segment, theirs)
