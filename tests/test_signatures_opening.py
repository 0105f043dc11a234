"""The signatures of scenarios/opening/ where no story plays them: borders, what is missing, addresses, a real loop."""

import dataclasses
import errno
import itertools
import os
import socket
from pathlib import Path

import pytest

from harness.diagnose import live
from harness.diagnose.finding import Certainty
from harness.diagnose.signatures import SIGNATURES
from harness.diagnose.signatures.common import group_of, listening, queues
from harness.diagnose.snapshot import Owner, Snapshot
from harness.evidence.sockets import Socket, State, Timer
from harness.evidence.tcp_info import SACK, TIMESTAMPS, WINDOW_SCALE, Details
from harness.stock_roles import leave_fds, listen, reset_on_close

HOST, OTHER, CLIENT, ANY = "192.0.2.2", "192.0.2.3", "192.0.2.1", "0.0.0.0"
NO_TIMER, NO_DETAILS = Timer("none", 0.0, 0), Details()
numbers = itertools.count(1000)


def mapped(host):
    return f"::ffff:{host}"


def listener(recv_q, send_q=128, host=HOST, port=80, inode=0, details=NO_DETAILS):
    inode = inode or next(numbers)
    return Socket(State.LISTEN, (host, port), ("::" if ":" in host else ANY, 0), recv_q, send_q, NO_TIMER, inode, 0,
                  details)  # fmt: skip


def waiting(port, host=HOST, state=State.ESTABLISHED, to=80, **changes):
    """A connection without an owner."""
    remote = (mapped(CLIENT) if ":" in host else CLIENT, port)
    return dataclasses.replace(
        Socket(state, (host, to), remote, 0, 0, NO_TIMER, 0, 0, Details(bytes_retrans=0, options=7)), **changes
    )


def request(port, retransmits, expires_s=0.5, host=HOST):
    timer = Timer("retransmit", expires_s, retransmits)
    return Socket(State.SYN_RECV, (host, 80), (CLIENT, port), 0, 0, timer, 0, 0, None)


def calling(retransmits, port=40001):
    timer = Timer("retransmit", 0.5, retransmits)
    return Socket(State.SYN_SENT, (CLIENT, port), (HOST, 80), 0, 1, timer, 77, 0, Details())


def client(port, state=State.ESTABLISHED):
    return Socket(state, (CLIENT, port), (HOST, 80), 0, 0, NO_TIMER, 5000 + port, 0, Details())


def look(*rows, time_s=10.0, owners=None, **counters):
    named = {name if name.startswith("Tcp") else f"TcpExt{name}": count for name, count in counters.items()}
    return Snapshot(time_s, rows, owners or {}, named)


def judge(name, before, after):
    """The certainty of what a signature finds, or None."""
    finding = SIGNATURES[name](before, after)
    if finding is None:
        return None
    assert (finding.certainty == Certainty.POSSIBLE) == bool(finding.missing)
    assert finding.evidence
    return finding.certainty


def still(name, *rows, before=None, **after):
    """The same rows twice; counters before (0 if not given) and after."""
    return judge(name, look(*rows, **(before or dict.fromkeys(after, 0))), look(*rows, time_s=15.0, **after))


@pytest.mark.parametrize(("recv_q", "found"), [(127, None), (128, None), (129, Certainty.POSSIBLE)])
def test_a_queue_is_full_above_its_backlog(recv_q, found):
    """Recv-Q equal to Send-Q leaves one place (sk_acceptq_is_full)."""
    assert still("full_accept_queue", listener(recv_q)) == found


def test_a_backlog_of_zero_is_one():
    assert still("full_accept_queue", listener(1, 0), ListenOverflows=1) == Certainty.FOUND


def test_without_a_backlog_a_full_queue_is_only_possible():
    """As in /proc/net/tcp, in which Send-Q of a listener is 0."""
    row = listener(100, 0, details=None)
    finding = SIGNATURES["full_accept_queue"](look(row), look(row))
    assert finding.certainty == Certainty.POSSIBLE
    assert finding.missing.startswith("/proc/net/tcp does not show the backlog")
    assert "backlog 0" not in finding.evidence[0].text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ListenOverflows": 5}, {"ListenOverflows": 5}),
        ({"ListenOverflows": 5}, {"ListenOverflows": 1}),
        ({"a": 0}, {}),
    ],
    ids=["not grown", "reset in between", "missing"],
)
def test_a_full_queue_that_turned_nobody_away_is_only_possible(before, after):
    assert still("full_accept_queue", listener(3, 2), before=before, **after) == Certainty.POSSIBLE


def test_a_queue_that_is_getting_shorter_is_no_fault():
    row = listener(5, 2)
    assert judge("full_accept_queue", look(dataclasses.replace(row, recv_q=6)), look(row)) is None


@pytest.mark.parametrize(
    ("then", "now", "text"),
    [
        (0, 0, "a queue was full for a moment: none is in both looks"),
        (3, 1, "a queue was full for a moment: none is in both looks"),
        (0, 3, "192.0.2.2:80 LISTEN (a process that could not be seen): 3 connections wait, backlog 2"),
    ],
)
def test_a_queue_that_was_full_for_a_moment_is_counted(then, now, text):
    row = listener(now, 2)
    before, after = look(dataclasses.replace(row, recv_q=then), ListenOverflows=7), look(row, ListenOverflows=9)
    finding = SIGNATURES["full_accept_queue"](before, after)
    assert finding.certainty == Certainty.FOUND
    assert [each.text for each in finding.evidence] == [text, "TcpExtListenOverflows +2"]


def test_without_connections_a_queue_is_not_known_to_be_dead():
    """`ss -ltn` shows none."""
    seen = dataclasses.replace(look(listener(2), PassiveOpens=0), has_all_states=False)
    assert judge("reset_before_accept", seen, seen) is None


def test_a_queue_without_rows_was_reset():
    assert still("reset_before_accept", listener(2), waiting(40001), TcpPassiveOpens=0) == Certainty.FOUND
    assert still("reset_before_accept", listener(1), waiting(40001), TcpPassiveOpens=0) is None
    assert still("reset_before_accept", listener(0), TcpPassiveOpens=0) is None


@pytest.mark.parametrize(("new", "found"), [(1, Certainty.FOUND), (2, Certainty.POSSIBLE)])
def test_if_something_may_have_been_accepted_it_is_only_possible(new, found):
    """One handshake was completed, and the queue has one more; with two, accept() has taken one out."""
    before, after = listener(2, inode=1), listener(3, inode=1)
    counted = look(before, TcpPassiveOpens=0), look(after, TcpPassiveOpens=new)
    assert judge("reset_before_accept", *counted) == found
    assert judge("reset_before_accept", look(before), look(after)) == Certainty.POSSIBLE


def test_a_connection_that_waits_in_close_wait_is_not_gone():
    assert still("reset_before_accept", listener(1), waiting(40001, state=State.CLOSE_WAIT), TcpPassiveOpens=0) is None


def test_a_fast_open_connection_in_syn_recv_waits_but_a_request_does_not():
    fast_open = waiting(40001, state=State.SYN_RECV)
    assert still("reset_before_accept", listener(1), fast_open, TcpPassiveOpens=0) is None
    assert still("reset_before_accept", listener(1), request(40001, 0), TcpPassiveOpens=0) == Certainty.FOUND


@pytest.mark.parametrize(
    ("hosts", "takes"),
    [
        ([HOST], HOST),
        ([OTHER], None),
        ([ANY], ANY),
        ([ANY, HOST], HOST),
        ([ANY, OTHER], ANY),
        (["::"], "::"),
        (["::", ANY], ANY),
        (["::", HOST], HOST),
        ([mapped(HOST), ANY], HOST),
        (["2001:db8::1"], None),
    ],
)
@pytest.mark.parametrize("host", [HOST, mapped(HOST)])
def test_which_listener_takes_a_connection(hosts, takes, host):
    rows = [listener(1, host=each) for each in hosts]
    group = group_of(waiting(40001, host=host), listening(look(*rows)))
    assert group == (takes and (takes, 80))


def test_ipv6_is_not_for_a_listener_of_ipv4():
    row = Socket(State.ESTABLISHED, ("2001:db8::1", 80), ("2001:db8::2", 40001), 0, 0, NO_TIMER, 0, 0)
    assert group_of(row, {(ANY, 80): []}) is None
    assert group_of(row, {(ANY, 80): [], ("::", 80): []}) == ("::", 80)


def test_listeners_on_one_port_do_not_lend_each_other_rows():
    """Two connections wait at one address, and a dead one at the other."""
    rows = listener(2), waiting(40001), waiting(40002), listener(1, host=OTHER)
    before, after = look(*rows, TcpPassiveOpens=0), look(*rows, TcpPassiveOpens=0)
    finding = SIGNATURES["reset_before_accept"](before, after)
    assert [each.row.local[0] for each in finding.evidence] == [OTHER]


def test_a_listener_on_any_address_has_what_no_other_takes():
    rows = listener(1, host=ANY), listener(1), waiting(40001), waiting(40002, host=OTHER)
    assert {group: len(each) for group, each in queues(look(*rows)).items()} == {(ANY, 80): 1, (HOST, 80): 1}
    assert still("reset_before_accept", *rows, TcpPassiveOpens=0) is None


def test_listeners_that_share_a_port_share_their_rows():
    """SO_REUSEPORT: no row shows in which of the queues it is."""
    shared = listener(1), listener(2)
    three = [waiting(port) for port in (40001, 40002, 40003)]
    assert still("reset_before_accept", *shared, *three, TcpPassiveOpens=0) is None
    assert still("reset_before_accept", *shared, *three[1:], TcpPassiveOpens=0) == Certainty.FOUND


def test_a_connection_that_waits_at_no_listener_may_be_in_any_queue():
    """As with IP_TRANSPARENT: its local address and port are those that the client has connected to."""
    intercepted = waiting(40001, host=OTHER, to=443)
    assert still("reset_before_accept", listener(1, port=15001), intercepted, TcpPassiveOpens=0) is None
    assert still("reset_before_accept", listener(2, port=15001), intercepted, TcpPassiveOpens=0) == Certainty.FOUND


def test_without_inodes_every_row_may_be_in_the_queue():
    """As from ss without -e: rows have negative inodes. With -p, those with a process are not in the queue."""
    rows = listener(1, inode=-1), waiting(40001, inode=-2)
    assert still("reset_before_accept", *rows, TcpPassiveOpens=0) is None
    looks = [look(*rows, owners={-2: (Owner(1, "server", 0, None, 0.0),)}, TcpPassiveOpens=0)] * 2
    assert judge("reset_before_accept", *looks) == Certainty.FOUND


def test_without_inodes_a_listener_is_not_known_to_be_gone():
    before, after = closing(inode=-1)
    counters = look(*before, TcpOutRsts=0, TcpEstabResets=0), look(*after, TcpOutRsts=2, TcpEstabResets=2)
    assert judge("listener_closed_with_a_queue", *counters) is None


def at_limit(row, fds, cpu_s=0.0, delay_s=0.0, limit=100):
    return {row.inode: (Owner(1, "server", fds, limit, cpu_s, delay_s),)}


@pytest.mark.parametrize(("fds", "limit", "found"), [(99, 100, None), (100, 100, Certainty.FOUND), (100, None, None)])
def test_a_server_has_no_fd_left_at_its_limit(fds, limit, found):
    row = listener(1)
    owners = at_limit(row, fds, limit=limit)
    assert judge("too_many_open_files", look(row, owners=owners), look(row, owners=owners)) == found


def test_another_process_may_still_accept():
    row = listener(1)
    owners = {row.inode: (*at_limit(row, 100)[row.inode], Owner(2, "worker", 99, 100, 0.0))}
    looks = look(row, owners=owners), look(row, owners=owners)
    assert judge("too_many_open_files", *looks) == Certainty.POSSIBLE
    spinning = {row.inode: (*at_limit(row, 100, cpu_s=5.0)[row.inode], owners[row.inode][1])}
    looks = look(row, time_s=10.0, owners=owners), look(row, time_s=15.0, owners=spinning)
    assert judge("accept_spins_on_emfile", *looks) == Certainty.POSSIBLE


@pytest.mark.parametrize("row", [listener(0), listener(1)], ids=["nothing waits", "an owner that cannot be seen"])
def test_without_a_queue_or_an_owner_nothing_is_said_of_its_fds(row):
    owners = at_limit(row, 100) if row.recv_q == 0 else {}
    for name in ("too_many_open_files", "accept_spins_on_emfile"):
        assert judge(name, look(row, owners=owners), look(row, owners=owners)) is None


@pytest.mark.parametrize(
    ("cpu_s", "delay_s", "spins"),
    [(0.0, 0.0, False), (2.5, 0.0, False), (2.6, 0.0, True), (1.0, 4.0, True)],
    ids=["sleeps", "half of the time", "more", "waits for a processor"],
)
def test_a_server_spins_if_it_is_awake_for_most_of_the_time(cpu_s, delay_s, spins):
    row = listener(1)
    before = look(row, time_s=10.0, owners=at_limit(row, 100))
    after = look(row, time_s=15.0, owners=at_limit(row, 100, cpu_s, delay_s))
    assert judge("accept_spins_on_emfile", before, after) == (Certainty.FOUND if spins else None)
    assert judge("too_many_open_files", before, after) == (None if spins else Certainty.FOUND)


@pytest.mark.parametrize(
    ("retransmits", "apart_s", "found"),
    [(0, 1.0, None), (0, 1.1, Certainty.FOUND), (1, 0.1, Certainty.FOUND)],
)
def test_connect_hangs_once_its_first_timeout_is_over(retransmits, apart_s, found):
    row = calling(retransmits)
    looks = look(row, time_s=10.0), look(row, time_s=10.0 + apart_s)
    assert judge("connect_that_hangs_told_apart", *looks) == found


def test_another_connect_from_the_same_port_is_not_the_same_one():
    before, after = calling(0), dataclasses.replace(calling(1), inode=78)
    assert judge("connect_that_hangs_told_apart", look(before), look(after)) is None


def test_a_new_connection_after_a_cookie_shows_what_was_forgotten():
    before = look(listener(0), SyncookiesRecv=0)

    def after(options):
        details = None if options is None else Details(options=options)
        return look(listener(0), waiting(40001, inode=9, details=details), SyncookiesRecv=1)

    name = "cookies_forget_options"
    assert judge(name, before, after(0)) == Certainty.FOUND
    assert judge(name, before, after(None)) == Certainty.POSSIBLE
    for kept in (TIMESTAMPS, SACK, WINDOW_SCALE):
        assert judge(name, before, after(kept)) is None


@pytest.mark.parametrize(("handshakes", "found"), [(1, Certainty.FOUND), (2, Certainty.POSSIBLE)])
def test_a_client_without_options_may_have_come_without_a_cookie(handshakes, found):
    before = look(listener(0), SyncookiesRecv=0, TcpPassiveOpens=0)
    bare = waiting(40001, inode=9, details=Details(options=0))
    after = look(listener(0), bare, SyncookiesRecv=1, TcpPassiveOpens=handshakes)
    assert judge("cookies_forget_options", before, after) == found


def test_an_old_connection_without_options_is_no_sign_of_a_cookie():
    rows = listener(0), waiting(40001, inode=9, details=Details(options=0))
    assert still("cookies_forget_options", *rows, SyncookiesRecv=1) == Certainty.POSSIBLE
    assert still("cookies_forget_options", *rows, SyncookiesRecv=0) is None


def test_cookies_that_nobody_returns_are_only_possible():
    assert still("cookies_forget_options", listener(0), SyncookiesSent=9, SyncookiesRecv=0) == Certainty.POSSIBLE


def test_an_idle_client_waits_behind_defer_accept():
    name, rows = "defer_accept_hides_idle_clients", (listener(0), request(40001, 0))
    assert still(name, *rows, TCPDeferAcceptDrop=1) == Certainty.FOUND
    assert still(name, *rows, TCPDeferAcceptDrop=0) is None
    looks = look(*rows, TCPDeferAcceptDrop=0), look(*rows, TCPDeferAcceptDrop=1)
    assert judge(name, *looks) is None, "the first timeout may not be over"
    assert still(name, listener(0), request(40001, 1), TCPDeferAcceptDrop=1) is None


@pytest.mark.parametrize(("expires_s", "found"), [(1.0, None), (1.1, Certainty.FOUND)])
def test_only_defer_accept_lets_the_first_timeout_pass_without_a_syn_ack(expires_s, found):
    """Even if the ACK was dropped before the first look."""
    assert still("defer_accept_hides_idle_clients", listener(0), request(40001, 0, expires_s)) == found


@pytest.mark.parametrize(("challenged", "found"), [(1, Certainty.FOUND), (0, None)])
def test_a_client_that_was_accepted_late_had_waited(challenged, found):
    """If it was ESTABLISHED when the SYN-ACK came again; otherwise, it may have lost the first one."""
    before = look(listener(0), TCPDeferAcceptDrop=0, TCPSYNChallenge=0)
    counters = {"TCPDeferAcceptDrop": 1, "TCPSYNChallenge": challenged}
    assert (
        judge("defer_accept_hides_idle_clients", before, look(listener(0), late(), client(40001), **counters)) == found
    )
    assert judge("defer_accept_hides_idle_clients", before, look(listener(0), late(), **counters)) is None


def closing(port=80, lost=2, kept=0, inode=1):
    """Before: a listener with a queue. After: no listener, and only those that were kept."""
    rows = [waiting(40001 + number, to=port) for number in range(lost + kept)]
    return [listener(lost + kept, port=port, inode=inode), *rows], rows[lost:]


@pytest.mark.parametrize(
    ("counters", "found"),
    [
        ({"TcpOutRsts": 2, "TcpEstabResets": 2}, Certainty.FOUND),
        ({"TcpOutRsts": 1, "TcpEstabResets": 2}, None),
        ({"TcpOutRsts": 2, "TcpEstabResets": 1}, None),
        ({"TcpOutRsts": 2, "TcpEstabResets": 2, "TCPAbortOnClose": 1}, None),
        ({"TcpOutRsts": 3, "TcpEstabResets": 3, "TCPAbortOnData": 1}, Certainty.FOUND),
    ],
)
def test_a_listener_that_is_gone_has_reset_its_queue(counters, found):
    before, after = closing()
    zeros = dict.fromkeys(counters, 0)
    assert judge("listener_closed_with_a_queue", look(*before, **zeros), look(*after, **counters)) == found


def test_a_listener_that_is_still_open_has_reset_nobody():
    before, after = closing()
    counters = look(*before, TcpOutRsts=0, TcpEstabResets=0), look(before[0], *after, TcpOutRsts=2, TcpEstabResets=2)
    assert judge("listener_closed_with_a_queue", *counters) is None


def test_a_queue_that_moves_to_another_listener_is_not_reset():
    """net.ipv4.tcp_migrate_req: the rows stay. So do those that were accepted before."""
    before, after = closing(lost=0, kept=2)
    counters = look(*before, TcpOutRsts=0, TcpEstabResets=0), look(listener(2), *after, TcpOutRsts=9, TcpEstabResets=9)
    assert judge("listener_closed_with_a_queue", *counters) is None


def test_one_of_two_listeners_on_a_port_may_be_closed():
    before, after = closing()
    other = listener(0, inode=2)
    counters = look(*before, other, TcpOutRsts=0, TcpEstabResets=0), look(*after, other, TcpOutRsts=2, TcpEstabResets=2)
    assert judge("listener_closed_with_a_queue", *counters) == Certainty.FOUND


COUNTS = {"TCPSYNChallenge": 1, "TCPSynRetrans": 1}


def late(**details):
    return waiting(40001, inode=9, details=Details(**{"total_retrans": 1, "bytes_retrans": 0} | details))


@pytest.mark.parametrize(
    ("details", "counters", "found"),
    [
        ({}, COUNTS, Certainty.FOUND),
        ({"total_retrans": 0}, COUNTS, None),
        ({"bytes_retrans": 100}, COUNTS, None),
        ({"bytes_retrans": None}, COUNTS, None),
        ({}, {"TCPSynRetrans": 1}, None),
        ({}, COUNTS | {"ListenOverflows": 1}, None),
        ({}, COUNTS | {"TCPDeferAcceptDrop": 1}, None),
    ],
)
def test_a_connection_that_began_late_lost_its_third_ack(details, counters, found):
    before = look(listener(0), request(40001, 0), **dict.fromkeys(counters, 0))
    after = look(listener(0), late(**details), client(40001), **counters)
    assert judge("third_ack_lost", before, after) == found


def test_a_late_connection_from_another_host_may_have_lost_the_syn_ack():
    """TCPSYNChallenge is then about some other connection of this host."""
    before = look(listener(0), request(40001, 0), **dict.fromkeys(COUNTS, 0))
    assert judge("third_ack_lost", before, look(listener(0), late(), **COUNTS)) is None
    assert judge("third_ack_lost", before, look(listener(0), late(), client(40002), **COUNTS)) is None


def test_a_connection_that_began_late_long_ago_is_no_news():
    assert still("third_ack_lost", listener(0), late(), **COUNTS) is None


@pytest.mark.parametrize(
    ("retransmits", "rows", "found"),
    [
        (0, [client(40001)], None),
        (1, [client(40001)], Certainty.FOUND),
        (1, [client(40001, State.FIN_WAIT2)], Certainty.FOUND),
        (1, [client(40001, State.SYN_SENT)], Certainty.POSSIBLE),
        (1, [], Certainty.POSSIBLE),
        (1, [client(40002)], Certainty.POSSIBLE),
    ],
)
def test_a_request_whose_syn_ack_is_sent_again_needs_its_clients_state(retransmits, rows, found):
    before = look(listener(0, inode=1), request(40001, 0), *rows)
    after = look(listener(0, inode=1), request(40001, retransmits), *rows)
    assert judge("third_ack_lost", before, after) == found


@pytest.mark.parametrize(
    ("row", "found"),
    [
        (listener(2, 2), Certainty.POSSIBLE),
        (listener(3, 2), None),
        (listener(0, host=OTHER), None),
        (listener(0, host=ANY), Certainty.POSSIBLE),
    ],
    ids=["room for one", "full", "of another address", "of any address"],
)
def test_a_listener_without_room_ignores_the_ack(row, found):
    assert still("third_ack_lost", row, request(40001, 1)) == found


def use_all_fds():
    leave_fds(1)
    os.open(os.devnull, os.O_RDONLY)


def spin(address):
    """accept() again at once, whatever it returns."""
    server = socket.create_server(address)
    server.setblocking(False)
    use_all_fds()
    yield "listening"
    try:
        while True:
            try:
                server.accept()
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
    except BlockingIOError:
        yield "the queue is empty"


def sleep_after_emfile(address):
    server = socket.create_server(address)
    use_all_fds()
    yield "listening"
    try:
        server.accept()
    except OSError as error:
        yield errno.errorcode[error.errno]


def call(address, port=0):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    reset_on_close(connection)
    connection.close()
    yield "reset"


def awake_s(pid):
    used, waited, _ = map(int, Path(f"/proc/{pid}/schedstat").read_text().split())
    return (used + waited) / 1e9


def test_a_real_loop_that_never_sleeps_is_told_from_one_that_does(lab):
    server = lab.start(spin, lab.server_address, to="listening")
    lab.start(call, lab.server_address, to="connected")
    server.resume()
    with live.of_process(lab.keeper_pid) as source:
        before, began_s = source.take(), awake_s(server.pid)
        lab.expect("it has been awake for 0.5 s", True, lambda: awake_s(server.pid) - began_s > 0.5)
        after = source.take()
    assert judge("accept_spins_on_emfile", before, after) == Certainty.FOUND
    assert judge("too_many_open_files", before, after) is None
    [evidence] = SIGNATURES["accept_spins_on_emfile"](before, after).evidence
    assert evidence.pid == server.pid


def test_a_real_server_that_stops_after_emfile_sleeps(lab):
    server = lab.start(sleep_after_emfile, lab.server_address, to="listening")
    lab.start(call, lab.server_address, to="connected")
    server.run_to("EMFILE")
    with live.of_process(lab.keeper_pid) as source:
        before = source.take()
        after = source.take()
    assert judge("too_many_open_files", before, after) == Certainty.FOUND
    assert judge("accept_spins_on_emfile", before, after) is None


def listen_on_both_families(port):
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    yield "listening"
    yield server.accept()


def test_a_real_listener_of_ipv6_has_its_ipv4_clients(lab):
    """Their rows have IPv4-mapped addresses; one client is reset, the other waits."""
    host, port = lab.server_address
    lab.start(listen_on_both_families, port, to="listening")
    lab.start(call, (host, port), 40001, to="connected")
    gone = lab.start(call, (host, port), 40002, to="connected")
    with live.of_process(lab.keeper_pid) as source:
        both = source.take()
        assert judge("reset_before_accept", both, source.take()) is None
        assert [row.local[0] for row in queues(both)["::", port]] == [mapped(host)] * 2
        gone.run_to("reset")
        assert judge("reset_before_accept", source.take(), source.take()) == Certainty.FOUND


def send(address):
    connection = socket.create_connection(address)
    yield "connected"
    connection.sendall(b"hello")
    yield "sent"


def details(lab, port):
    with live.of_process(lab.keeper_pid) as source:
        [row] = [row for row in source.take().sockets if row.remote[1] == port]
    return row.details


def test_options_and_retransmitted_bytes_are_those_of_a_real_connection(lab):
    """A SYN that is sent again has no bytes. `ss -i` is the witness."""
    lab.set_sysctl("net.ipv4.tcp_sack", 0)
    lab.set_sysctl("net.ipv4.tcp_timestamps", 1)
    lab.set_sysctl("net.ipv4.tcp_window_scaling", 1)
    lab.start(listen, lab.server_address, to="listening")
    _, port = lab.server_address
    lab.drop("tcp flags & (syn | ack) == syn limit rate 1/hour burst 1 packets")
    client = lab.start(send, lab.server_address, to="connected")
    seen = details(lab, port)
    assert (seen.options, seen.total_retrans, seen.bytes_retrans) == (TIMESTAMPS | WINDOW_SCALE, 1, 0)
    ss = lab.run_program(["ss", "-tnioH", "dport", f"= :{port}"])
    ss.finish()
    words = ss.output().split()
    assert {"ts", "retrans:0/1"} <= {*words}
    assert "sack" not in words
    assert any(word.startswith("wscale:") for word in words)

    lab.drop(f"tcp dport {port}")
    client.run_to("sent")
    lab.expect("data is sent again", True, lambda: details(lab, port).total_retrans > 1)
    seen = details(lab, port)
    assert seen.bytes_retrans == len(b"hello") * (seen.total_retrans - 1)
