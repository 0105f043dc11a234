"""Alert rules for Prometheus with node_exporter's metrics: its own mixin, and two collections that many copy from.

The mixin and awesome-prometheus-alerts have no rule about a counter of TCP; the three that the article has are found
in the same form in many repositories.
"""

from tests.popular_rules import (
    LOST_SEGMENTS,
    RESETS,
    STORIES_WITH_A_FULL_ACCEPT_QUEUE,
    Rule,
    Source,
    conntrack_entries,
    per_second,
)

MIXIN = Source(
    "prometheus/node_exporter", "a7dcc3a01545", "2026-08-08", "docs/node-mixin/alerts/alerts.libsonnet"
)  # fmt: skip
AWESOME = Source("samber/awesome-prometheus-alerts", "a8533189af02", "2026-08-01", "_data/rules.yml")
ARTICLE = Source(
    "OneUptime's blog", "", "2026-03-20", "oneuptime.com/blog/post/2026-03-20-prometheus-tcp-connection-states/view"
)  # fmt: skip

NOTE = ""

RULES = (
    Rule(
        "TCPListenDrops", ARTICLE, "the listen queue drops connections", ("full_accept_queue",),
        per_second("TcpExtListenDrops"), 0, "ListenDrops a second",
        right_in=STORIES_WITH_A_FULL_ACCEPT_QUEUE,
    ),
    Rule(
        "HighConnectionResets", ARTICLE, "connections end abruptly", RESETS, per_second("TcpEstabResets"), 50,
        "EstabResets a second",
    ),
    Rule(
        "HighTCPRetransmissions", ARTICLE, "the network is bad", LOST_SEGMENTS, per_second("TcpRetransSegs"), 100,
        "RetransSegs a second", timed=True,
    ),
    Rule(
        "NodeHighNumberConntrackEntriesUsed", MIXIN, "the conntrack table is nearly full", (), conntrack_entries, 75,
        "% of nf_conntrack_max",
    ),
    Rule(
        "Host conntrack limit", AWESOME, "the conntrack table is nearly full", (), conntrack_entries, 80,
        "% of nf_conntrack_max",
    ),
)  # fmt: skip
