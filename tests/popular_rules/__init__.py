"""The rules by which people find TCP faults today, as functions of two snapshots. They are scored by tests/popular.py.

One module for each origin cites the sources of its rules: repository, path, commit, date. NOTE is printed below its
table. What a rule measures, its threshold and what it claims are its origin's; no code is copied. A rule becomes a
function of two looks, always to its advantage:

- A rate per second, and an average over a window, is the growth between the two looks, divided by the time between
  them. So a long window is assumed to be as bad throughout as in the part that was looked at.
- A condition that must last (Prometheus's `for`, netdata's `delay`) is assumed to last.
- The lower of two levels (a warning) counts; no alarm was raised before, so hysteresis plays no part.
- A number since boot is read from the second look.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.diagnose.signatures.common import growth
from harness.diagnose.snapshot import Snapshot
from harness.evidence.sockets import State

Measure = Callable[[Snapshot, Snapshot], float | None]
"""What a rule compares with its threshold; None if the snapshots lack it."""

LOST_SEGMENTS = ("last_segment_lost", "third_ack_lost", "waits_as_configured")
"""The lessons whose fault is a segment that does not arrive."""

RESETS = (
    "close_with_unread_data", "keep_alive_race", "keep_alive_race_through_a_proxy", "linger_zero_truncates",
    "listener_closed_with_a_queue", "mariadb_meets_a_prober", "nginx_lingering_close", "reset_before_accept",
    "reset_forgets_old_segments", "response_lost_to_reset", "server_dies",
)  # fmt: skip
"""The lessons whose fault is a reset that breaks a client or a server."""

SYN_QUEUE_FULL = ("cookies_forget_options", "queues_as_configured")
STORIES_WITH_A_FULL_SYN_QUEUE = (
    "cookies_forget_options.test_control_timestamps*", "cookies_forget_options.test_the_server_keeps*",
    "cookies_forget_options.test_without*", "queues_as_configured.test_syncookies*",
    "queues_as_configured.test_without_cookies*",
)  # fmt: skip
"""Not those of third_ack_lost: with tcp_syncookies = 2 every SYN is answered with a cookie, and counted as if the queue
were full (tcp_conn_request, tcp_syn_flood_action)."""

STORIES_WITH_A_FULL_ACCEPT_QUEUE = (
    "socket_leaks_into_a_child.*connect_given_up*", "too_many_open_files.test_control_with_fds_again*",
)  # fmt: skip
"""They are about something else, or end with the cure, but a full queue drops a SYN on the way."""

WINDOW_CLOSED = ("reader_stops", "fin_wait1_made_visible")
LEAKED_CLOSE_WAITS = ("close_wait_piles_up", "close_wait_meets_reused_port", "minefield_of_close_waits")
PORTS_USED_UP = ("time_wait_port_exhaustion", "time_wait_at_the_real_size")


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a rule: a repository, the commit that was read and its date, and the path in it."""

    repository: str
    commit: str
    date: str
    path: str

    @property
    def place(self) -> str:
        """The repository as it was when it was read."""
        return (
            f"{self.repository} at {self.commit} ({self.date})" if self.commit else f"{self.repository} ({self.date})"
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `claims`: the lessons whose fault it is meant to see, by its own description.

    `scales`: its number grows with the size of the fault, and its threshold is meant for a larger machine than a lab.
    `right_in`: stories without a fault of these lessons, in which its alarm is right all the same; * is any text.
    `timed`: its number depends on how long a story takes, as timers expire meanwhile; its score has no numbers then.
    `unplayed`: why it cannot be scored by the lab's stories; empty if it can.
    """

    name: str
    source: Source
    meaning: str
    """What an alarm means, by its own description."""

    claims: tuple[str, ...]
    measure: Measure
    threshold: float
    unit: str
    compare: Callable[[Any, Any], bool] = operator.gt
    scales: bool = True
    right_in: tuple[str, ...] = ()
    timed: bool = False
    unplayed: str = ""

    def raises(self, before: Snapshot, after: Snapshot) -> bool:
        """Whether it raises an alarm, as it is written."""
        measured = self.measure(before, after)
        return measured is not None and self.compare(measured, self.threshold)

    def would_raise(self, before: Snapshot, after: Snapshot) -> bool:
        """Whether it would raise an alarm if each event happened as often as its threshold requires."""
        measured = self.measure(before, after)
        return measured is not None and measured > 0 if self.scales else self.raises(before, after)

    @property
    def condition(self) -> str:
        """When it raises an alarm, in words."""
        words = {operator.gt: "more than", operator.ge: "at least", operator.lt: "fewer than"}[self.compare]
        return f"{words} {self.threshold:,g} {self.unit}"


def per_second(*counters: str) -> Measure:
    """The growth of counters per second between the two looks."""

    def measure(before: Snapshot, after: Snapshot) -> float:
        return sum(growth(name, before, after) for name in counters) / (after.time_s - before.time_s)

    return measure


def growth_of(counter: str) -> Measure:
    """The growth of a counter between the two looks."""

    def measure(before: Snapshot, after: Snapshot) -> float:
        return growth(counter, before, after)

    return measure


def since_boot(counter: str) -> Measure:
    """A counter's value: what has happened since boot, or since the network namespace was made."""

    def measure(before: Snapshot, after: Snapshot) -> float:
        del before
        return after.counters.get(counter, 0)

    return measure


def percent(part: str, whole: str) -> Measure:
    """One counter's value in percent of another's."""

    def measure(before: Snapshot, after: Snapshot) -> float:
        del before
        total = after.counters.get(whole, 0)
        return round(100 * after.counters.get(part, 0) / total, 2) if total else 0

    return measure


def in_state(state: State) -> Measure:
    """The number of sockets in a state, at the second look."""

    def measure(before: Snapshot, after: Snapshot) -> float:
        del before
        return sum(row.state == state for row in after.sockets)

    return measure


def conntrack_entries(before: Snapshot, after: Snapshot) -> float | None:
    """The percentage of the connection tracking table that is in use; None if conntrack is not loaded."""
    del before
    most = int(after.sysctls.get("net.netfilter.nf_conntrack_max") or 0)
    return 100 * int(after.sysctls.get("net.netfilter.nf_conntrack_count") or 0) / most if most else None
