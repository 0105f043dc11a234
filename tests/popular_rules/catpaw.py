"""catpaw's defaults: "CLOSE_WAIT over 100", "TIME_WAIT over 5,000", and any overflow of a listen queue.

Its plugins/tcpstate/design.md gives the reasons: a healthy program has hardly any CLOSE_WAIT, 100 are worth a look; and
TIME_WAITs use up the ephemeral ports towards one destination.
"""

import operator

from harness.evidence.sockets import State
from tests.popular_rules import (
    LEAKED_CLOSE_WAITS,
    PORTS_USED_UP,
    STORIES_WITH_A_FULL_ACCEPT_QUEUE,
    Rule,
    Source,
    growth_of,
    in_state,
)

AT = ("cprobe/catpaw", "16e784130e81", "2026-03-22")
STATES = Source(*AT, "conf.d/p.tcpstate/tcpstate.toml")

NOTE = ""

RULES = (
    Rule(
        "tcpstate::close_wait", STATES, "a program does not close its sockets", LEAKED_CLOSE_WAITS,
        in_state(State.CLOSE_WAIT), 100, "sockets in CLOSE_WAIT", operator.ge,
    ),
    Rule(
        "tcpstate::time_wait", STATES, "TIME_WAITs use up the ports", PORTS_USED_UP, in_state(State.TIME_WAIT), 5000,
        "sockets in TIME_WAIT", operator.ge,
    ),
    Rule(
        "sockstat::listen_overflow", Source(*AT, "conf.d/p.sockstat/sockstat.toml"),
        "an accept queue is full, as a program calls accept() too slowly", ("full_accept_queue",),
        growth_of("TcpExtListenOverflows"), 1, "ListenOverflows more than before", operator.ge,
        right_in=STORIES_WITH_A_FULL_ACCEPT_QUEUE,
    ),
)  # fmt: skip
