"""Signatures of the lessons in scenarios/ports/."""

from collections.abc import Iterator, Set
from functools import lru_cache
from ipaddress import ip_address

from harness.diagnose.finding import Evidence, Finding
from harness.diagnose.signatures.common import (
    apart_s,
    connection,
    grown,
    growth,
    host_and_port,
    pairs,
)
from harness.diagnose.snapshot import Snapshot
from harness.evidence.sockets import Endpoint, Socket, State, unmapped
from harness.output.wording import counted

_TIME_WAIT_S = 60.0
"""TCP_TIMEWAIT_LEN (include/net/tcp.h)."""

_ACCEPTED = (State.SYN_RECV, State.ESTABLISHED)


def time_wait_port_exhaustion(before: Snapshot, after: Snapshot) -> Finding | None:
    """From one address to one server all ephemeral ports are taken, more than half of them by TIME_WAIT.

    __inet_hash_connect() returns EADDRNOTAVAIL if every port of ip_local_port_range is reserved, was bound by bind()
    (as a listener's was), or has a connection to the same address and port that __inet_check_established() cannot take
    over. It is only possible if tcp_twsk_unique() may allow that (see _never_taken_over), or if ports are left, but
    will not last (see _will_be_exhausted).
    """
    ports = _ephemeral_ports(after) - {row.local[1] for row in after.listeners()}
    certain: list[Evidence] = []
    possible: list[Evidence] = []
    missing = ""
    for (host, server), group in _by_destination(after, ports).items():
        waits = [row for row in group if row.state == State.TIME_WAIT]
        taken = len({row.local[1] for row in group})
        is_full = taken == len(ports) and 2 * len(waits) > taken
        stays = _never_taken_over(host, server[0], after)
        if is_full and (stays or not growth("TcpExtTWRecycled", before, after)):
            why = "" if stays else _REUSE
        elif not is_full and stays and _will_be_exhausted(waits, len(ports), apart_s(before, after)):
            why = _RATE
        else:
            continue
        used = f"{taken} of {counted(len(ports), 'ephemeral port')} in use, {len(waits)} by TIME_WAIT"
        text = f"{host} to {host_and_port(server)}: {used}"
        (possible if why else certain).append(Evidence(text, waits[0]))
        missing = missing or why
    unlike = "TIME_WAITs towards different servers share the ports, and those at a server's own port take none"
    rows = tuple(certain or possible)
    return Finding("time_wait_port_exhaustion", rows, unlike, "" if certain else missing) if rows else None


def _will_be_exhausted(waits: list[Socket], ports: int, elapsed_s: float) -> bool:
    """Whether TIME_WAITs have taken more than half of the ports, and begin at a rate that needs more than all of them.

    The rate is that of the TIME_WAITs which have begun since the first snapshot; each lasts for 60 s. Half of the range
    must be taken, because a rate alone may be that of a short burst.
    """
    if 2 * len(waits) <= ports:
        return False
    return sum(_age_s(row) < elapsed_s for row in waits) * _TIME_WAIT_S > ports * elapsed_s


_REUSE = (
    "whether connect() may take over a TIME_WAIT with timestamps after 1 s (net.ipv4.tcp_tw_reuse_delay): see "
    "`sysctl net.ipv4.tcp_tw_reuse net.ipv4.tcp_timestamps`, and whether `nstat -az TcpExtTWRecycled` grows"
)
_RATE = (
    "whether the rate lasts: in 60 s it would take more ports than there are. Repeat `ss -Htan state time-wait | wc -l`"
)


def _never_taken_over(host: str, server: str, snapshot: Snapshot) -> bool:
    """Whether connect(), without a bind() before, can take over none of these TIME_WAITs, however old they are.

    tcp_twsk_unique() refuses if net.ipv4.tcp_tw_reuse is 0, or 2 and neither address is a loopback address, and for
    connections without timestamps. (After a bind() to the port, only timestamps matter.) False if the sysctls are not
    known.
    """
    mode = snapshot.sysctls.get("net.ipv4.tcp_tw_reuse", "")
    if mode == "0" or snapshot.sysctls.get("net.ipv4.tcp_timestamps") == "0":
        return True
    return mode == "2" and not any(ip_address(each.partition("%")[0]).is_loopback for each in (host, server))


def _age_s(row: Socket) -> float:
    """The age of a TIME_WAIT in seconds, from its timer; 60 if the source shows no timer."""
    return _TIME_WAIT_S - row.timer.expires_s if row.timer.name == "time_wait" else _TIME_WAIT_S


def bind_before_connect_exhausts(before: Snapshot, after: Snapshot) -> Finding | None:
    """At one address every ephemeral port has one connection, and none has two: bind() with port 0 fails.

    inet_csk_find_open_port() skips each port that a socket has at that address, whichever the server, so bind() is
    certain to fail. But no socket shows whether bind() or connect() chose its port: connect() alone would use the same
    ports again for another server (__inet_hash_connect). So it is only possible, and not reported if most of the
    connections are TIME_WAITs to one server, which time_wait_port_exhaustion explains.
    """
    del before
    ports = _ephemeral_ports(after) - {row.local[1] for row in after.listeners()}
    evidence = []
    by_host: dict[str, list[Socket]] = {}
    for (host, _), group in _by_destination(after, ports).items():
        by_host.setdefault(host, []).extend(group)
    for host, group in by_host.items():
        if len(group) != len(ports) or len({row.local[1] for row in group}) != len(ports):
            continue
        servers = {row.remote for row in group}
        if len(servers) > 1 or 2 * sum(row.state == State.TIME_WAIT for row in group) <= len(group):
            text = (
                f"{host}: one connection at each of {len(ports)} ephemeral ports, to {counted(len(servers), 'server')}"
            )
            evidence.append(Evidence(text, group[0]))
    if not evidence:
        return None
    unlike = "connect() without bind() uses the same ports for each server, and fails with EADDRNOTAVAIL"
    missing = "whether the program calls bind() before connect(): `strace -f -e trace=bind,connect -p PID`"
    return Finding("bind_before_connect_exhausts", tuple(evidence), unlike, missing)


def address_in_use_at_restart(before: Snapshot, after: Snapshot) -> Finding | None:
    """Connections that a server accepted at a port which no longer has a listener: they keep the port.

    inet_bind_conflict() then refuses the port unless both sockets set SO_REUSEADDR (or both SO_REUSEPORT). The table
    shows neither these options nor whether a server is to start at all, so it is only possible. A connection counts as
    accepted if its own port is not in ip_local_port_range and its peer's port is. A text may be without listeners (`ss`
    without -a); then nothing is known.
    """
    if not after.has_all_states:
        return None
    ephemeral = _range(after)
    listening = {row.local[1] for row in after.listeners()}
    evidence = tuple(
        connection(row, "no listener at this port")
        for state in State
        if state not in (State.LISTEN, State.SYN_SENT)
        for _, row in pairs(state, before, after)
        if row.local[1] not in ephemeral and row.remote[1] in ephemeral and row.local[1] not in listening
    )
    if not evidence:
        return None
    unlike = "a listener at the port causes EADDRINUSE as well, but `ss -ltn` shows it"
    missing = (
        "whether a server fails to start there: see its log, or `strace -f -e trace=setsockopt,bind,listen SERVER`"
    )
    return Finding("address_in_use_at_restart", evidence, unlike, missing)


def close_wait_meets_reused_port(before: Snapshot, after: Snapshot) -> Finding | None:
    """A SYN reached a connection in CLOSE_WAIT, was answered by a challenge ACK, and RST ended the CLOSE_WAIT.

    TCPSYNChallenge counts each SYN that reaches a synchronized connection (tcp_validate_incoming), and EstabResets each
    ESTABLISHED or CLOSE_WAIT that is reset (tcp_set_state). It is certain if, besides, a new connection has the
    addresses and ports of a CLOSE_WAIT of the first snapshot. Otherwise the SYN may have reached any connection.
    """
    challenges = grown("TcpExtTCPSYNChallenge", before, after)
    if not challenges:
        return None
    resets = grown("TcpEstabResets", before, after)
    unlike = "a full accept queue makes TcpExtListenOverflows grow instead; a lost SYN causes no challenge ACK"
    old = {(row.local, row.remote): row for row in before.sockets if row.state == State.CLOSE_WAIT and row.inode}
    again = [
        row
        for row in after.sockets
        if row.state in _ACCEPTED and (then := old.get((row.local, row.remote))) and then.inode != row.inode
    ]
    if resets and again:
        new = tuple(Evidence(f"{connection(row).text}, which was CLOSE_WAIT before") for row in again)
        return Finding("close_wait_meets_reused_port", challenges + resets + new, unlike)
    kept = tuple(connection(row) for _, row in pairs(State.CLOSE_WAIT, before, after) if row.inode)
    if not kept:
        return None
    missing = "which connection the SYN reached: `tcpdump 'tcp[tcpflags] & (tcp-syn|tcp-rst) != 0'`"
    return Finding("close_wait_meets_reused_port", challenges + kept, unlike, missing)


def self_connect(before: Snapshot, after: Snapshot) -> Finding | None:
    """A socket whose two ends are the same: connect() was given, as its own port, the port that it connects to.

    tcp_rcv_synsent_state_process() allows it ("it can be connect to self"), as a simultaneous open. SYN_SENT is left
    out, as nothing may have come back yet.
    """
    del before
    rows = tuple(
        connection(row, "both ends are this socket")
        for row in after.sockets
        if row.local == row.remote and row.state not in (State.LISTEN, State.SYN_SENT)
    )
    unlike = "a connection between two sockets of this host has two rows, one with the ends exchanged"
    return Finding("self_connect", rows, unlike) if rows else None


def _by_destination(snapshot: Snapshot, ports: Set[int]) -> dict[tuple[str, Endpoint], list[Socket]]:
    """The connections from these ports, by local address and peer.

    IPv4-mapped addresses are IPv4 addresses here, as in the kernel's table (inet_match).
    """
    found: dict[tuple[str, Endpoint], list[Socket]] = {}
    for row in snapshot.sockets:
        if row.local[1] in ports and row.state != State.LISTEN:
            server = (unmapped(row.remote[0]), row.remote[1])
            found.setdefault((unmapped(row.local[0]), server), []).append(row)
    return found


def _range(snapshot: Snapshot) -> range:
    """ip_local_port_range; empty if it is not known."""
    limits = snapshot.sysctls.get("net.ipv4.ip_local_port_range", "").split()
    if len(limits) != 2 or not all(limit.isdecimal() for limit in limits):
        return range(0)
    return range(int(limits[0]), min(int(limits[1]), 65535) + 1)


def _ephemeral_ports(snapshot: Snapshot) -> frozenset[int]:
    """ip_local_port_range without ip_local_reserved_ports."""
    return _ports(_range(snapshot), snapshot.sysctls.get("net.ipv4.ip_local_reserved_ports", ""))


@lru_cache(maxsize=4)
def _ports(all_ports: range, reserved: str) -> frozenset[int]:
    ports = set(all_ports)
    for each in _reserved(reserved):
        ports.difference_update(each)
    return frozenset(ports)


def _reserved(text: str) -> Iterator[range]:
    """The ranges of a list of ports and ranges, "8080,9000-9010"."""
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal() and (not last or last.isdecimal()):
            yield range(int(first), min(int(last or first), 65535) + 1)


SIGNATURES = (
    time_wait_port_exhaustion,
    bind_before_connect_exhausts,
    address_in_use_at_restart,
    close_wait_meets_reused_port,
    self_connect,
)
