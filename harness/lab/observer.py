"""What a test may see of a lab: a verb looks once, an expect_ verb polls to a deadline."""

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from harness.errors import ExpectationFailed, Inconclusive, LabError
from harness.evidence import counters, holders, memory
from harness.evidence.conntrack import Tracked
from harness.evidence.icmp import IcmpError
from harness.evidence.sockets import Endpoint, Socket, State
from harness.evidence.wire import Segment
from harness.lab import expect
from harness.lab.nursery import LabKeeper
from harness.lab.program import Move
from harness.lab.recorder import Recorder
from harness.lab.watch import Watch
from harness.network import addresses
from harness.predict import timers
from harness.story.timeline import Counted, Duration, Moment, Timeline

__tracebackhide__ = True

Since = str | Moment | None
_LOOKS_APART_S = 0.02

_LONGEST_PAUSE_S, _DENSE_FROM_S, _PAUSE_WHILE_DUE_S = 0.25, 0.05, 0.005
"""How often to look at a state that must last: at first; how long before its end the looks become dense; from the
earliest correct end on, which for a timer of a minute may be 2 s early or late (timers.wheel_granularity_s)."""


class Observer(Recorder):
    """What a test may see. Hosts are "client", "server" and "other server"; times are in seconds.

    `port` selects a connection: any port that only this connection uses. Without it, there must be exactly one.
    """

    before_move: Callable[[Move, list[Socket]], None] | None = None
    """Called with the sockets before an actor is resumed; it may wait for the user."""

    def __init__(self, keeper: LabKeeper, watch: Watch, timeline: Timeline, allowance_s: float) -> None:
        # First: if it fails, nothing is open yet.
        self._counters_before = {name: counters.texts(place.pid) for name, place in keeper.places.items()}
        super().__init__(keeper, watch, timeline, allowance_s)

    def about_to_move(self, move: Move) -> None:
        """Call before_move, if there is one: it shows the sockets to a user who steps by hand, and waits."""
        if self.before_move:
            self.before_move(move, self.sockets())

    def segments(
        self, since: Since = None, until: Since = None, port: int | None = None, *, arrived: bool = False
    ) -> list[Segment]:
        """The segments between two steps (or moments), in order. Inconclusive if any segment was lost by the capture.

        They are as their senders sent them; with `arrived`, as a router passed them on, without those that it did not.
        """
        self._watch.settle()
        if lost := self._watch.lost():
            raise Inconclusive(f"{lost} segments were lost, so no list is complete. Hint: run it again with less load")
        among = self.timeline.arrivals if arrived and self.timeline.routed else self.timeline.segments
        found = among(self._moment(since), self._moment(until))
        return [segment for segment in found if port is None or port in segment.ports]

    def wire(
        self, since: Since = None, until: Since = None, port: int | None = None, *, arrived: bool = False
    ) -> list[str]:
        """The same segments as sender and flags (without ECN's): ["client S", "server SA", "client A"]."""
        return [
            f"{addresses.name_of(segment.source[0])} {segment.flags}"
            for segment in self.segments(since, until, port, arrived=arrived)
        ]

    def lost(self, since: Since = None, until: Since = None, port: int | None = None) -> list[Segment]:
        """Those of segments() that a router did not pass on."""
        sent = self.segments(since, until, port)
        lost = self.timeline.lost()
        return [segment for segment in sent if id(segment) in lost]

    def icmp_errors(self, since: Since = None, until: Since = None) -> list[IcmpError]:
        """The ICMP errors about segments that arrived at hosts between two steps (or moments), in order."""
        self.segments()  # complete, or Inconclusive
        return self.timeline.icmp_errors(self._moment(since), self._moment(until))

    def expect_wire(self, expected: list[str], since: Since = None, port: int | None = None) -> None:
        """Wait until the wire shows exactly this since a step: for segments that a timer sends (a retransmission)."""
        expect.poll("the wire", expected, lambda: self.wire(since, port=port), self.deadline_s)

    def _moment(self, since: Since) -> Moment | None:
        return self.timeline.find(since) if isinstance(since, str) else since

    def gap_s(self, first: Moment | Segment, second: Moment | Segment) -> float:
        """Seconds from one segment (or step) to another, negative if the second one came first."""
        return (second.time_ns - first.time_ns) / 1e9

    def sockets(self) -> list[Socket]:
        """The whole TCP socket table, once the wire is quiet."""
        self._watch.settle()
        rows = self._socket_table()
        self._watch.looked(rows)
        return rows

    def socket(self, end: str, port: int | None = None) -> Socket | None:
        """One end of a connection as the kernel has it now; None if it has none (CLOSED)."""
        return _row_of(end, port, self.sockets())

    def state(self, end: str, port: int | None = None) -> State:
        """The state of one end; CLOSED if the socket table has no row for it."""
        row = self.socket(end, port)
        return row.state if row else State.CLOSED

    def expect_states(
        self, *, client: str | None = None, server: str | None = None, other_server: str | None = None,
        port: int | None = None, within_s: float | None = None,
    ) -> None:  # fmt: skip
        """Wait until both ends of a connection (or the one given) are in these states in the same look."""
        ends = (("client", client), ("server", server), ("other server", other_server))
        wanted = {end: _state(state) for end, state in ends if state}

        def look() -> dict[str, str]:
            rows = self.sockets()
            return {end: row.state if (row := _row_of(end, port, rows)) else State.CLOSED for end in wanted}

        expect.poll(
            f"the states of the connection{_named(port)}", wanted, look, expect.time_limit_s(within_s, self.deadline_s)
        )

    def expect_socket(self, end: str, port: int | None = None, within_s: float | None = None, **fields: Any) -> Socket:
        """Wait until one end has these values (state, recv_q, send_q, inode, …, as Socket names them)."""

        if unknown := set(fields) - set(Socket.__dataclass_fields__):
            known = ", ".join(Socket.__dataclass_fields__)
            raise LabError(f"a socket has no {', '.join(unknown)}. Hint: use one of {known}")
        rows: list[Socket | None] = []

        def look() -> dict[str, Any] | None:
            rows[:] = [self.socket(end, port)]
            return {name: getattr(rows[0], name) for name in fields} if rows[0] else None

        expect.poll(f"the {end}'s socket{_named(port)}", fields, look, expect.time_limit_s(within_s, self.deadline_s))
        assert rows[0] is not None
        return rows[0]

    def expect(self, what: str, expected: object, look: Callable[[], object], within_s: float | None = None) -> None:
        """Wait until look() returns `expected`: for what no other verb covers. `what` names it in a failure."""
        expect.poll(what, expected, look, expect.time_limit_s(within_s, self.deadline_s))

    def expect_timer(self, end: str, name: str, port: int | None = None) -> None:
        """Wait until the timer of one end's socket is this one (a name of sockets.TIMERS)."""

        def look() -> str | None:
            row = self.socket(end, port)
            return row.timer.name if row else None

        expect.poll(f"the timer of the {end}'s socket{_named(port)}", name, look, self.deadline_s)

    def expect_lifetime(
        self, end: str, state: str, interval: timers.Interval, since: Moment | Segment, port: int | None = None,
        begun_by: Moment | Segment | None = None,
    ) -> None:  # fmt: skip
        """Expect one end to leave `state` within `interval` after `since`, the segment or step that began the state.

        If a call began the state without a segment, it began between `since` and `begun_by`. The time that it lasted is
        recorded as a finding. NotMeasured if the interval is longer than this run waits.
        """
        name = f"the {end}'s {state} lasts"
        self.skip_if_longer_than_max_wait(name, interval)
        beginning_s = (begun_by.time_ns - since.time_ns) / 1e9 if begun_by else 0.0
        allowed = interval.with_allowance(self.allowance_s + beginning_s)

        def passed_s() -> float:
            return (time.monotonic_ns() - since.time_ns) / 1e9

        seen, gone_s, held_s, due_s, pause_s = _state(state), 0.0, 0.0, math.inf, 0.0
        while seen == state and gone_s <= allowed.at_most_s:
            self.wait_for(within_s=pause_s)
            looked_s = passed_s()
            row = self.socket(end, port)
            seen = row.state if row else State.CLOSED
            gone_s = passed_s()
            if row and seen == state:
                # The timer still proves how long the state lasts if the next look is late; the quickest look is best.
                held_s = max(held_s, looked_s + row.timer.expires_s)
                due_s = gone_s + row.timer.expires_s
                pause_s = _pause_s(interval.at_least_s - gone_s, row.timer.expires_s)
        # A look that came too late, on a busy host, does not show when it ended; the last reading of its timer does.
        took_s = gone_s if gone_s in allowed else min(gone_s, due_s)
        self.finding(name, Duration(took_s, allowed))
        if seen == state or gone_s < interval.at_least_s or took_s > allowed.at_most_s:
            raise expect.failure(f"the {end}'s {state} ends{_named(port)}", f"after {allowed}", seen, gone_s)
        if held_s < interval.at_least_s - _LOOKS_APART_S:
            raise Inconclusive(
                f"no look came between {held_s:.3f} and {gone_s:.3f} s, so {state} may have ended early. "
                "Hint: run it again with less load"
            )

    def conntrack(self) -> list[Tracked]:
        """The TCP connections that the router tracks, without those whose time is over.

        LabUnavailable without ctnetlink. A router tracks nothing until a rule needs it (nf_ct_netns_get).
        """
        self._watch.settle()
        tracked: list[Tracked] = self._keeper.ask("conntrack")
        return tracked

    def expect_table(self, within_s: float | None = None, **states: int) -> None:
        """Wait until the socket table has exactly these numbers of sockets in each state: LISTEN=1, CLOSE_WAIT=300."""
        wanted = {str(_state(state)): count for state, count in states.items()}

        def look() -> dict[str, int]:
            return dict(Counter(str(row.state) for row in self.sockets()))

        expect.poll("the sockets in each state", wanted, look, expect.time_limit_s(within_s, self.deadline_s))

    def listener(self, end: str = "server") -> Socket:
        """The end's one listener. LabError if it has none, or several."""
        listeners = self._listeners(end)
        if len(listeners) != 1:
            raise LabError(f"{len(listeners)} listeners at the {end}. Hint: ask while there is exactly one")
        return listeners[0]

    def accept_queue(self, end: str = "server") -> int:
        """The number of connections in the accept queue of the end's one listener."""
        return self.listener(end).recv_q

    def holders(self, end: str, port: int | None = None) -> list[str]:
        """The programs (or roles) that have this end's socket open, sorted; empty if no process has it open."""
        row = self.socket(end, port)
        return self._programs_with(row) if row else []

    def expect_holders(self, end: str, programs: list[str], port: int | None = None) -> None:
        """Wait until these programs (sorted) have this end's socket open.

        exec() closes fds before it sets the new name (fs/exec.c, begin_new_exec: do_close_on_exec(), later
        __set_task_comm()), so a single look may find the old name.
        """
        expect.poll(
            f"the holders of the {end}'s socket{_named(port)}",
            programs,
            lambda: self.holders(end, port),
            self.deadline_s,
        )

    def expect_listener_holders(self, programs: list[str], end: str = "server") -> None:
        """Wait until these programs (sorted) have the end's listeners open; [] if there is no listener."""
        expect.poll(
            f"the holders of the {end}'s listener",
            programs,
            lambda: self._programs_with(*self._listeners(end)),
            self.deadline_s,
        )

    def _listeners(self, end: str) -> list[Socket]:
        _check_name(end)
        return [row for row in self.sockets() if row.state == State.LISTEN and _is_at(end, row.local)]

    def _programs_with(self, *rows: Socket) -> list[str]:
        inodes = {row.inode for row in rows} - {0}
        return sorted(holder.program for holder in holders.read(self._keeper.pid) if holder.inode in inodes)

    def path(self, end: str, port: int | None = None) -> list[str]:
        """The states that one end went through, in order, as its segments imply them (evidence/inferred.py)."""
        _check_name(end)
        self.segments()
        changes = [
            change
            for change in self.timeline.transitions()
            if _is_at(end, change.local) and port in (None, change.local[1], change.remote[1])
        ]
        return [change.new for change in changes]

    def counter(self, name: str, on: str = "") -> int:
        """How much a counter (named as by nstat) has grown since the lab was ready. LabError for an unknown name.

        `on`: of this host; otherwise of all hosts together. The kernel lists some counters only once they are not 0
        (IcmpMsgInType3): they are taken to have begun at 0.
        """
        self._watch.settle()
        grown = self._grown(on)
        if name not in grown:
            raise LabError(f"this kernel has no counter {name}. Hint: `nstat -azs` lists the names")
        return grown[name]

    def count(self) -> None:
        """Record the TcpExt counters that have changed, and by how much."""
        changed = tuple((name, by) for name, by in self._grown().items() if by and name.startswith("TcpExt"))
        self.timeline.add(Counted(time.monotonic_ns(), changed))

    def _grown(self, on: str = "") -> dict[str, int]:
        grown: Counter[str] = Counter()
        asked = self._keeper.place_of(on) if on else None
        for name, place in self._keeper.places.items():
            if asked in (None, place):
                now = counters.numbers(counters.texts(place.pid))
                before = self._baseline[name]
                grown.update({counter: value - before.get(counter, 0) for counter, value in now.items()})
        return grown

    @cached_property
    def _baseline(self) -> dict[str, dict[str, int]]:
        return {name: counters.numbers(texts) for name, texts in self._counters_before.items()}

    def sockstat(self, name: str, on: str = "client") -> int:
        """One number of /proc/net/sockstat, for example "TCP tw" or "TCP orphan". LabError for an unknown name."""
        now = memory.sockstat(self._keeper.place_of(on).pid)
        if name not in now:
            raise LabError(f"sockstat has no {name!r}. Hint: use one of {', '.join(now)}")
        return now[name]

    def slab(self, name: str) -> memory.Slab | None:
        """A slab cache ("tw_sock_TCP") of the whole machine; None if only root may read it."""
        return memory.slab(name)

    def expect_duration(self, what: str, seconds: float, interval: timers.Interval) -> None:
        """Record a time as a finding, and expect it in the interval, whose upper end gets the scheduling allowance."""
        allowed = interval.with_allowance(self.allowance_s)
        self.finding(what, Duration(seconds, allowed))
        if seconds not in allowed:
            raise ExpectationFailed(f"{what}\n  expected:  {allowed}\n  last seen: {seconds:.3f} s")

    def evidence(self) -> tuple[int, int]:
        """The numbers of segments captured and lost so far; it works during an ACK storm, too."""
        with contextlib.suppress(ExpectationFailed):
            self._watch.settle()
        return self._watch.captured, self._watch.lost()


def _pause_s(to_earliest_s: float, expires_s: float) -> float:
    """Seconds to wait between two looks at a state: until shortly before its timer, or its earliest correct end.

    An end that comes too early is seen at most _LONGEST_PAUSE_S later, and before the earliest correct end.
    """
    if to_earliest_s <= 0:
        return _PAUSE_WHILE_DUE_S
    ahead_s = min(to_earliest_s, expires_s or to_earliest_s)
    return min(max(expect.POLL_S, ahead_s - _DENSE_FROM_S), _LONGEST_PAUSE_S)


def _row_of(end: str, port: int | None, rows: Sequence[Socket]) -> Socket | None:
    _check_name(end)
    found = [
        row
        for row in rows
        if row.state != State.LISTEN and _is_at(end, row.local) and port in (None, row.local[1], row.remote[1])
    ]
    if len(found) > 1:
        which = ", ".join(f"{row.local[1]}→{row.remote[1]} {row.state}" for row in found)
        raise LabError(f"{len(found)} sockets at the {end}: {which}. Hint: select one with port=")
    return found[0] if found else None


def _check_name(end: str) -> None:
    if end not in addresses.ADDRESSES[4]:
        raise LabError(f"no host is called {end!r}. Hint: use one of {', '.join(addresses.ADDRESSES[4])}")


def _is_at(end: str, endpoint: Endpoint) -> bool:
    """Whether an address is that host's, of either family."""
    return addresses.HOSTS.get(endpoint[0]) == end


def _state(name: str) -> State:
    try:
        return State(name)
    except ValueError:
        raise LabError(f"no state is called {name!r}. Hint: use one of {', '.join(State)}") from None


def _named(port: int | None) -> str:
    return f" with port {port}" if port else ""
