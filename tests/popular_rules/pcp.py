"""Performance Co-Pilot's pmie rules about TCP, which are all in src/pmieconf/network/. Their interval is 2 minutes."""

from tests.popular_rules import (
    STORIES_WITH_A_FULL_ACCEPT_QUEUE,
    STORIES_WITH_A_FULL_SYN_QUEUE,
    SYN_QUEUE_FULL,
    Rule,
    Source,
    per_second,
)

AT = ("performancecopilot/pcp", "918d12b68bec", "2026-08-07")
FOLDER = "src/pmieconf/network"

NOTE = ""

RULES = (
    Rule(
        "network.listenoverflows", Source(*AT, f"{FOLDER}/tcplistenoverflows"),
        "a listener's accept queue is overrun, as its program is too slow", ("full_accept_queue",),
        per_second("TcpExtListenOverflows"), 0, "ListenOverflows a second",
        right_in=STORIES_WITH_A_FULL_ACCEPT_QUEUE,
    ),
    Rule(
        "network.tcpqfulldocookies", Source(*AT, f"{FOLDER}/tcpqfulldocookies"),
        "the SYN queue is full, and cookies are sent", SYN_QUEUE_FULL,
        per_second("TcpExtTCPReqQFullDoCookies"), 0, "TCPReqQFullDoCookies a second",
        right_in=STORIES_WITH_A_FULL_SYN_QUEUE,
    ),
    Rule(
        "network.tcpqfulldrops", Source(*AT, f"{FOLDER}/tcpqfulldrops"), "the SYN queue is full, and SYNs are dropped",
        SYN_QUEUE_FULL, per_second("TcpExtTCPReqQFullDrop"), 0, "TCPReqQFullDrop a second",
        right_in=STORIES_WITH_A_FULL_SYN_QUEUE,
    ),
)  # fmt: skip
