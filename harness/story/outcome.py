"""The outcome of a run: a small record for diffs, by which two runs (other sysctls, other kernels) are compared.

Version 1; story/outcome.schema.json describes it in JSON Schema. What differs from run to run is left out or renamed:

- Ports are numbered at each host in the order of their appearance, also in texts ("dport 8003"): "client#1",
  "server#1". So neither a worker's server port nor an ephemeral port makes a difference.
- Sequence numbers count from the connection's SYN, as in the transcript; null: a number from before it.
- States are those that the segments imply (evidence/inferred.py). So they do not depend on the right to trace the
  kernel, and do not reflect segments that a firewall dropped.
- The order is that of the timeline's entries (story/timeline.py), so everything that a step caused comes before it. The
  times (`ms`, since the lab's start) always differ from run to run.
- Earlier looks at the sockets depend on when they were taken, so only the last look is included, without inodes and
  without the remaining time of its timers.
"""

import json
import math
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

from harness.evidence.sockets import Endpoint, Socket
from harness.evidence.transitions import Transition
from harness.evidence.wire import Segment
from harness.network.addresses import name_of
from harness.predict.timers import Interval
from harness.story.paths import Paths
from harness.story.timeline import Change, Counted, Duration, Event, Finding, Look, Step, Timeline, Untried

VERSION = 1

Record = dict[str, Any]

_MOST_ROWS = 1000
"""The most rows of each list; a story at full size has 170,000 segments."""

_LONGEST_TEXT = 200
_PORT = re.compile(r"(?:(?<=port )|(?<=', )|(?<=\w:))\d+(?!\w|\.\d)")
"""A port as nft, Python and people write it; any other equal number may be a count."""


def outcome(timeline: Timeline, *, story: str, verdict: str, kernel: str, profile: str) -> Record:
    """The record of one run, ready for JSON. `verdict`: passed, failed, skipped or inconclusive."""
    events = list(timeline.entered())
    looks = [event for event in events if isinstance(event, Look)]
    sockets = looks[-1].sockets if looks else ()
    names = _Names(events, sockets)
    lists: dict[str, list[Any]] = {
        "timeline": list(_rows(events, timeline, names)),
        "segments": list(_segments(events, names)),
        "sockets": [_socket(row, names) for row in sorted(sockets, key=names.place)],
    }
    return {
        "version": VERSION,
        "story": story,
        "verdict": verdict,
        "kernel": kernel,
        "profile": profile,
        "findings": _findings(events, names),
        "counters": _counters(events),
        **{name: rows[:_MOST_ROWS] for name, rows in lists.items()},
        "left_out": {name: max(0, len(rows) - _MOST_ROWS) for name, rows in lists.items()},
    }


def findings(timeline: Timeline) -> list[Record]:
    """Only the findings, in the form that they have in the outcome."""
    events = list(timeline.entered())
    return _findings(events, _Names(events, ()))


def _findings(events: list[Event], names: "_Names") -> list[Record]:
    found = (event for event in events if isinstance(event, Finding))
    return [{"name": names.text(event.name), "value": _value(event.value, names)} for event in found]


def written(record: Record) -> str:
    """The record as JSON, with a line for each row of a list, so that a diff shows only the rows that changed."""
    return "{\n" + ",\n".join(f" {json.dumps(key)}: {_lines(value)}" for key, value in record.items()) + "\n}\n"


def _lines(value: Any) -> str:
    match value:
        case [_, *_]:
            return "[\n" + ",\n".join(f"  {_line(each)}" for each in value) + "\n ]"
        case dict() if value:
            return "{\n" + ",\n".join(f"  {json.dumps(key)}: {_line(each)}" for key, each in value.items()) + "\n }"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


class _Names:
    """Names for ports, numbered in the order of their appearance: first on the wire, then in the last look."""

    def __init__(self, events: list[Event], sockets: tuple[Socket, ...]) -> None:
        self._numbers: dict[Endpoint, int] = {}
        self._last_number: dict[str, int] = {}
        self._in_texts: dict[str, str] = {}
        for event in events:
            if isinstance(event, Segment):
                self._meet(event.source)
                self._meet(event.destination)
        for row in sorted(sockets, key=lambda row: (row.state, row.local, row.remote)):
            self._meet(row.local)
            self._meet(row.remote)

    def _meet(self, endpoint: Endpoint) -> None:
        host, port = endpoint
        if endpoint in self._numbers or not port:
            return
        self._numbers[endpoint] = self._last_number[host] = self._last_number.get(host, 0) + 1
        self._in_texts.setdefault(str(port), self.of(endpoint))

    def of(self, endpoint: Endpoint) -> str:
        """Host and number; "*" for the far end of a listener."""
        host = name_of(endpoint[0])
        return f"{host}#{self._numbers[endpoint]}" if endpoint in self._numbers else "*"

    def place(self, row: Socket) -> tuple[str, str, int, int]:
        """A sort key for a socket that does not depend on its port numbers."""
        return row.state, row.local[0], self._numbers.get(row.local, 0), self._numbers.get(row.remote, 0)

    def text(self, text: str) -> str:
        """A free text with its ports replaced by their names; shortened, and safe for JSON in UTF-8."""
        named = _PORT.sub(lambda port: self._in_texts.get(port[0], port[0]), text)
        cut = named if len(named) <= _LONGEST_TEXT else named[:_LONGEST_TEXT] + "…"
        return cut.encode(errors="replace").decode()


def _rows(events: list[Event], timeline: Timeline, names: _Names) -> Iterator[Record]:
    changes, paths = deque(timeline.transitions()), timeline.paths()
    for event in events:
        fields = _fields(event, names)
        if fields:
            yield _row(event, timeline.start_ns, *fields)
        while isinstance(event, Segment) and changes and _implies(event, changes[0], paths):
            change = changes.popleft()
            yield _row(change, timeline.start_ns, "state", names.of(change.local), str(change.new))


def _fields(event: Event, names: _Names) -> tuple[str, str, str] | None:
    """The fields kind, who and text of an event's row; None if it has no row."""
    match event:
        case Step():
            detail = f" ({event.detail})" if event.detail else ""
            return "step", event.actor, names.text(f"{event.name}{detail}")
        case Change():
            return "change", "lab", names.text(event.text)
        case Segment():
            length = f" {event.length}" if event.length else ""
            return "segment", names.of(event.source), f"{event.all_flags}{length}"
    return None


def _row(event: Event, start_ns: int, kind: str, who: str, text: str) -> Record:
    return {"ms": round((event.time_ns - start_ns) / 1e6, 3), "kind": kind, "who": who, "text": text}


def _implies(segment: Segment, change: Transition, paths: Paths) -> bool:
    ends = paths.connection(segment.source, segment.destination)
    return change.time_ns == segment.time_ns and paths.connection(change.local, change.remote) == ends


def _segments(events: list[Event], names: _Names) -> Iterator[Record]:
    first: dict[tuple[Endpoint, Endpoint], int] = {}
    for event in events:
        if isinstance(event, Segment):
            forth, back = (event.source, event.destination), (event.destination, event.source)
            if "S" in event.flags or forth not in first:
                first[forth] = event.seq
            yield {
                "from": names.of(event.source),
                "to": names.of(event.destination),
                "flags": event.all_flags,
                "length": event.length,
                "seq": _since(first[forth], event.seq),
                "ack": _since(first.get(back, event.ack), event.ack) if "A" in event.flags else None,
            }


def _since(first: int, number: int) -> int | None:
    """The distance of a sequence number from the first, modulo 2^32; None if it is before the first (RFC 9293)."""
    distance = (number - first) % 2**32
    return distance if distance < 2**31 else None


def _socket(row: Socket, names: _Names) -> Record:
    return {
        "state": str(row.state),
        "local": names.of(row.local),
        "remote": names.of(row.remote),
        "recv_q": row.recv_q,
        "send_q": row.send_q,
        "timer": row.timer.name,
        "owned": row.inode != 0,
    }


def _counters(events: list[Event]) -> dict[str, int]:
    """The counters as last recorded."""
    counted = [event for event in events if isinstance(event, Counted)]
    return dict(sorted(counted[-1].moved)) if counted else {}


Value = bool | float | str | None | dict[str, Any]


def _value(value: object, names: _Names) -> Value:
    """A finding's value for JSON, with ports replaced by their names."""
    plain = _plain(value)
    return names.text(plain) if isinstance(plain, str) else plain


def _ends(interval: Interval) -> dict[str, float]:
    return {"from": round(interval.at_least_s, 6), "to": round(interval.at_most_s, 6)}


def _plain(value: object) -> Value:
    """A finding's value for JSON (which has neither NaN nor tuples): unchanged if possible, else as text.

    A measured time is {seconds, from, to}, with the ends of the interval that it was expected in. A value that was only
    predicted is {predicted, why}, with the ends of its interval if it is a time.
    """
    match value:
        case Duration(seconds, expected):
            return {"seconds": round(seconds, 6), **_ends(expected)}
        case Untried(Interval() as predicted, why):
            return {"predicted": str(predicted), "why": why, **_ends(predicted)}
        case Untried(predicted, why):
            return {"predicted": str(predicted), "why": why}
        case bool() | int() | None:
            return value
        case float() if math.isfinite(value):
            return value
    return str(value)
