"""Signatures of the lessons in scenarios/data/."""

from harness.diagnose.finding import Finding
from harness.diagnose.signatures.common import (
    connection,
    grown,
    growth,
    mirrored,
    pairs,
    tuple_of,
    window_stays_shut,
)
from harness.diagnose.snapshot import Snapshot
from harness.evidence.sockets import Socket, State
from harness.output.wording import counted

_SENDING = (State.ESTABLISHED, State.CLOSE_WAIT)
"""The states in which a program may still write."""
_TIMEOUTS = "TcpExtTCPTimeouts"
_OTHER_TIMEOUTS = ("TcpExtTCPSynRetrans", "TcpExtTCPAbortOnTimeout")
"""The timeouts of SYNs and SYN-ACKs, and the last timeout of a connection that gives up: they are not of lost data."""


def reader_stops(before: Snapshot, after: Snapshot) -> Finding | None:
    """A connection whose peer had a window of 0 in both snapshots, and took nothing in between.

    A slow reader takes nothing for a while, too: its window opens only once there is room for a segment, and for a
    sixteenth of the buffer (__tcp_select_window). It is left out if its end is in the same snapshots, and its queue
    shrinks.
    """
    rows, is_sure = [], True
    queued = {tuple_of(row): row.recv_q for row in before.sockets}
    read = {tuple_of(row) for row in after.sockets if row.recv_q < queued.get(tuple_of(row), 0)}
    for state in _SENDING:
        for then, now in pairs(state, before, after):
            if window_stays_shut(then, now) and mirrored(now) not in read:
                is_sure = is_sure and now.details is not None
                rows.append(connection(now, f"Send-Q {now.send_q}{_probes(now)}, and the peer has taken nothing"))
    if not rows:
        return None
    unlike = (
        "a reader that is merely slow takes some of it now and then (with a large buffer, seconds apart); if segments "
        'are lost, `ss -o` shows the timer "on", not "persist". A client that pauses on purpose (a player, a pager) '
        "looks the same, and does no harm unless the program waits for it in send()"
    )
    if is_sure:
        return Finding("reader_stops", tuple(rows), unlike)
    missing = "whether the peer takes anything: see whether bytes_acked grows in `ss -tino`"
    return Finding("reader_stops", tuple(rows), unlike, missing)


def _probes(row: Socket) -> str:
    """The probes since the window closed (Details.backoff); Timer.retransmits has only the unanswered ones."""
    return f", {counted(row.details.backoff, 'probe')} since the window closed" if row.details else ""


def last_segment_lost(before: Snapshot, after: Snapshot) -> Finding | None:
    """Tail loss probes have repaired losses, more often than they were needless (tcp_process_tlp_ack).

    A needless probe is answered by DSACK. If an ACK of newer data comes first, the probe is counted as a repair all the
    same, so the majority decides. If both ends are on this host, the DSACKs that it has sent count as well, as one may
    still be under way. Without probes, a timeout repairs the loss, and is counted like any other timeout.
    """
    probes = grown("TcpExtTCPLossProbeRecovery", before, after)
    repaired, received, sent = (
        growth(f"TcpExt{name}", before, after) for name in ("TCPLossProbeRecovery", "TCPDSACKRecv", "TCPDSACKOldSent")
    )
    unlike = (
        "a loss in the middle is repaired by SACK (TcpExtTCPFastRetrans); a needless probe is answered by DSACK. On "
        "the public Internet some losses are normal, inside a data centre they are not"
    )
    if repaired > max(received, sent):
        return Finding("last_segment_lost", probes, unlike)
    timeouts = growth(_TIMEOUTS, before, after) - sum(growth(each, before, after) for each in _OTHER_TIMEOUTS)
    if not probes and (timeouts <= 0 or any(each not in before.counters for each in _OTHER_TIMEOUTS)):
        return None
    missing = (
        "whether the lost segment had data, and was the last one: `ss -tino` shows what is not acknowledged now, and "
        "tcpdump which segment is retransmitted after 200 ms"
    )
    evidence = probes + (grown(_TIMEOUTS, before, after) if timeouts > 0 else ())
    return Finding("last_segment_lost", evidence, unlike, missing)


def nagle_meets_delayed_ack(before: Snapshot, after: Snapshot) -> Finding | None:
    """In both snapshots, less than one segment is held back, and only an ACK would release it (tcp_nagle_check)."""
    rows = tuple(
        connection(now, f"{now.details.notsent} bytes wait for an ACK of {counted(now.details.unacked, 'segment')}")
        for state in _SENDING
        for then, now in pairs(state, before, after)
        if now.details and _holds_a_small_segment(then) and _holds_a_small_segment(now)
    )
    unlike = "the windows have room, and no timeout has expired: neither a slow reader nor a loss holds the data"
    missing = (
        "whether TCP_CORK or MSG_MORE holds it: if it is Nagle's algorithm, `tcpdump -ttt` shows a small segment, a "
        "bare ACK about 40 ms later, and the next small segment immediately after that"
    )
    return Finding("nagle_meets_delayed_ack", rows, unlike, missing) if rows else None


def _holds_a_small_segment(row: Socket) -> bool:
    """Whether only Nagle's algorithm, TCP_CORK or MSG_MORE can hold what is not sent."""
    info = row.details
    if info is None or info.snd_wnd is None or row.timer.retransmits:
        return False
    return 0 < info.notsent < info.mss and 0 < info.unacked < info.cwnd and row.send_q <= info.snd_wnd


SIGNATURES = (reader_stops, last_segment_lost, nagle_meets_delayed_ack)
