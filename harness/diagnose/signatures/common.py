"""What signatures are made of: growth of counters, rows that last, limits, and how a row is described."""

from collections.abc import Container, Iterable, Iterator
from ipaddress import IPv4Address

from harness.diagnose.finding import Evidence
from harness.diagnose.snapshot import Owner, Snapshot
from harness.evidence.sockets import Endpoint, Socket, State, unmapped

_SPINNING = 0.5
"""A share of the elapsed time. A thread that never sleeps runs, or waits for a processor, for all of it. Below a
half, it has slept for longer than it was awake."""

_ANY = str(IPv4Address(0))
_WAITING = (State.ESTABLISHED, State.CLOSE_WAIT)


def growth(counter: str, before: Snapshot, after: Snapshot) -> int:
    """How much a counter has grown; 0 if a snapshot lacks it, or if it was reset in between."""
    if counter not in before.counters:
        return 0
    return max(0, after.counters.get(counter, 0) - before.counters[counter])


def grown(counter: str, before: Snapshot, after: Snapshot) -> tuple[Evidence, ...]:
    """The growth of a counter as evidence; nothing if it has not grown."""
    by = growth(counter, before, after)
    return (Evidence(f"{counter} +{by}", counter=counter),) if by else ()


def lasting(state: State, before: Snapshot, after: Snapshot) -> list[Socket]:
    """The sockets that are in this state in both snapshots, as they are in the second one."""
    return [now for _, now in pairs(state, before, after)]


def apart_s(before: Snapshot, after: Snapshot) -> float:
    """The seconds between the two looks."""
    return after.time_s - before.time_s


def pairs(state: State, before: Snapshot, after: Snapshot) -> Iterator[tuple[Socket, Socket]]:
    """The sockets that are in this state in both snapshots, as they were and as they are: (then, now)."""
    earlier = {identity(row): row for row in before.sockets if row.state == state}
    for row in after.sockets:
        if row.state == state and (then := earlier.get(identity(row))):
            yield then, row


def window_stays_shut(then: Socket, now: Socket) -> bool:
    """Whether a connection waits, at both moments, for the peer's window to open, and nothing was taken in between.

    The persist timer runs if nothing is in flight and the window has no room for the next segment (tcp_ack_probe), or
    if TCP_CORK holds a segment that would fit (tcp_check_probe_timer). Without details, the peer may have taken as much
    as the program has written meanwhile.
    """
    if not then.timer.name == now.timer.name == "zero_window_probe" or then.send_q > now.send_q:
        return False
    if _all_would_fit(then) or _all_would_fit(now):
        return False
    return then.details is None or now.details is None or then.details.bytes_acked == now.details.bytes_acked


def _all_would_fit(row: Socket) -> bool:
    """Whether the peer's window has room for all that is in Send-Q; False if the window is not known."""
    return row.details is not None and row.details.snd_wnd is not None and row.send_q <= row.details.snd_wnd


def waiting(before: Snapshot, after: Snapshot) -> list[Socket]:
    """The listeners whose accept queues hold as many connections as before, or more, and at least one."""
    return [row for then, row in pairs(State.LISTEN, before, after) if 0 < then.recv_q <= row.recv_q]


def identity(row: Socket) -> tuple[State, Endpoint, Endpoint, int]:
    """What makes two rows, in two snapshots, the same socket in the same state."""
    return row.state, row.local, row.remote, row.inode


def tuple_of(row: Socket) -> tuple[str, int, str, int]:
    """The 4-tuple of a connection: the same in any state, and whichever family its listener has."""
    (host, port), (remote, remote_port) = row.local, row.remote
    return unmapped(host), port, unmapped(remote), remote_port


def mirrored(row: Socket) -> tuple[str, int, str, int]:
    """The 4-tuple of a connection's other end, whose row is in the same snapshot if both ends are in one namespace."""
    host, port, remote, remote_port = tuple_of(row)
    return remote, remote_port, host, port


Group = tuple[str, int]
"""An address and a port. Several listeners may share them, by SO_REUSEPORT or by being bound to different devices."""


def listening(snapshot: Snapshot) -> dict[Group, list[Socket]]:
    """The listeners by their address and port."""
    groups: dict[Group, list[Socket]] = {}
    for row in snapshot.listeners():
        groups.setdefault((unmapped(row.local[0]), row.local[1]), []).append(row)
    return groups


def group_of(row: Socket, groups: Container[Group]) -> Group | None:
    """The listeners that a SYN to the local end of `row` would reach; None if there are none.

    A listener on the address itself comes before one on any address, and 0.0.0.0 before [::], which also accepts IPv4
    unless IPV6_V6ONLY is set (__inet_lookup_listener, compute_score in net/ipv4/inet_hashtables.c).
    """
    host, port = unmapped(row.local[0]), row.local[1]
    wildcards = ("::",) if ":" in host else (_ANY, "::")
    return next(((each, port) for each in (host, *wildcards) if (each, port) in groups), None)


def queues(snapshot: Snapshot) -> dict[Group, list[Socket]]:
    """The rows of the connections that wait for accept(), by their listeners' address and port.

    None of them has an inode, and no program can have closed one yet. With TCP Fast Open, a connection in SYN_RECV may
    wait as well: unlike a mere request, it has a tcp_info. A queue also counts connections that no longer have a row
    (lesson reset_before_accept). If a text does not show inodes, every row that may wait is counted.
    """
    groups = listening(snapshot)
    found: dict[Group, list[Socket]] = {group: [] for group in groups}
    for row in snapshot.sockets:
        if may_wait(row, snapshot) and (group := group_of(row, groups)):
            found[group].append(row)
    return found


def may_wait(row: Socket, snapshot: Snapshot) -> bool:
    """Whether a row is of a connection that waits for accept(), as far as the row shows (see queues)."""
    is_open = row.state in _WAITING or (row.state == State.SYN_RECV and row.details is not None)
    return is_open and row.inode <= 0 and not snapshot.owners_of(row)


def exhausted(before: Snapshot, after: Snapshot) -> Iterator[tuple[Socket, Owner, float]]:
    """Listeners with waiting connections, and an owner that has no file descriptor left in either snapshot.

    The last item is the share of the time in between in which the owner ran or waited for a processor: the sum of its
    threads, 1.0 for each that never slept.
    """
    for row in waiting(before, after):
        was = {owner.pid: owner for owner in before.owners_of(row)}
        for owner in after.owners_of(row):
            if owner.pid in was and is_at_its_limit(owner) and is_at_its_limit(was[owner.pid]):
                elapsed_s = max(apart_s(before, after), 1e-9)
                then = was[owner.pid]
                yield row, owner, (owner.cpu_s + owner.delay_s - then.cpu_s - then.delay_s) / elapsed_s


def spins(share: float) -> bool:
    """Whether a process that was awake for this share of the time was awake for most of it."""
    return share > _SPINNING


def is_at_its_limit(owner: Owner) -> bool:
    """Whether a process has as many file descriptors open as its RLIMIT_NOFILE allows."""
    return owner.fd_limit is not None and owner.fds >= owner.fd_limit


def programs(row: Socket, snapshot: Snapshot) -> str:
    """The programs that have a socket open, or why none is named."""
    if row.inode == 0:
        return "no process"
    names = sorted({owner.program for owner in snapshot.owners_of(row)})
    return ", ".join(names) or "a process that could not be seen"


def connection(row: Socket, what: str = "") -> Evidence:
    """A connection as `ss` shows it, with what is special about it."""
    return Evidence(f"{host_and_port(row.local)} {row.state} {host_and_port(row.remote)}{what and f': {what}'}", row)


def connections(rows: Iterable[Socket]) -> tuple[Evidence, ...]:
    """One piece of evidence for each row."""
    return tuple(connection(row) for row in rows)


def listener(row: Socket, snapshot: Snapshot, what: str, owner: Owner | None = None) -> Evidence:
    """A listener, its programs, and what is special about it (or about that owner)."""
    text = f"{host_and_port(row.local)} LISTEN ({programs(row, snapshot)}): {what}"
    return Evidence(text, row, pid=owner.pid if owner else 0)


def host_and_port(endpoint: Endpoint) -> str:
    """An address and a port as `ss` shows them, with brackets around IPv6."""
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
