"""hotsos's scenarios about TCP. It reads one sosreport, so each of its numbers has grown since the machine was booted.

Left out are those about broken frames and routes, which no story has: checksums, IPReversePathFilter, TCPMinTTLDrop,
PFMemallocDrop, TCPSpuriousRtxHostQueues, and a line of the kernel's log that reports a full conntrack table.
"""

from tests.popular_rules import (
    LOST_SEGMENTS,
    STORIES_WITH_A_FULL_ACCEPT_QUEUE,
    STORIES_WITH_A_FULL_SYN_QUEUE,
    SYN_QUEUE_FULL,
    WINDOW_CLOSED,
    Rule,
    Source,
    percent,
    since_boot,
)
from tests.popular_rules.netdata import MACHINE_WIDE, of_limit

SOURCE = Source(
    "canonical/hotsos", "57b256c4ad43", "2026-07-01", "hotsos/defs/scenarios/kernel/network/tcp.yaml"
)  # fmt: skip


def _more_than_500(name: str, meaning: str, counter: str, claims: tuple[str, ...], *right_in: str) -> Rule:
    measure, unit = since_boot(f"TcpExt{counter}"), f"{counter} since boot"
    return Rule(name, SOURCE, meaning, claims, measure, 500, unit, right_in=right_in)


NOTE = "Its numbers count since boot: what happened once is an alarm until the machine is booted again."

RULES = (
    _more_than_500("listenovf", "the accept queue overflows", "ListenOverflows", ("full_accept_queue",),
                   *STORIES_WITH_A_FULL_ACCEPT_QUEUE),
    _more_than_500("ldrop", "incoming connections are dropped, for any reason", "ListenDrops",
                   ("full_accept_queue", *SYN_QUEUE_FULL),
                   *STORIES_WITH_A_FULL_ACCEPT_QUEUE, *STORIES_WITH_A_FULL_SYN_QUEUE),
    _more_than_500("rqfulld", "the SYN queue is full, without cookies", "TCPReqQFullDrop", SYN_QUEUE_FULL,
                   *STORIES_WITH_A_FULL_SYN_QUEUE),
    _more_than_500("rqfullcook", "the SYN queue is full, with cookies", "TCPReqQFullDoCookies", SYN_QUEUE_FULL,
                   *STORIES_WITH_A_FULL_SYN_QUEUE),
    _more_than_500("zwind", "the receive window is full", "TCPZeroWindowDrop", WINDOW_CLOSED),
    _more_than_500("mem_pressure_prunec", "receive buffers are pruned for want of memory", "PruneCalled", ()),
    _more_than_500("backlogd", "a socket's backlog is full", "TCPBacklogDrop", ()),
    _more_than_500("rcvqd", "segments are dropped for want of receive memory", "TCPRcvQDrop", ()),
    Rule(
        "retrans_out_rate_gt_1pcent", SOURCE, "segments are retransmitted", LOST_SEGMENTS,
        percent("TcpRetransSegs", "TcpOutSegs"), 1, "% of OutSegs since boot", scales=False, timed=True,
    ),
    Rule(
        "memusage_pct_high", SOURCE, "TCP runs out of memory", (), of_limit("TCP mem", "net.ipv4.tcp_mem", 2), 85,
        "% of tcp_mem's third number", unplayed=MACHINE_WIDE,
    ),
)  # fmt: skip
