"""netdata's health alarms about TCP and conntrack.

The alarms about the accept queue and the SYN queue average a counter's rate, per second, over 60 s: netdata's collector
adds these dimensions as RRD_ALGORITHM_INCREMENTAL (src/collectors/proc.plugin/proc_net_netstat.c). The alarms about
resets compare the average of 10 s with ten times the average of the minute before, and that is taken to be at least 5
a second; with two looks the minute before was calm. They start one minute after boot.

`resets received` reads TcpAttemptFails. What that counts is shown by tests/popular.py.
"""

from harness.diagnose.snapshot import Snapshot
from tests.popular_rules import (
    RESETS,
    STORIES_WITH_A_FULL_ACCEPT_QUEUE,
    STORIES_WITH_A_FULL_SYN_QUEUE,
    SYN_QUEUE_FULL,
    Measure,
    Rule,
    Source,
    conntrack_entries,
    per_second,
)

AT = ("netdata/netdata", "04b1cf54270c", "2026-08-22")
LISTEN = Source(*AT, "src/health/health.d/tcp_listen.conf")
OF_RESETS = Source(*AT, "src/health/health.d/tcp_resets.conf")

MACHINE_WIDE = "the number and its limit are the whole machine's, and a story's network namespace has neither"
"""sockstat_seq_show() (net/ipv4/proc.c) prints proto_memory_allocated(), which no network namespace has for itself."""


def of_limit(number: str, sysctl: str, word: int) -> Measure:
    """A number of sockstat in percent of a sysctl, or of one of the sysctl's numbers; None without that sysctl."""

    def measure(before: Snapshot, after: Snapshot) -> float | None:
        del before
        limits = after.sysctls.get(sysctl, "").split()
        return 100 * after.sockstat.get(number, 0) / int(limits[word]) if len(limits) > word else None

    return measure


def connections_of_limit(before: Snapshot, after: Snapshot) -> float:
    """CurrEstab in percent of MaxConn, or 0 if there is no limit: Linux has none: tcp_mib_init() sets MaxConn to -1."""
    del before
    most = after.counters.get("TcpMaxConn", -1)
    return 100 * after.counters.get("TcpCurrEstab", 0) / most if most > 0 else 0


NOTE = "`tcp_connections` needs MaxConn, which is -1 on Linux (tcp_mib_init): it cannot raise an alarm."

RULES = (
    Rule(
        "1m_tcp_accept_queue_overflows", LISTEN, "the accept queue overflows", ("full_accept_queue",),
        per_second("TcpExtListenOverflows"), 1, "ListenOverflows a second",
        right_in=STORIES_WITH_A_FULL_ACCEPT_QUEUE,
    ),
    Rule(
        "1m_tcp_accept_queue_drops", LISTEN, "the accept queue drops packets", ("full_accept_queue",),
        per_second("TcpExtListenDrops"), 1, "ListenDrops a second",
        right_in=STORIES_WITH_A_FULL_ACCEPT_QUEUE,
    ),
    Rule(
        "1m_tcp_syn_queue_drops", LISTEN, "the SYN queue is full: probably a SYN flood", SYN_QUEUE_FULL,
        per_second("TcpExtTCPReqQFullDrop"), 1, "TCPReqQFullDrop a second",
        right_in=STORIES_WITH_A_FULL_SYN_QUEUE,
    ),
    Rule(
        "1m_tcp_syn_queue_cookies", LISTEN, "the SYN queue is full, cookies are sent: probably a SYN flood",
        SYN_QUEUE_FULL, per_second("TcpExtTCPReqQFullDoCookies"), 1, "TCPReqQFullDoCookies a second",
        right_in=STORIES_WITH_A_FULL_SYN_QUEUE,
    ),
    Rule(
        "10s_ip_tcp_resets_sent", OF_RESETS, "a port scan, or a service of this host has crashed", RESETS,
        per_second("TcpOutRsts"), 50, "OutRsts a second",
    ),
    Rule(
        "10s_ip_tcp_resets_received", OF_RESETS, "resets are received: a service that this host needs has crashed",
        RESETS, per_second("TcpAttemptFails"), 50, "AttemptFails a second",
    ),
    Rule(
        "tcp_orphans", Source(*AT, "src/health/health.d/tcp_orphans.conf"), "orphans are near their limit",
        ("orphans_as_configured",),
        of_limit("TCP orphan", "net.ipv4.tcp_max_orphans", 0), 25, "% of tcp_max_orphans", timed=True,
    ),
    Rule(
        "tcp_memory", Source(*AT, "src/health/health.d/tcp_mem.conf"), "TCP is under memory pressure", (),
        of_limit("TCP mem", "net.ipv4.tcp_mem", 1), 100, "% of tcp_mem's second number", unplayed=MACHINE_WIDE,
    ),
    Rule(
        "tcp_connections", Source(*AT, "src/health/health.d/tcp_conn.conf"), "connections are near their limit", (),
        connections_of_limit, 80, "% of MaxConn",
    ),
    Rule(
        "netfilter_conntrack_full", Source(*AT, "src/health/health.d/netfilter.conf"), "the conntrack table is full",
        (), conntrack_entries, 90, "% of nf_conntrack_max",
    ),
)  # fmt: skip
