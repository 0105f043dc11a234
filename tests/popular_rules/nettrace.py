"""nettrace's advice, as far as a counter counts the calls of the function that it traces.

nettrace follows packets and sockets through kernel functions, and comments on what it meets; two snapshots do not have
that. tcp_v4_send_reset(), tcp_v6_send_reset() and tcp_send_active_reset() count TCP_MIB_OUTRSTS, and
tcp_retransmit_timer() counts LINUX_MIB_TCPTIMEOUTS. tcp_send_probe0() is called when the timer of a zero-window probe
expires, and the socket table has that timer. Each call is worth a comment, so the threshold is 0.
"""

from harness.diagnose.snapshot import Snapshot
from tests.popular_rules import LOST_SEGMENTS, RESETS, WINDOW_CLOSED, Rule, Source, growth_of

SOURCE = Source("OpenCloudOS/nettrace", "fcfa07232026", "2026-03-05", "src/trace.yaml")

NOTE = "nettrace comments on packets one by one; these are the comments that counters and timers can stand for."


def probed(before: Snapshot, after: Snapshot) -> float:
    """The sockets whose zero-window probe is due: within seconds tcp_probe_timer() calls tcp_send_probe0()."""
    del before
    return sum(row.timer.name == "zero_window_probe" for row in after.sockets)


RULES = (
    Rule(
        "tcp_v4_send_reset, tcp_send_active_reset", SOURCE, "a reset is sent by the TCP stack, or by close()", RESETS,
        growth_of("TcpOutRsts"), 0, "calls",
    ),
    Rule(
        "tcp_retransmit_timer", SOURCE, "the retransmission timer expires", LOST_SEGMENTS,
        growth_of("TcpExtTCPTimeouts"), 0, "calls", timed=True,
    ),
    Rule(
        "tcp_send_probe0", SOURCE, "a zero-window probe is sent", WINDOW_CLOSED, probed, 0,
        "calls",
    ),
)  # fmt: skip
