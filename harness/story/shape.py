"""The shape of a story: a few lines that are the same each time that it is played, on an idle machine and a busy one.

First the steps, the lab's changes and the names of findings, in order; then one line for each connection: → sent by its
client, ← sent to it. Left out are times, ports, numbers, and everything that may differ from play to play:

- Later pure ACKs, which may be delayed or sent with data (tcp_send_delayed_ack). The handshake's ACK and a challenge
  ACK are included.
- How data was split into segments, and retransmissions, which any stall can cause. A retransmitted SYN is included if
  it completed the handshake, but not how often it was sent: an end that stays in SYN_SENT or SYN_RECV retransmits for
  as long as the story takes.
- Segments after the last step, and those of an end after the last step of its holders: a server that runs on by itself
  closes sooner or later. Its data is included if the peer acknowledged it with more than an ACK.
- A RST in answer to a late ACK (TIME_WAIT answers a stray ACK with an ACK, RFC 1337); or in answer to a FIN, after its
  sender's own FIN, as FIN_WAIT2 may have ended or not (tcp_timewait_state_process).
- Segments after the FIN of a client that connected and closed between two looks. If the ACK arrives during its close(),
  FIN_WAIT2 ends with RST ("Bad case" in tcp_rcv_state_process, tcp_keepalive_timer).
- The order of two FINs, if data has just woken one of the ends: "↔FIN".
- States that have a timer, or that are passed through. Of the states at the end, ESTABLISHED and CLOSE_WAIT are
  included, except for a real program's end, which the program may close at any time.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator

from harness.evidence.sockets import State
from harness.network.addresses import HOSTS
from harness.story.connections import Connection, Sent, connections
from harness.story.timeline import Change, Event, Finding, Step, Timeline

_MANY = 40
_LONGEST_RESULT = 80
_CHANGES_LOST = "the tracepoint's buffer was full"
"""The end of a Change by the watch (harness/lab/watch.py) that is left out: only root has a tracepoint."""

_LASTING = (State.ESTABLISHED, State.CLOSE_WAIT)


def shape(timeline: Timeline) -> list[str]:
    """One line for each step, change, finding and connection; more than 40 connections are grouped and counted.

    Without looks at each step (`Observer.looks_closely`), no holders are known, and the lines contain less.
    """
    events = list(timeline.entered())
    last = max((at for at, event in enumerate(events) if isinstance(event, Step)), default=-1)
    events = events[: last + 2]  # with the look that follows the step
    found = connections(events, timeline.paths())
    lines = [_line(connection) for connection in found]
    if len(lines) > _MANY:
        lines = [f"{count} × {line}" for line, count in sorted(Counter(lines).items())]
    return [*_story(events, {connection.server.local[1] for connection in found}), *lines]


def _story(events: list[Event], server_ports: set[int]) -> Iterator[str]:
    for event in events:
        match event:
            case Step():
                yield f"{_name(event.actor)}: {event.name}{_result(event)}"
            case Change() if not event.text.endswith(_CHANGES_LOST):
                yield f"lab: {_change(event.text, server_ports)}"
            case Finding():
                yield f"finding: {event.name}"


def _change(text: str, server_ports: set[int]) -> str:
    """A change's text without the port of a provoked segment, and with "(server)" for the worker's server ports."""
    text = re.sub(r"^(provoked: \w+ to [^:]+):\d+$", r"\1", text)
    return re.sub(r"\d+", lambda number: "(server)" if int(number[0]) in server_ports else number[0], text)


def _result(step: Step) -> str:
    """The error's name of a failure; or the returned value, if it is short and contains no time and no address."""
    if step.name == "failed":
        return f" ({step.detail.partition(':')[0]})"
    if not step.detail or len(step.detail) > _LONGEST_RESULT or re.search(r"\d\.\d", step.detail):
        return ""
    return f" ({step.detail})"


def _name(program: str) -> str:
    """A program's name, without the version in Python's."""
    return re.sub(r"^python[\d.]+", "python", program)


def _line(connection: Connection) -> str:
    """The connection's opener, its certain segments, and its states at the end."""
    _keep_what_is_certain(connection)
    opener = " or ".join(sorted(map(_name, connection.client.holders))) or "somebody"
    left = "" if _unseen_fin(connection) else "".join(f"; {each}" for each in _left(connection))
    return f"{opener} to {HOSTS.get(connection.server.local[0])}: {_merged(connection)}{left}"


def _keep_what_is_certain(connection: Connection) -> None:
    certain = {}
    for end, _ in connection.ends():
        # A client that no look has seen connected and closed between two steps.
        until = end.last_watched() if end.holders or end is connection.server else math.inf
        certain[end.local] = [each for each in end.sent if each.at < until or _is_the_kernels(each)]
    if fin := _unseen_fin(connection):
        certain = {local: [each for each in sent if each.at <= fin.at] for local, sent in certain.items()}
    for end, peer in connection.ends():
        answers = certain[peer.local]
        waited_for = [each for each in end.sent if any(_was_waited_for(each, answer) for answer in answers)]
        end.sent = [each for each in end.sent if each in certain[end.local] or each in waited_for]
    if not (connection.client.has("A") and connection.server.has("SA")):
        connection.client.sent = list(_without_repeated_syns(connection))


def _unseen_fin(connection: Connection) -> Sent | None:
    """The FIN of a client that no look has shown; else None."""
    fins = [each for each in connection.client.sent if each.word == "FIN"]
    return fins[0] if fins and not connection.client.holders else None


def _without_repeated_syns(connection: Connection) -> Iterator[Sent]:
    """The client's segments without retransmitted SYNs, except after an answer: a challenge ACK causes a new SYN."""
    heard = [each.at for each in connection.server.sent]
    before = None
    for each in connection.client.sent:
        if not (before and before.word == each.word == "S" and not any(before.at < at < each.at for at in heard)):
            yield each
        before = each


def _is_the_kernels(sent: Sent) -> bool:
    """Whether the kernel sends it at once, whatever the processes do: a part of the handshake, or an answer."""
    return sent.word in ("S", "SA", "A") or sent.segment.flags == "R"


def _was_waited_for(sent: Sent, answer: Sent) -> bool:
    """Whether it is data that a certain answer of the peer shows to have been waited for. (A FIN need not be.)"""
    if sent.word != "data" or answer.word not in ("data", "FIN", "RST") or answer.at < sent.at:
        return False
    return answer.acknowledges(sent) or answer.segment.flags == "R"


def _merged(connection: Connection) -> str:
    """The words of both ends in one order: each end's in its own order, and an acknowledgement after what it covers."""
    client, server = list(connection.client.sent), list(connection.server.sent)
    words = []
    while client or server:
        if client and not (server and _comes_after(client[0], server[0])):
            words.append(f"→{client.pop(0).word}")
        else:
            words.append(f"←{server.pop(0).word}")
    if _finishes_in_any_order(connection):
        words = [word for word in words if not word.endswith("FIN")] + ["↔FIN"]
    return " ".join(words)


def _comes_after(mine: Sent, theirs: Sent) -> bool:
    """Whether `mine` comes after `theirs`: by the capture for the kernel's answers and RSTs, else by the ack number."""
    if mine.word in ("S", "SA", "A", "RST") or theirs.word == "RST":
        return theirs.at < mine.at
    return mine.acknowledges(theirs)


def _finishes_in_any_order(connection: Connection) -> bool:
    if not (connection.client.has("FIN") and connection.server.has("FIN")):
        return False
    for end, peer in connection.ends():
        fin = next(each for each in end.sent if each.word == "FIN")
        at, name = max((step for step in end.steps if step[0] < fin.at), default=(0, ""))
        if name.startswith("blocked in") and any(each.word == "data" and at < each.at < fin.at for each in peer.sent):
            return True
    return False


def _left(connection: Connection) -> Iterator[str]:
    for end, _ in connection.ends():
        for row in connection.left:
            if row.local == end.local and row.state in _LASTING and end.holders:
                yield f"{HOSTS.get(row.local[0])} {row.state}{'' if row.inode else ' without owner'}"
