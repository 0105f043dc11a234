"""Signatures of the lessons in scenarios/closing/."""

from harness.diagnose.finding import Finding
from harness.diagnose.signatures.common import (
    connection,
    grown,
    growth,
    pairs,
    window_stays_shut,
)
from harness.diagnose.snapshot import Snapshot
from harness.evidence.sockets import State
from harness.output.wording import counted

_OPEN_RESETS = "TcpEstabResets"
"""Connections that went from ESTABLISHED or CLOSE_WAIT to CLOSED (tcp_set_state): by a reset that was sent or received,
or by a timeout."""
_RESETS_FOR_DATA = "TcpExtTCPAbortOnData"
_UNLIKE_UNREAD_DATA = "if data that had arrived before close() is unread, TcpExtTCPAbortOnClose grows"
_FLAGS_SHOW_WHICH = (
    "which one it was, as TcpExtTCPAbortOnData counts both a close() with SO_LINGER 0 and data that arrives after "
    "close(). `tcpdump -ni any 'tcp[tcpflags] & tcp-rst != 0'` tells them apart: the former sends [R.] "
    "(tcp_send_active_reset), the latter is answered by [R] (tcp_v4_send_reset). HAProxy sends [R.] on purpose if it "
    "closes a connection to a server first, as after a health check: that loses no data"
)


def close_with_unread_data(before: Snapshot, after: Snapshot) -> Finding | None:
    """close() has sent RST because received data was unread: only __tcp_close() counts TCPAbortOnClose."""
    resets = grown("TcpExtTCPAbortOnClose", before, after)
    unlike = (
        "SO_LINGER with 0 seconds, and data that arrives after close(), count as TcpExtTCPAbortOnData. A client that "
        "gives up a download, or leaves TLS's close_notify unread, is counted here as well, and loses nothing that it "
        "wants"
    )
    return Finding("close_with_unread_data", resets, unlike) if resets else None


def fin_wait1_made_visible(before: Snapshot, after: Snapshot) -> Finding | None:
    """FIN_WAIT1 that lasts: FIN waits behind a window of 0, or no ACK comes.

    It is not a FIN whose ACK is merely delayed: then no RTO has expired, and the window is open. Timer.retransmits is
    above 0 if an RTO has expired since the last ACK of new data (tcp_retransmit_timer, tcp_ack).
    """
    rows = []
    for then, now in pairs(State.FIN_WAIT1, before, after):
        if now.timer.name == "retransmit" and now.timer.retransmits:
            rows.append(
                connection(now, f"Send-Q {now.send_q}, {counted(now.timer.retransmits, 'timeout')} without an ACK")
            )
        elif window_stays_shut(then, now):
            rows.append(connection(now, f"Send-Q {now.send_q}, including FIN, behind a window of 0"))
    unlike = (
        "in FIN_WAIT2, FIN is acknowledged, and the peer has not closed; a delayed ACK takes 200 ms at most on Linux "
        "(TCP_DELACK_MAX). A public server always has a few, as some clients vanish: tcp_orphan_retries ends each"
    )
    return Finding("fin_wait1_made_visible", tuple(rows), unlike) if rows else None


def keep_alive_race(before: Snapshot, after: Snapshot) -> Finding | None:
    """Data has arrived after close(), and was answered by RST: tcp_rcv_state_process() counts TCPAbortOnData.

    In a timewait socket (TIME_WAIT, or FIN_WAIT2 without an owner), data is not counted (tcp_timewait_state_process).
    """
    resets = grown(_RESETS_FOR_DATA, before, after)
    return Finding("keep_alive_race", resets, _UNLIKE_UNREAD_DATA, _FLAGS_SHOW_WHICH) if resets else None


def linger_zero_truncates(before: Snapshot, after: Snapshot) -> Finding | None:
    """close() with SO_LINGER 0 has reset connections: __tcp_close() counts TCPAbortOnData, too.

    If the connection was in ESTABLISHED or CLOSE_WAIT, tcp_set_state() counts EstabResets as well: if that has not
    grown, no data was lost by SO_LINGER, unless shutdown() came before close().
    """
    resets = grown(_RESETS_FOR_DATA, before, after)
    if not resets or (_OPEN_RESETS in before.counters and not growth(_OPEN_RESETS, before, after)):
        return None
    return Finding("linger_zero_truncates", resets, _UNLIKE_UNREAD_DATA, _FLAGS_SHOW_WHICH)


SIGNATURES = (
    close_with_unread_data, fin_wait1_made_visible, keep_alive_race, linger_zero_truncates,
)  # fmt: skip
