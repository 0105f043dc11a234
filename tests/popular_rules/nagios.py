"""A collection of plugins for Nagios: "50 SYN_RECVs are a SYN flood", and a warning before the ports are used up."""

import operator

from harness.diagnose.snapshot import Snapshot
from harness.evidence.sockets import State
from tests.popular_rules import (
    PORTS_USED_UP,
    STORIES_WITH_A_FULL_SYN_QUEUE,
    SYN_QUEUE_FULL,
    Rule,
    Source,
    in_state,
)

AT = ("bdossantos/nagios-plugins", "f07aa30b6c15", "2020-10-20")


def free_ports(before: Snapshot, after: Snapshot) -> float | None:
    """The width of ip_local_port_range without one port for each ESTABLISHED socket, of any port and destination."""
    del before
    ports = after.sysctls.get("net.ipv4.ip_local_port_range", "").split()
    if len(ports) != 2:
        return None
    return int(ports[1]) - int(ports[0]) - sum(row.state == State.ESTABLISHED for row in after.sockets)


NOTE = (
    "`check_ephemeral_port_exhaustion` counts neither TIME_WAITs nor destinations; it sees how wide the port range is."
)

RULES = (
    Rule(
        "check_ddos", Source(*AT, "check_ddos.sh"), "a SYN flood", SYN_QUEUE_FULL, in_state(State.SYN_RECV), 50,
        "sockets in SYN_RECV", operator.ge, right_in=(*STORIES_WITH_A_FULL_SYN_QUEUE, "cookies_forget_options.*"),
        timed=True,
    ),
    Rule(
        "check_ephemeral_port_exhaustion", Source(*AT, "check_ephemeral_port_exhaustion.sh"),
        "the ephemeral ports are nearly used up", (*PORTS_USED_UP, "bind_before_connect_exhausts"), free_ports, 2048,
        "ports left beside those of ESTABLISHED sockets", operator.lt, scales=False,
    ),
)  # fmt: skip
