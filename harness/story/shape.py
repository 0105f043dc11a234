"""What is certain of a story, in a few lines: the same each time that it is played, on an idle machine and a busy one.

First the steps, what the lab changed and the names of findings, in order; then each connection, in a line: → sent by
its client, ← to it. What no play can promise is not told, and neither is a time, a port or a number:

- A later pure ACK: it is delayed, or rides on data (tcp_send_delayed_ack). Told are the handshake's, and a challenge.
- How data was cut, and what was repeated: a stall is enough. Of a SYN it is told, where the handshake came about by it,
  but not how often; an end that stays in SYN_SENT or SYN_RECV repeats for as long as the story takes.
- What came after the last step, and what an end did after the last step of whoever holds it: a server that runs on by
  itself closes sooner or later. Its data is told where the other end acknowledged it with more than an ACK.
- RST in answer to a late ACK (TIME_WAIT answers a stray one with another, RFC 1337); or to a FIN, after one's own, as
  FIN_WAIT2 may be over or not (tcp_timewait_state_process).
- What came after the FIN of a client that came and went between two looks. It has closed in one go, and where the ACK
  comes in the middle of close(), FIN_WAIT2 ends with RST ("Bad case" in tcp_rcv_state_process, tcp_keepalive_timer).
- The order of two FINs where data has just woken one of the ends: "↔FIN".
- States that have a timer, or are passed through. Where a connection stands at the end, ESTABLISHED and CLOSE_WAIT are
  told; not of a real program's end, which it may close at any moment.
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
"""What the watch enters of a burst (harness/lab/watch.py): only root has a tracepoint, and the lab changed nothing."""

_LASTING = (State.ESTABLISHED, State.CLOSE_WAIT)


def shape(timeline: Timeline) -> list[str]:
    """One line a step, a change, a finding and a connection; of more than 40 connections, how many are alike.

    Without looks at each step (`Observer.looks_closely`) it knows less, as nobody is known to hold anything.
    """
    events = list(timeline.entered())
    last = max((at for at, event in enumerate(events) if isinstance(event, Step)), default=-1)
    events = events[: last + 2]  # with the look that follows the step
    found = connections(events)
    lines = [_told(connection) for connection in found]
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
    """Without the port that a worker's servers have, and with the host alone that a made-up segment was for."""
    told = re.sub(r"^(provoked: \w+ to [^:]+):\d+$", r"\1", text)
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


def _told(connection: Connection) -> str:
    """Its opener, what is certain of its segments, and where it stands at the end."""
    _keep_what_is_certain(connection)
    opener = " or ".join(sorted(map(_name, connection.client.holders))) or "somebody"
    left = "" if _unseen_fin(connection) else "".join(f"; {each}" for each in _left(connection))
    return f"{opener} to {HOSTS.get(connection.server.local[0])}: {_merged(connection)}{left}"


def _keep_what_is_certain(connection: Connection) -> None:
    certain = {}
    for end, _ in connection.ends():
        # A client that no look has seen came and went between two steps.
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
    """That of a client that no look has shown."""
    fins = [each for each in connection.client.sent if each.word == "FIN"]
    return fins[0] if fins and not connection.client.holders else None


def _without_repeated_syns(connection: Connection) -> Iterator[Sent]:
    """Those after an answer stay: a challenge makes a SYN come again at once."""
    heard = [each.at for each in connection.server.sent]
    before = None
    for each in connection.client.sent:
        if not (before and before.word == each.word == "S" and not any(before.at < at < each.at for at in heard)):
            yield each
        before = each


def _is_the_kernels(sent: Sent) -> bool:
    """Whether it comes at once, whatever the processes do: a part of the handshake, or an answer to what is told."""
    return sent.word in ("S", "SA", "A") or sent.segment.flags == "R"


def _was_waited_for(sent: Sent, answer: Sent) -> bool:
    """Data, by what is certain of the other end. (A FIN is not: who has heard the answer need not wait for the end.)"""
    if sent.word != "data" or answer.word not in ("data", "FIN", "RST") or answer.at < sent.at:
        return False
    return answer.acknowledges(sent) or answer.segment.flags == "R"


def _merged(connection: Connection) -> str:
    """Both ends' words in one order: an end's own, and what acknowledges after what it acknowledges."""
    client, server = list(connection.client.sent), list(connection.server.sent)
    told = []
    while client or server:
        if client and not (server and _comes_after(client[0], server[0])):
            told.append(f"→{client.pop(0).word}")
        else:
            told.append(f"←{server.pop(0).word}")
    if _finishes_in_any_order(connection):
        told = [word for word in told if not word.endswith("FIN")] + ["↔FIN"]
    return " ".join(told)


def _comes_after(mine: Sent, theirs: Sent) -> bool:
    """By what it acknowledges; of what the kernel answers at once, and of what ends everything, by the capture."""
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
