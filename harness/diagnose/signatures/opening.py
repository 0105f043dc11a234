"""Signatures of the lessons in scenarios/opening/."""

from collections.abc import Iterator

from harness.diagnose.finding import Evidence, Finding
from harness.diagnose.signatures.common import (
    Group,
    apart_s,
    connection,
    exhausted,
    group_of,
    grown,
    growth,
    identity,
    is_at_its_limit,
    lasting,
    listener,
    listening,
    may_wait,
    mirrored,
    pairs,
    queues,
    spins,
    tuple_of,
    waiting,
)
from harness.diagnose.snapshot import Owner, Snapshot
from harness.evidence import tcp_info
from harness.evidence.sockets import Socket, State
from harness.output.wording import counted

CAUSES_OF_A_FULL_QUEUE = ("accept_spins_on_emfile", "too_many_open_files", "reset_before_accept")

_BEFORE_ESTABLISHED = (State.LISTEN, State.SYN_SENT, State.SYN_RECV)
_FIRST_TIMEOUT_S = 1.0
"""TCP_TIMEOUT_INIT, the first timeout of a SYN and of a SYN-ACK. When it expires, tcp_retransmit_timer() repeats the
SYN, and reqsk_timer_handler() the SYN-ACK, unless TCP_DEFER_ACCEPT waits for data. The next timeout of a SYN-ACK is
twice as long (reqsk_timeout); that of a SYN is, too, after net.ipv4.tcp_syn_linear_timeouts of them."""

_COUNTED_ABORTS = ("TcpExtTCPAbortOnClose", "TcpExtTCPAbortOnData")
"""Resets of established connections that have a counter of their own, besides TcpOutRsts (__tcp_close)."""


def full_accept_queue(before: Snapshot, after: Snapshot) -> Finding | None:
    """A queue above its backlog: if sk_acceptq_is_full(), the next SYN, or the third ACK of a handshake, is dropped.

    Only these drops are counted as ListenOverflows (tcp_conn_request, tcp_v4_syn_recv_sock). So if it grows, a queue
    was full, even if none is full in both looks.
    """
    overflows = grown("TcpExtListenOverflows", before, after)
    long = [row for row in waiting(before, after) if row.recv_q > row.send_q]
    full = [row for row in long if _shows_its_backlog(row)]
    if overflows and not full:
        full = [row for row in after.listeners() if row.recv_q > row.send_q and _shows_its_backlog(row)]
    if not overflows and not long:
        return None
    rows = tuple(listener(row, after, f"{_waiting(row)}, {_backlog(row)}") for row in full or long)
    rows = rows or (Evidence("a queue was full for a moment: none is in both looks"),)
    unlike = (
        "a SYN that is dropped on its way leaves the queue below its limit (backlog + 1), and no counter of this host "
        "grows; a queue that is long but not full loses no client"
    )
    missing = ""
    if not overflows and full:
        missing = "no client was turned away meanwhile: see whether `nstat -azs TcpExtListenOverflows` grows"
    elif not overflows:
        missing = "/proc/net/tcp does not show the backlog: see whether Recv-Q is above Send-Q in `ss -ltn`"
    return Finding("full_accept_queue", rows + overflows, unlike, missing, CAUSES_OF_A_FULL_QUEUE)


def _backlog(row: Socket) -> str:
    return f"backlog {row.send_q}" if _shows_its_backlog(row) else "the backlog is not shown"


def _shows_its_backlog(row: Socket) -> bool:
    """Send-Q 0 is a backlog of 0 if it is from sock_diag, but may be any backlog if it is from /proc/net/tcp, to which
    `ss` falls back: get_tcp4_sock() shows none."""
    return row.send_q > 0 or row.details is not None


def reset_before_accept(before: Snapshot, after: Snapshot) -> Finding | None:
    """A queue that counts connections without a row: they were reset, and only accept() takes them out.

    tcp_reset() takes the connection out of the table (tcp_done, tcp_set_state); only inet_csk_accept() takes it out of
    the queue. A look is not atomic: listeners are read first, so a connection may be accepted before its own row is
    read. It is certain only if accept() took nothing out in between, so that the queue has grown by all the handshakes
    that any listener has completed (TcpPassiveOpens, tcp_create_openreq_child). Connections that wait, but whose local
    end no listener has (IP_TRANSPARENT, BPF sk_lookup), may be in any queue. A text without connections (`ss -l`) shows
    none of these rows, so it proves nothing.
    """
    if not (before.has_all_states and after.has_all_states):
        return None
    groups, queued = listening(after), (queues(before), queues(after))
    earlier, elsewhere = listening(before), max(_at_no_listener(before), _at_no_listener(after))
    dead, certain = list[Evidence](), False
    for group, rows in groups.items():
        then, now = _length(earlier.get(group, [])), _length(rows)
        missing = min(then - len(queued[0].get(group, [])), now - len(queued[1][group])) - elsewhere
        if 0 < then <= now and missing > 0:
            of = f"{missing} of {counted(now, 'connection')} in its queue no longer in the socket table"
            dead += [listener(row, after, of) for row in rows if row.recv_q]
            certain |= "TcpPassiveOpens" in before.counters and growth("TcpPassiveOpens", before, after) <= now - then
    if not dead:
        return None
    unlike = "a queue that is merely long has, for each of its connections, a row without a process in `ss -tanp`"
    if certain:
        return Finding("reset_before_accept", tuple(dead), unlike)
    missing_ = (
        "whether connections were accepted during a look: see whether Recv-Q in `ss -ltn` stays above the number of "
        "the port's rows without users in `ss -tanp`"
    )
    return Finding("reset_before_accept", tuple(dead), unlike, missing_)


def _length(listeners: list[Socket]) -> int:
    return sum(row.recv_q for row in listeners)


def _waiting(row: Socket) -> str:
    return f"{counted(row.recv_q, 'connection')} {'waits' if row.recv_q == 1 else 'wait'}"


def _at_no_listener(snapshot: Snapshot) -> int:
    """The number of connections that wait for accept(), and whose local end is that of no listener."""
    groups = listening(snapshot)
    return sum(may_wait(row, snapshot) and group_of(row, groups) is None for row in snapshot.sockets)


def too_many_open_files(before: Snapshot, after: Snapshot) -> Finding | None:
    """Connections wait, and the listener's owner has no file descriptor left: accept() fails with EMFILE.

    alloc_fd() refuses a number that is not below RLIMIT_NOFILE, before accept() looks at the queue.
    """
    found = [(row, owner) for row, owner, share in exhausted(before, after) if not spins(share)]
    if not found:
        return None
    rows = tuple(_at_the_limit(row, after, owner) for row, owner in found)
    unlike = "a server that is merely slow has file descriptors left; one that spins on EMFILE never sleeps"
    return Finding("too_many_open_files", rows, unlike, _another_may_accept([row for row, _ in found], after))


def _another_may_accept(rows: list[Socket], after: Snapshot) -> str:
    """What is missing to be sure; nothing if one of these listeners has only owners at their limit of descriptors."""
    if any(all(is_at_its_limit(owner) for owner in after.owners_of(row)) for row in rows):
        return ""
    return "whether another process that has the listener open accepts: see whether its Recv-Q in `ss -ltnp` falls"


def accept_spins_on_emfile(before: Snapshot, after: Snapshot) -> Finding | None:
    """The same EMFILE, and the owner was awake for most of the time: its loop tries accept() again at once.

    The time is the sum of all threads, so a server whose other threads are busy cannot be told from one that spins.
    """
    found = [(row, owner, share) for row, owner, share in exhausted(before, after) if spins(share)]
    if not found:
        return None
    rows = tuple(
        _at_the_limit(row, after, owner, f", and was awake for {share:.0%} of the time") for row, owner, share in found
    )
    unlike = "a server that is merely busy has file descriptors left; one that sleeps after EMFILE uses no CPU time"
    return Finding("accept_spins_on_emfile", rows, unlike, _another_may_accept([row for row, _, _ in found], after))


def _at_the_limit(row: Socket, after: Snapshot, owner: Owner, and_: str = "") -> Evidence:
    what = (
        f"{_waiting(row)}; {owner.program} (pid {owner.pid}) has {counted(owner.fds, 'file descriptor')} open "
        f"(limit {owner.fd_limit}){and_}"
    )
    return listener(row, after, what, owner)


def connect_that_hangs_told_apart(before: Snapshot, after: Snapshot) -> Finding | None:
    """SYN_SENT that outlasts the SYN's first timeout: neither a SYN-ACK nor an RST has ended connect().

    Timer.retransmits is the number of SYNs that tcp_retransmit_timer() has sent since connect().
    """
    rows = tuple(
        connection(
            row, f"SYN retransmitted {counted(row.timer.retransmits, 'time')}" if row.timer.retransmits else "no answer"
        )
        for row in lasting(State.SYN_SENT, before, after)
        if row.timer.retransmits or apart_s(before, after) > _FIRST_TIMEOUT_S
    )
    unlike = (
        "RST ends connect() at once; without a free port there is no SYN_SENT (EADDRNOTAVAIL); a stopped server lets "
        "connect() succeed. To tell the other causes apart, look on the server's host: a full queue (Recv-Q above "
        "Send-Q in `ss -ltn`), a CLOSE_WAIT with this client's port, or neither if the SYN was dropped on its way"
    )
    causes = ("full_accept_queue", "close_wait_meets_reused_port")
    return Finding("connect_that_hangs_told_apart", rows, unlike, because_of=causes) if rows else None


def cookies_forget_options(before: Snapshot, after: Snapshot) -> Finding | None:
    """A cookie came back, and a new connection has neither timestamps nor SACK nor window scaling.

    tcp_conn_request() clears the options of a SYN that it answers with a cookie, if the SYN has no timestamp; otherwise
    the cookie's timestamp keeps them (cookie_timestamp_decode). Only a cookie that is valid counts
    SyncookiesRecv (cookie_tcp_check; before Linux 6.8, cookie_v4_check). It is certain only if all new connections
    began with a cookie: another client may offer no options.
    """
    sent, received = (grown(f"TcpExtSyncookies{each}", before, after) for each in ("Sent", "Recv"))
    if not sent and not received:
        return None
    unlike = "with timestamps, a cookie keeps the options; a client that offers none has none after any handshake"
    new = list(_new_at_listeners(before, after)) if received else []
    unknown = [row for row in new if row.details is None or row.details.options is None]
    options = tcp_info.TIMESTAMPS | tcp_info.SACK | tcp_info.WINDOW_SCALE
    forgotten = [row for row in new if row not in unknown and row.details and not (row.details.options or 0) & options]
    if forgotten:
        rows = tuple(connection(row, "no timestamps, no SACK, no window scaling") for row in forgotten)
        if growth("TcpPassiveOpens", before, after) <= growth("TcpExtSyncookiesRecv", before, after):
            return Finding("cookies_forget_options", rows + received, unlike)
        missing = "whether these began with a cookie: see whether the client's SYN has options in `tcpdump -v`"
        return Finding("cookies_forget_options", rows + received, unlike, missing)
    if new and not unknown:
        return None
    missing = "the options of a connection that began with a cookie: see whether `ss -tino` shows its wscale and sack"
    return Finding("cookies_forget_options", sent + received, unlike, missing)


def defer_accept_hides_idle_clients(before: Snapshot, after: Snapshot) -> Finding | None:
    """The last ACK of a handshake was dropped as it had no data (tcp_check_req), and its client waits, or has waited.

    The request stays in SYN_RECV, and its SYN-ACK is not retransmitted until the option's time is over
    (syn_ack_recalc). Then the client answers, and the connection begins with a SYN-ACK that was retransmitted. A lost
    SYN-ACK looks the same, unless the client is in this namespace, and was already ESTABLISHED (TCPSYNChallenge).
    """
    drops = grown("TcpExtTCPDeferAcceptDrop", before, after)
    waits = [row for row in lasting(State.SYN_RECV, before, after) if not row.timer.retransmits]
    longer = apart_s(before, after) > _FIRST_TIMEOUT_S
    late = _challenged(before, after)
    unlike = (
        "a client that speaks first is counted as well, but does not stay in SYN_RECV; if the last ACK or the SYN-ACK "
        "is lost, the SYN-ACK is retransmitted after 1 s"
    )
    rows = tuple(connection(row, "its SYN-ACK is not retransmitted") for row in waits if longer)
    rows += tuple(connection(row, "accepted only after its SYN-ACK was retransmitted") for row in late)
    if rows and drops:
        return Finding("defer_accept_hides_idle_clients", rows + drops, unlike)
    rows = tuple(
        connection(row, f"its SYN-ACK is not retransmitted, but its timer is set for {row.timer.expires_s:.0f} s")
        for row in waits
        if row.timer.expires_s > _FIRST_TIMEOUT_S
    )
    return Finding("defer_accept_hides_idle_clients", rows, unlike) if rows else None


def listener_closed_with_a_queue(before: Snapshot, after: Snapshot) -> Finding | None:
    """A listener is gone, and so are connections of its queue: inet_csk_listen_stop() has reset them.

    Each is counted in TcpOutRsts and in TcpEstabResets (tcp_disconnect, tcp_set_state), and nowhere else. A connection
    that reuseport_migrate_sock() has moved to another listener still has its row.
    """
    open_now = {identity(row) for row in after.listeners()}
    left = {tuple_of(row) for row in after.sockets if row.state != State.LISTEN}
    queued = queues(before)
    rows, gone = list[Evidence](), 0
    for group, listeners in listening(before).items():
        closed = [row for row in listeners if row.recv_q and row.inode > 0 and identity(row) not in open_now]
        lost = sum(tuple_of(row) not in left for row in queued[group])
        if closed and lost:
            gone += min(lost, _length(closed))
            texts = (
                listener(row, before, f"closed while {counted(row.recv_q, 'connection')} waited").text for row in closed
            )
            rows += map(Evidence, texts)  # no row: it is gone
    resets = grown("TcpOutRsts", before, after)
    other = sum(growth(each, before, after) for each in _COUNTED_ABORTS)
    if (
        not rows
        or not after.has_all_states
        or gone > min(growth("TcpOutRsts", before, after) - other, growth("TcpEstabResets", before, after))
    ):
        return None
    unlike = (
        "a server that empties its queue before close(), or hands its listener over, resets no client; a close() with "
        "unread data, or with linger 0, has a counter of its own"
    )
    return Finding("listener_closed_with_a_queue", (*rows, *resets), unlike)


def third_ack_lost(before: Snapshot, after: Snapshot) -> Finding | None:
    """A SYN-ACK was retransmitted although the client was ESTABLISHED, and the listener had room for the connection.

    The client's end counts each such SYN-ACK in TCPSYNChallenge (tcp_validate_incoming). At the server's end, the
    connection inherits the number of its SYN-ACK's retransmissions as tcpi_total_retrans (tcp_create_openreq_child).
    Without the client's end, a lost SYN-ACK looks the same at the server, so it is certain only if both ends are here.
    """
    if any(growth(each, before, after) for each in ("TcpExtListenOverflows", "TcpExtTCPDeferAcceptDrop")):
        return None
    unlike = (
        "a full accept queue, which ignores the ACK, has Recv-Q above Send-Q; TCP_DEFER_ACCEPT, which drops it, "
        "retransmits no SYN-ACK meanwhile; if the SYN-ACK itself is lost, the client is in SYN_SENT"
    )
    counts = grown("TcpExtTCPSYNChallenge", before, after) + grown("TcpExtTCPSynRetrans", before, after)
    late = _challenged(before, after) if len(counts) == 2 else []
    halves = list(_half_open(before, after))
    certain = [now for then, now in halves if now.timer.retransmits > then.timer.retransmits and _other_end(now, after)]
    if late or certain:
        rows = tuple(connection(row, "its SYN-ACK was retransmitted before its client's ACK came") for row in late)
        rows += tuple(_half_open_row(row) for row in certain)
        return Finding("third_ack_lost", rows + counts, unlike)
    if not halves:
        return None
    rows = tuple(_half_open_row(now) for _, now in halves)
    missing = (
        "whether the client is ESTABLISHED: see `ss -tan` on its host. In SYN_SENT, it was the SYN-ACK that was lost; "
        "without a row, that host has not sent the SYN, or has given up"
    )
    return Finding("third_ack_lost", rows, unlike, missing)


def _half_open_row(row: Socket) -> Evidence:
    return connection(row, f"{counted(row.timer.retransmits, 'retransmission')} of the SYN-ACK, no ACK")


def _half_open(before: Snapshot, after: Snapshot) -> Iterator[tuple[Socket, Socket]]:
    """Requests whose SYN-ACK has been retransmitted, at listeners that have room: (then, now)."""
    full = {group for snapshot in (before, after) for group in _full(snapshot)}
    groups = listening(after)
    for then, now in pairs(State.SYN_RECV, before, after):
        group = group_of(now, groups)
        if now.timer.retransmits and group and group not in full:
            yield then, now


def _full(snapshot: Snapshot) -> Iterator[Group]:
    """The groups in which a listener's queue is full."""
    for group, rows in listening(snapshot).items():
        if any(row.recv_q > row.send_q for row in rows):
            yield group


def _other_end(row: Socket, snapshot: Snapshot) -> bool:
    """Whether the other end is in this namespace as well, and has been ESTABLISHED."""
    other = mirrored(row)
    return any(each.state not in _BEFORE_ESTABLISHED and tuple_of(each) == other for each in snapshot.sockets)


def _new_at_listeners(before: Snapshot, after: Snapshot) -> Iterator[Socket]:
    """Connections to listeners whose handshake ended after the first look, whether they have been accepted or not."""
    known = {tuple_of(row) for row in before.sockets if row.state not in _BEFORE_ESTABLISHED}
    groups = listening(before) | listening(after)
    for row in after.sockets:
        if row.state not in _BEFORE_ESTABLISHED and tuple_of(row) not in known and group_of(row, groups):
            yield row


def _challenged(before: Snapshot, after: Snapshot) -> list[Socket]:
    """New connections whose SYN-ACK was retransmitted although the client, which is here as well, was ESTABLISHED."""
    if not growth("TcpExtTCPSYNChallenge", before, after):
        return []
    return [row for row in _late(before, after) if _other_end(row, after)]


def _late(before: Snapshot, after: Snapshot) -> list[Socket]:
    """New connections whose SYN-ACK was retransmitted; without those that have also retransmitted data."""
    return [
        row
        for row in _new_at_listeners(before, after)
        if row.details and row.details.total_retrans and row.details.bytes_retrans == 0
    ]


SIGNATURES = (
    full_accept_queue,
    reset_before_accept,
    too_many_open_files,
    accept_spins_on_emfile,
    connect_that_hangs_told_apart,
    cookies_forget_options,
    defer_accept_hides_idle_clients,
    listener_closed_with_a_queue,
    third_ack_lost,
)
