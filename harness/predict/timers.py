"""Predicted durations under given sysctls: pure functions, seconds in and out, each with its source.

A kernel timer may expire late, but never early. So a prediction is an interval: its lower end is exact, and its upper
end is later by the granularity of the timer wheel.
"""

import math
import time
from dataclasses import dataclass

TIMEOUT_INIT_S = 1.0
"""Initial RTO (include/net/tcp.h, TCP_TIMEOUT_INIT; RFC 6298, section 2.1)."""

TIME_WAIT_S = 60.0
"""include/net/tcp.h, TCP_TIMEWAIT_LEN: a constant, which no sysctl shortens (tcp_minisocks.c, tcp_time_wait)."""

RTO_MAX_S = 120.0
"""include/net/tcp.h, TCP_RTO_MAX_SEC: the maximum RTO if net.ipv4.tcp_rto_max_ms does not exist."""

RTO_MIN_S = 0.2
"""include/net/tcp.h, TCP_RTO_MIN: a connection's RTO is this plus its round-trip time."""

_ISN_TICK_NS, _CLOCK_ERROR_NS = 64, 1_000_000
_CLOCK_MONOTONIC_COARSE = 6  # include/uapi/linux/time.h; Python's time module has no name for it
_SLOTS_A_LEVEL = 64
_LEVEL_SHIFT = 3


@dataclass(frozen=True, slots=True)
class Interval:
    """The time in which a timer's effect must occur, in seconds, both ends included."""

    at_least_s: float
    at_most_s: float

    def with_allowance(self, allowance_s: float) -> "Interval":
        """The interval with its upper end extended by the time that the scheduler may take to wake a process."""
        return Interval(self.at_least_s, self.at_most_s + allowance_s)

    def __contains__(self, seconds: float) -> bool:
        return self.at_least_s <= seconds <= self.at_most_s

    def __str__(self) -> str:
        return f"{self.at_least_s:.3f} to {self.at_most_s:.3f} s"


def tick_s() -> float:
    """One jiffy of this kernel, 1 / CONFIG_HZ, in seconds: the resolution of the clock that advances at each tick."""
    return time.clock_getres(_CLOCK_MONOTONIC_COARSE)


def wheel_granularity_s(timer_s: float, tick_s: float) -> float:
    """How late a timer of this length may expire (kernel/time/timer.c: the table above LVL_CLK_SHIFT, calc_index).

    Level n of the wheel holds 64 slots of 8^n jiffies, and an expiry is rounded up by a whole slot.
    """
    jiffies = timer_s / tick_s
    level = 0
    while jiffies >= (_SLOTS_A_LEVEL - 1) << (_LEVEL_SHIFT * level):
        level += 1
    return tick_s * (1 << (_LEVEL_SHIFT * level))


def one_timer(timer_s: float, tick_s: float) -> Interval:
    """When the effect of a single timer occurs."""
    return timers_in_turn([timer_s], tick_s)


def timers_in_turn(timers_s: list[float], tick_s: float) -> Interval:
    """When the effect of the last timer occurs, if each one starts when the one before it expires."""
    total_s = sum(timers_s)
    return Interval(total_s, total_s + sum(wheel_granularity_s(each, tick_s) for each in timers_s))


def quick_syn_retry_s(tick_s: float) -> float:
    """The wait before the first retransmitted SYN if the SYN was answered by an ACK of an older connection: 2 jiffies.

    net/ipv4/tcp_input.c, tcp_rcv_synsent_state_process, and TCP_TIMEOUT_MIN (commit 9603d47bad46, "tcp: Reduce SYN
    resend delay if a suspicous ACK is received"; before it, the initial RTO).
    """
    return 2 * tick_s


def quick_syn_retry(tick_s: float) -> Interval:
    """The same wait, as measured by another clock.

    The timer counts ticks from `jiffies`, which a busy host updates late (kernel/time/tick-sched.c,
    tick_do_update_jiffies64). For a wait of only two ticks, this matters: measurements were short by less than a tick.
    """
    wait_s = quick_syn_retry_s(tick_s)
    return Interval(wait_s - tick_s, one_timer(wait_s, tick_s).at_most_s)


def syn_timers_s(
    syn_retries: int, linear_timeouts: int, rto_max_s: float = RTO_MAX_S, first_s: float = TIMEOUT_INIT_S
) -> list[float]:
    """The waits of an unanswered connect(), in seconds: one before each retransmitted SYN, the last before ETIMEDOUT.

    `first_s` is only the first wait, which a challenge ACK may shorten (quick_syn_retry_s). The RTO, the number of SYNs
    and the time limit of the whole schedule stay the same.

    net/ipv4/tcp_timer.c. tcp_retransmit_timer doubles the RTO after more than tcp_syn_linear_timeouts timeouts (commit
    ccce324dabfe, "tcp: make the first N SYN RTO backoffs linear"). tcp_write_timeout ends the schedule at the first
    timeout at which either tcp_syn_retries + tcp_syn_linear_timeouts SYNs were retransmitted, or (after at least one
    retransmission) the time of a purely exponential schedule of tcp_syn_retries has passed (tcp_model_timeout).
    """
    model_s = sum(backoff_s(TIMEOUT_INIT_S, syn_retries + 1, rto_max_s))
    waits: list[float] = []
    rto_s = TIMEOUT_INIT_S
    while True:
        waits.append(rto_s if waits else first_s)
        repeated = len(waits) - 1
        if repeated >= syn_retries + linear_timeouts or (repeated and sum(waits) >= model_s):
            return waits
        if len(waits) > linear_timeouts:
            rto_s = min(2 * rto_s, rto_max_s)


def connect_timeout(
    syn_retries: int, linear_timeouts: int, rto_max_s: float, tick_s: float, first_s: float = TIMEOUT_INIT_S
) -> Interval:
    """How long an unanswered connect() takes until ETIMEDOUT; `first_s` is shorter after a challenge ACK."""
    return timers_in_turn(syn_timers_s(syn_retries, linear_timeouts, rto_max_s, first_s), tick_s)


def backoff_s(first_s: float, count: int, rto_max_s: float = RTO_MAX_S) -> list[float]:
    """`count` waits, in seconds, that double from `first_s` on, up to `rto_max_s`."""
    return [min(first_s * 2**n, rto_max_s) for n in range(count)]


def fin_wait2(fin_timeout: int, tick_s: float, rto_s: float = RTO_MIN_S) -> Interval:
    """How long an orphan stays in FIN_WAIT2 (net/ipv4/tcp.c, __tcp_close: tcp_fin_time, then tcp_time_wait).

    Up to TCP_TIMEWAIT_LEN it is a minisock with one timer. Above that, the full socket's keepalive timer runs for the
    excess, and then a minisock's timer for the excess again (tcp_keepalive_timer): at 61 s it lasts 2 s. At 0 or below
    it still lasts 3.5 times the connection's RTO (include/net/tcp.h, tcp_fin_time).
    """
    life_s = max(float(fin_timeout), 3.5 * rto_s)
    excess_s = life_s - TIME_WAIT_S
    return timers_in_turn([excess_s, excess_s] if excess_s > 0 else [life_s], tick_s)


def syn_recv(synack_retries: int, rto_max_s: float, tick_s: float) -> Interval:
    """How long SYN_RECV lasts if the SYN-ACK is never acknowledged.

    net/ipv4/inet_connection_sock.c, reqsk_timer_handler: the SYN-ACK is retransmitted with a doubling timeout, and the
    request is dropped at the first expiry after tcp_synack_retries retransmissions. `rto_max_s`: tcp_rto_max_ms limits
    the timeout since commit 1e9d3005e02c ("tcp: Apply max RTO to non-TFO SYN+ACK."), RTO_MAX_S before it.
    """
    return timers_in_turn(backoff_s(TIMEOUT_INIT_S, synack_retries + 1, rto_max_s), tick_s)


def fin_wait1_orphan(
    orphan_retries: int, rto_s: float, rto_max_s: float, tick_s: float, *, loss_probe: bool = True
) -> Interval:
    """How long an orphan lasts, counted from its FIN, sent alone at an RTO of `rto_s`, that is never acknowledged.

    Like unacknowledged_data(), with tcp_orphan_retries. If that is 0, the kernel takes 8, and 0 once the RTO is at its
    maximum.
    """
    retries = orphan_retries or 8
    return _until_given_up(retries, rto_s, rto_max_s, tick_s, loss_probe, stops_at_rto_max=orphan_retries == 0)


def unacknowledged_data(
    retries2: int, rto_s: float, rto_max_s: float, tick_s: float, *, loss_probe: bool = True
) -> Interval:
    """The time from a segment, sent alone at an RTO of `rto_s`, that is never acknowledged, to ETIMEDOUT.

    The first retransmission is a tail loss probe (`loss_probe`: SACK agreed on, tcp_early_retrans 3 or 4). It is sent
    after min(2 SRTT + RTO_MIN, RTO), and restarts the RTO without doubling it: net/ipv4/tcp_output.c,
    tcp_schedule_loss_probe and tcp_send_loss_probe. Then net/ipv4/tcp_timer.c, tcp_write_timeout: it ends at the first
    timeout at which the time since the first retransmission by a timeout (not by the probe) reaches
    tcp_model_timeout(tcp_retries2, RTO_MIN).
    """
    return _until_given_up(retries2, rto_s, rto_max_s, tick_s, loss_probe, stops_at_rto_max=False)


def user_timeout(timeout_s: float, rto_s: float, tick_s: float, *, loss_probe: bool = True) -> Interval:
    """The same with TCP_USER_TIMEOUT, which replaces the time from tcp_retries2, whether shorter or longer.

    net/ipv4/tcp_timer.c, tcp_write_timeout (retransmits_timed_out) and tcp_clamp_rto_to_user_timeout: it also counts
    from the first retransmission by a timeout. Both read a clock of whole milliseconds.
    """
    early_s, before = _until_retransmitted(rto_s, tick_s, loss_probe)
    rest = one_timer(timeout_s, tick_s)
    return Interval(before.at_least_s - early_s + rest.at_least_s - 0.001, before.at_most_s + rest.at_most_s + tick_s)


def _until_retransmitted(rto_s: float, tick_s: float, loss_probe: bool) -> tuple[float, Interval]:
    """How much earlier than the RTO the probe may come, and the time until the first retransmission by a timeout."""
    probe_early_s = max(0.0, rto_s - RTO_MIN_S) if loss_probe else 0.0
    return probe_early_s, timers_in_turn([rto_s] * (1 + loss_probe), tick_s)


def _until_given_up(
    retries: int, rto_s: float, rto_max_s: float, tick_s: float, loss_probe: bool, *, stops_at_rto_max: bool
) -> Interval:
    """The time until tcp_write_timeout gives up; if `stops_at_rto_max`, at the latest when the RTO is at its limit."""
    model_s = sum(backoff_s(RTO_MIN_S, retries + 1, rto_max_s))
    early_s, before = _until_retransmitted(rto_s, tick_s, loss_probe)
    since_first: list[float] = []
    soonest_s = math.inf
    while True:
        since_first.append(min(2 * (since_first or [rto_s])[-1], rto_max_s))
        if stops_at_rto_max and since_first[-1] == rto_max_s:
            model_s = 0.0
        elapsed = timers_in_turn(since_first, tick_s)
        if elapsed.at_most_s >= model_s:  # late timers alone may make it give up a round earlier
            soonest_s = min(soonest_s, max(elapsed.at_least_s, model_s))
        if elapsed.at_least_s >= model_s:
            return Interval(before.at_least_s - early_s + soonest_s, before.at_most_s + elapsed.at_most_s)


def keepalive(time_s: float, interval_s: float, probes: int, tick_s: float) -> Interval:
    """The time from the last segment of a peer that has become silent to ETIMEDOUT, with SO_KEEPALIVE.

    net/ipv4/tcp_timer.c, tcp_keepalive_timer: the first probe is sent after tcp_keepalive_time, each further one
    tcp_keepalive_intvl later, and the end (with an RST) comes one more interval after the last. With no probes, the end
    comes when the first probe would.
    """
    return timers_in_turn([time_s] + [interval_s] * probes, tick_s)


def initial_numbers_by_clock(at_least_ns: int, at_most_ns: int) -> range:
    """The possible differences between two initial sequence numbers of the same addresses and ports, by time apart.

    net/core/secure_seq.c, seq_scale: it grows by 1 every 64 ns of CLOCK_REALTIME. The millisecond allowed here is more
    than the uncertainty between that clock and the lab's.

    A server that accepts a SYN in TIME_WAIT chooses tw_snd_nxt + 65537 instead (net/ipv4/tcp_minisocks.c,
    tcp_timewait_state_process), and sends it since commit 41eecbd712b7 ("tcp: replace TCP_SKB_CB(skb)->tcp_tw_isn with
    a per-cpu field", Linux 6.10). Before, that number was lost, and the clock determined it.
    """
    return range((at_least_ns - _CLOCK_ERROR_NS) // _ISN_TICK_NS, (at_most_ns + _CLOCK_ERROR_NS) // _ISN_TICK_NS + 1)


def time_wait_taken_over(delay_ms: int | None) -> Interval:
    """How old a TIME_WAIT must be for its port to be reused: more than tcp_tw_reuse_delay, in whole milliseconds.

    `delay_ms` is None if the kernel has no such key: then a second or less, by a clock of whole seconds (before commit
    ca6a6f93867a, "tcp: Add sysctl to configure TIME-WAIT reuse delay").
    """
    return Interval(0.0, 2.0) if delay_ms is None else Interval(delay_ms / 1000, delay_ms / 1000 + 0.002)
