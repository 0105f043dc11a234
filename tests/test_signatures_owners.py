"""Signatures of owners and ports at what no story plays: borders, missing sysctls, unseen owners, IPv6, many rows."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

import pytest

from harness.diagnose.finding import Certainty, Finding
from harness.diagnose.signatures import owners, ports
from harness.diagnose.snapshot import ClosedCall, Owner, Snapshot
from harness.evidence.sockets import Socket, State, Timer

CLIENT, SERVER, OTHER = "192.0.2.1", ("192.0.2.2", 80), ("192.0.2.3", 80)
FOUR = {
    "net.ipv4.ip_local_port_range": "45000 45003",
    "net.ipv4.tcp_tw_reuse": "2",
    "net.ipv4.tcp_timestamps": "1",
}
NO_TIMER = Timer("none", 0.0, 0)


def row(state, local, remote=SERVER, inode=0, timer=NO_TIMER, recv_q=0):
    return Socket(State(state), local, remote, recv_q, 0, timer, inode, 0)


def waits(local_ports, host=CLIENT, remote=SERVER, expires_s=30.0):
    timer = Timer("time_wait", expires_s, 0)
    return [row("TIME_WAIT", (host, port), remote, timer=timer) for port in local_ports]


def look(rows: Iterable[Socket], *, at_s=5.0, **others):
    return Snapshot(at_s, tuple(rows), **others)


def judge(signature, after: Snapshot, **before) -> Finding | None:
    """Two looks that differ in what is given, 5 s apart."""
    return signature(dataclasses.replace(after, **{"time_s": 0.0, **before}), after)


def certainty(finding: Finding | None) -> str:
    """In a word; a finding that is only possible must name what is missing."""
    if finding is None:
        return "nothing"
    assert finding.unlike
    assert bool(finding.missing) == (finding.certainty == Certainty.POSSIBLE)
    return finding.certainty


# time_wait_port_exhaustion -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "found"),
        ({"net.ipv4.tcp_tw_reuse": "0"}, "found"),
        ({"net.ipv4.tcp_tw_reuse": "1"}, "possible"),
        ({"net.ipv4.tcp_tw_reuse": "1", "net.ipv4.tcp_timestamps": "0"}, "found"),
        ({"net.ipv4.tcp_tw_reuse": ""}, "possible"),
        ({"net.ipv4.ip_local_port_range": ""}, "nothing"),
        ({"net.ipv4.ip_local_port_range": "many ports"}, "nothing"),
        ({"net.ipv4.ip_local_port_range": "45000 45004"}, "nothing"),
        ({"net.ipv4.ip_local_port_range": "45000 45005", "net.ipv4.ip_local_reserved_ports": "45004-45005"}, "found"),
    ],
)
def test_a_full_range_is_certain_unless_a_time_wait_may_be_taken_over(changed, expected):
    after = look(waits(range(45000, 45004)), sysctls=FOUR | changed)
    assert certainty(judge(ports.time_wait_port_exhaustion, after)) == expected


@pytest.mark.parametrize(
    ("mode", "host", "expected"),
    [
        ("2", "127.0.0.1", "possible"),
        ("2", "::1", "possible"),
        ("2", "::ffff:127.0.0.1", "possible"),
        ("2", "2001:db8::1", "found"),
        ("2", "fe80::1%eth0", "found"),
        ("0", "127.0.0.1", "found"),
    ],
)
def test_at_2_only_loopback_is_taken_over(mode, host, expected):
    after = look(waits(range(45000, 45004), host), sysctls=FOUR | {"net.ipv4.tcp_tw_reuse": mode})
    assert certainty(judge(ports.time_wait_port_exhaustion, after)) == expected


def test_a_loopback_server_is_enough_for_it():
    after = look(waits(range(45000, 45004), remote=("127.0.0.1", 80)), sysctls=FOUR | {"net.ipv4.tcp_tw_reuse": "2"})
    assert certainty(judge(ports.time_wait_port_exhaustion, after)) == "possible"


def test_if_time_waits_are_taken_over_the_range_is_not_exhausted():
    sysctls = FOUR | {"net.ipv4.tcp_tw_reuse": "1"}
    after = look(waits(range(45000, 45004)), sysctls=sysctls, counters={"TcpExtTWRecycled": 8})
    assert judge(ports.time_wait_port_exhaustion, after, counters={"TcpExtTWRecycled": 7}) is None
    assert judge(ports.time_wait_port_exhaustion, after, counters={}) is not None  # its growth is not known


def test_mapped_and_plain_ipv4_share_the_ports():
    mapped = waits([45002, 45003], f"::ffff:{CLIENT}", ("::ffff:192.0.2.2", 80))
    after = look([*waits([45000, 45001]), *mapped], sysctls=FOUR)
    assert certainty(judge(ports.time_wait_port_exhaustion, after)) == "found"


def test_a_port_that_listens_is_not_for_connect():
    listener = row("LISTEN", ("0.0.0.0", 45003), ("0.0.0.0", 0), inode=1)
    after = look([*waits([45000, 45001, 45002]), listener], sysctls=FOUR)
    assert certainty(judge(ports.time_wait_port_exhaustion, after)) == "found"


@pytest.mark.parametrize(("count", "expected"), [(2, "nothing"), (3, "found")])
def test_more_than_half_must_be_time_waits(count, expected):
    all_ports = range(45000, 45004)
    open_ones = [row("ESTABLISHED", (CLIENT, port), inode=port) for port in all_ports[count:]]
    after = look([*waits(all_ports[:count]), *open_ones], sysctls=FOUR)
    assert certainty(judge(ports.time_wait_port_exhaustion, after)) == expected


def test_time_waits_to_different_servers_use_up_nothing():
    after = look([*waits([45000, 45001]), *waits([45002, 45003], remote=OTHER)], sysctls=FOUR)
    assert judge(ports.time_wait_port_exhaustion, after) is None


@pytest.mark.parametrize(
    ("young", "old", "expected"),
    [(2352, 20000, "nothing"), (2353, 20000, "possible"), (2353, 11763, "nothing"), (2353, 11764, "possible")],
)
def test_a_rate_that_needs_more_ports_in_60_s_than_there_are_is_possible(young, old, expected):
    """28,232 ports at 5 s of 60: 2,352.67; more than half of the range: 14,117."""
    sysctls = FOUR | {"net.ipv4.ip_local_port_range": "32768 60999"}
    rows = [*waits(range(33000, 33000 + young), expires_s=55.1), *waits(range(40000, 40000 + old), expires_s=54.9)]
    after = look(rows, sysctls=sysctls)
    assert certainty(judge(ports.time_wait_port_exhaustion, after)) == expected


# the other signatures of ports ---------------------------------------------------------------------------------------


def test_bind_is_suspected_only_if_no_port_is_used_twice():
    once = [row("ESTABLISHED", (CLIENT, 45000 + n), OTHER if n % 2 else SERVER, n + 1) for n in range(4)]
    finding = judge(ports.bind_before_connect_exhausts, look(once, sysctls=FOUR))
    assert certainty(finding) == "possible"
    twice = [*once, row("ESTABLISHED", (CLIENT, 45000), OTHER, 9)]
    assert judge(ports.bind_before_connect_exhausts, look(twice, sysctls=FOUR)) is None


def test_connections_of_a_server_that_listens_do_not_keep_it_from_restarting():
    client = (CLIENT, 45001)
    old = row("TIME_WAIT", SERVER, client)
    finding = judge(ports.address_in_use_at_restart, look([old], sysctls=FOUR))
    assert certainty(finding) == "possible"
    listener = row("LISTEN", ("::", 80), ("::", 0), inode=1)
    assert judge(ports.address_in_use_at_restart, look([old, listener], sysctls=FOUR)) is None
    assert judge(ports.address_in_use_at_restart, look(waits([45001]), sysctls=FOUR)) is None  # a client's
    assert judge(ports.address_in_use_at_restart, look([old])) is None  # the range is not known


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(("state", "expected"), [("SYN_SENT", "nothing"), ("ESTABLISHED", "found")])
def test_self_connect_is_one_socket_at_both_ends(host, state, expected):
    end = (host, 45000)
    assert certainty(judge(ports.self_connect, look([row(state, end, end, 1)]))) == expected


def test_two_ends_of_a_connection_on_one_host_are_no_self_connect():
    one, two = (CLIENT, 45000), (CLIENT, 80)
    rows = [row("ESTABLISHED", one, two, 1), row("ESTABLISHED", two, one, 2)]
    assert judge(ports.self_connect, look(rows)) is None


GROWN = {"TcpExtTCPSYNChallenge": 3, "TcpEstabResets": 3}


@pytest.mark.parametrize(
    ("was", "now", "grown", "expected"),
    [
        (7, 8, ["TcpExtTCPSYNChallenge", "TcpEstabResets"], "found"),
        (7, 0, ["TcpExtTCPSYNChallenge", "TcpEstabResets"], "found"),  # not accepted yet
        (7, 8, ["TcpExtTCPSYNChallenge"], "nothing"),  # no RST: the server has closed the old one
        (7, 8, ["TcpEstabResets"], "nothing"),
        (7, 7, ["TcpExtTCPSYNChallenge", "TcpEstabResets"], "nothing"),  # the same socket is no new connection
    ],
)
def test_a_new_connection_in_the_place_of_a_close_wait(was, now, grown, expected):
    client = (CLIENT, 45000)
    after = look([row("ESTABLISHED", SERVER, client, now)], counters=GROWN)
    counters = GROWN | dict.fromkeys(grown, 2)
    before = (row("CLOSE_WAIT", SERVER, client, was),)
    finding = judge(ports.close_wait_meets_reused_port, after, sockets=before, counters=counters)
    assert certainty(finding) == expected


def test_a_challenge_ack_beside_close_waits_is_possible():
    kept = row("CLOSE_WAIT", SERVER, (CLIENT, 45000), 7)
    finding = judge(ports.close_wait_meets_reused_port, look([kept], counters=GROWN), counters=dict.fromkeys(GROWN, 2))
    assert certainty(finding) == "possible"


# owners --------------------------------------------------------------------------------------------------------------


def server(pid=10, program="serve", fds=5, limit=1024, **others):
    return Owner(pid, program, fds, limit, 0.0, **others)


def kept(count, first_inode=1):
    return [row("CLOSE_WAIT", SERVER, (CLIENT, 40000 + n), first_inode + n) for n in range(count)]


def held(rows, *by):
    return {each.inode: by for each in rows}


@pytest.mark.parametrize(
    ("count", "fds", "limit", "expected"),
    [
        (1, 1024, 1024, "nothing"),
        (2, 1023, 1024, "possible"),
        (2, 1024, 1024, "found"),
        (512, 600, 1024, "possible"),
        (513, 600, 1024, "found"),
        (513, 600, None, "possible"),
    ],
)
def test_close_waits_are_a_pile_by_their_process_s_own_limit(count, fds, limit, expected):
    rows = kept(count)
    after = look(rows, owners=held(rows, server(fds=fds, limit=limit)))
    assert certainty(judge(owners.close_wait_piles_up, after)) == expected


@pytest.mark.parametrize(("live", "expected"), [(1, "found"), (2, "nothing")])
def test_a_process_with_more_open_connections_piles_up_nothing(live, expected):
    dead = kept(2)
    open_ones = [row("ESTABLISHED", SERVER, (CLIENT, 50000 + n), 100 + n) for n in range(live)]
    after = look([*dead, *open_ones], owners=held([*dead, *open_ones], server(fds=9, limit=9)))
    assert certainty(judge(owners.close_wait_piles_up, after)) == expected


def test_close_waits_are_counted_by_process_not_by_program():
    one, two = kept(1), kept(1, first_inode=2)
    workers = [server(pid=10, fds=9, limit=9), server(pid=11, fds=9, limit=9)]
    after = look([*one, *two], owners=held(one, workers[0]) | held(two, workers[1]))
    assert judge(owners.close_wait_piles_up, after) is None


def test_close_waits_that_change_between_the_looks_are_not_kept():
    after = look(kept(3, first_inode=4), owners=held(kept(3, first_inode=4), server(fds=9, limit=9)))
    assert judge(owners.close_wait_piles_up, after, sockets=tuple(kept(3))) is None


@pytest.mark.parametrize(("inode", "expected"), [(0, "found"), (7, "nothing"), (-1, "nothing")])
def test_a_close_wait_whose_owner_cannot_be_seen_has_an_inode(inode, expected):
    """-1: from `ss` without -e, which shows no inode."""
    after = look([row("CLOSE_WAIT", SERVER, (CLIENT, 40000), inode)], unseen=("the processes of 1 sockets",))
    assert certainty(judge(owners.close_wait_without_owner, after)) == expected


CALL = ClosedCall(10, "serve", "recvfrom", 5)


@pytest.mark.parametrize(
    ("inode", "calls_before", "calls", "expected"),
    [
        (7, (CALL,), (CALL,), "found"),
        (7, (), (CALL,), "nothing"),
        (7, (CALL,), (), "nothing"),  # NFS, or a process elsewhere
        (0, (CALL,), (CALL,), "nothing"),  # not accepted yet, or an orphan
        (-1, (CALL,), (CALL,), "nothing"),
    ],
)
def test_an_inode_without_owner_needs_a_thread_in_a_call(inode, calls_before, calls, expected):
    after = look([row("ESTABLISHED", SERVER, (CLIENT, 40000), inode)], closed_calls=calls)
    assert certainty(judge(owners.close_in_another_thread, after, closed_calls=calls_before)) == expected


def asleep(inode, **others):
    return server(**{"program": "sleep", "pid": 20, "sleeps_beside": frozenset({inode}), **others})


LISTENER = row("LISTEN", SERVER, ("0.0.0.0", 0), 7, recv_q=1)
WAITING = row("ESTABLISHED", SERVER, (CLIENT, 40000))


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ([asleep(7)], "possible"),
        ([asleep(7), asleep(7, pid=21)], "possible"),
        ([asleep(7), server()], "nothing"),  # the server is there, and polls; systemd
        ([server(), server(pid=11)], "nothing"),  # pre-fork
        ([asleep(8)], "nothing"),
        ([], "nothing"),  # not seen
    ],
)
def test_a_listener_is_inherited_only_if_all_its_owners_sleep(by, expected):
    after = look([LISTENER, WAITING], owners={7: tuple(by)} if by else {})
    assert certainty(judge(owners.listening_fd_inherited, after)) == expected
    assert judge(owners.listening_fd_inherited, dataclasses.replace(after, sockets=(LISTENER,))) is None


def test_a_process_that_has_run_between_the_looks_does_not_only_sleep():
    now, then = asleep(7), dataclasses.replace(asleep(7), cpu_s=-0.001)
    after = look([LISTENER, WAITING], owners={7: (now,)})
    assert judge(owners.listening_fd_inherited, after, owners={7: (then,)}) is None


PARENT = server(pid=10, program="controller")


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ([PARENT, server(pid=20, program="tcpdump", parent=10)], "possible"),
        ([PARENT, server(pid=20, program="controller", parent=10)], "nothing"),  # pre-fork
        ([PARENT, server(pid=20, program="git", parent=10, streams=frozenset({7}))], "nothing"),  # handed over
        ([PARENT, server(pid=20, program="tcpdump", parent=1)], "nothing"),
        ([server(pid=20, program="tcpdump", parent=10)], "nothing"),
        ([asleep(7)], "possible"),
        ([PARENT], "nothing"),
        ([], "nothing"),
    ],
)
def test_a_connection_leaks_into_a_child_of_another_program(by, expected):
    after = look([row("ESTABLISHED", (CLIENT, 40000), SERVER, 7)], owners={7: tuple(by)} if by else {})
    assert certainty(judge(owners.socket_leaks_into_a_child, after)) == expected


def test_the_parent_may_have_closed_between_the_looks():
    child = server(pid=20, program="tcpdump", parent=10)
    after = look([row("ESTABLISHED", (CLIENT, 40000), SERVER, 7)], owners={7: (child,)})
    finding = judge(owners.socket_leaks_into_a_child, after, owners={7: (PARENT, child)})
    assert certainty(finding) == "possible"


# many rows -----------------------------------------------------------------------------------------------------------


class Counted(tuple[Socket, ...]):
    """A table that counts how often it is read from its beginning to its end."""

    reads: ClassVar[Counter[int]] = Counter()

    def __iter__(self):
        Counted.reads[id(self)] += 1
        return super().__iter__()


def many(count):
    for n in range(count):
        local, remote = ("192.0.2.2", 80), (f"10.{n >> 16}.{(n >> 8) & 255}.{n & 255}", 40000)
        yield row(["ESTABLISHED", "CLOSE_WAIT", "TIME_WAIT"][n % 3], local, remote, n % 3 < 2 and n + 1)


@pytest.mark.parametrize("signature", [*owners.SIGNATURES, *ports.SIGNATURES], ids=lambda each: each.__name__)
def test_the_reads_of_a_table_do_not_grow_with_its_rows(signature):
    """So that the time grows with the rows, and not with their square."""
    reads = []
    for count in (10, 100_000):
        rows = Counted(many(count))
        after = look((), sysctls=FOUR, owners=held(rows, server(limit=10**6)), counters=GROWN)
        after = dataclasses.replace(after, sockets=rows)
        Counted.reads.clear()
        judge(signature, after, counters={"TcpExtTCPSYNChallenge": 1})
        reads.append(sum(Counted.reads.values()))
    assert reads[0] == reads[1] < 30
