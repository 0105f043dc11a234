"""Four pieces of common advice about TIME_WAIT, and what this kernel does instead.

TIME_WAIT lasts 60 s (TCP_TIMEWAIT_LEN), and no sysctl shortens it. tcp_fin_timeout is for the state
before it, and tcp_tw_recycle no longer exists. tcp_max_tw_buckets does not remove the TIME_WAITs
that exist: a connection beyond the limit is CLOSED at once, and cannot do what TIME_WAIT is for,
which is to answer a FIN whose ACK was lost. tcp_rfc1337 protects TIME_WAIT from RST, but a newer
SYN takes it over all the same.

    client, closed first                         server
    TIME_WAIT    ◀────────────────────── FA ──   LAST_ACK
                 ── A ─────────▶ lost            FIN is retransmitted
    TIME_WAIT    ◀────────────────────── FA ──
                 ── A ───────────────────────▶   CLOSED, as it should be
    or, with one TIME_WAIT too many,
    CLOSED       ◀────────────────────── FA ──
                 ── R ───────────────────────▶   CLOSED by a reset

Sources: article 004; RFC 9293, sections 3.6.1 and 3.10.7.4; RFC 1337; RFC 6191. Kernel:
tcp_time_wait, inet_twsk_alloc (the limit), tcp_timewait_state_process (RST, SYN); commit
4396e46187ca, "tcp: remove tcp_tw_recycle". The first two in detail:
fin_timeout_leaves_time_wait_alone.py; tcp_tw_reuse: folklore_of_reuse.py.
"""

import socket
from dataclasses import replace

from harness.lessons.docstrings import advice
from harness.stock_roles import close_first

PORTS = (40001, 40002, 40003)


def call(address):
    connection = socket.create_connection(address)
    yield "connected"
    connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    connection.recv(1)


def start_server(lab):
    lab.protect_time_wait_from_late_acks()
    return lab.start(close_first, lab.server_address, to="listening")


def close_both_ends(lab, server, port, client_first):
    """One connection; the end that closes first is left in TIME_WAIT."""
    lab.set_ephemeral_ports([port])
    client = lab.start(call, lab.server_address, to="connected")
    server.run_to("accepted")
    if not client_first:
        server.run_to("half closed")
    client.run_to("half closed")
    server.run_to("closed")
    client.finish()


def fin_from(lab, source, port):
    """Its FIN; a delayed ACK may follow later from another CPU, so it has no fixed place."""
    fins = [segment for segment in lab.segments(port=port) if segment.flags == "FA"]
    return next(segment for segment in fins if segment.source == source)


def test_tcp_fin_timeout_leaves_time_wait_alone(lab):
    """Said: tcp_fin_timeout shortens TIME_WAIT. Shown: false: its timer is still set for 60 s.

    Proves: 004-10
    """
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 30)
    close_both_ends(lab, start_server(lab), PORTS[0], client_first=True)
    assert 30 < lab.expect_socket("client", state="TIME_WAIT").timer.expires_s <= 60

    # The sysctl works: the timer of an orphan's FIN_WAIT2 is set for it.
    lab.set_ephemeral_ports([PORTS[1]])
    lab.start(call, lab.server_address, to="half closed").kill()
    orphan = lab.expect_socket("client", PORTS[1], state="FIN_WAIT2", inode=0)
    assert 20 < orphan.timer.expires_s <= 30
    lab.finding(*advice(test_tcp_fin_timeout_leaves_time_wait_alone.__doc__))


def test_control_tcp_fin_timeout_is_for_an_orphans_fin_wait2(lab):
    """Proves: 004-10, and what the sysctl is for."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 30)
    lab.start(close_first, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, to="half closed")
    lab.expect_states(client="FIN_WAIT2")
    client.kill()
    orphan = lab.expect_socket("client", state="FIN_WAIT2", inode=0)
    assert 20 < orphan.timer.expires_s <= 30


def test_tcp_tw_recycle_is_no_sysctl_any_more(lab):
    """Said: tcp_tw_recycle=1 gets rid of TIME_WAIT.

    Shown: false: the sysctl was removed in Linux 4.12.

    Proves: 004-10
    """
    assert lab.sysctl("net.ipv4.tcp_tw_reuse", default="") != ""
    assert lab.sysctl("net.ipv4.tcp_tw_recycle", default="") == ""
    lab.finding(*advice(test_tcp_tw_recycle_is_no_sysctl_any_more.__doc__))


def leave_three_time_waits(lab, max_tw_buckets):
    """Three connections that the client closes first, under a limit, which is then lowered to 1.

    What the last of them sends when the server's FIN comes again.
    """
    lab.set_sysctl("net.ipv4.tcp_max_tw_buckets", max_tw_buckets)
    server = start_server(lab)
    for port in PORTS:
        close_both_ends(lab, server, port, client_first=True)
    lab.set_sysctl("net.ipv4.tcp_max_tw_buckets", 1)
    lab.provoke(fin_from(lab, lab.server_address, PORTS[-1]))
    return lab.wire(since="call 3: finished")


def test_a_low_max_tw_buckets_gives_up_the_new_and_keeps_the_old(lab):
    """Said: a low tcp_max_tw_buckets cleans up.

    Shown: false: the old ones stay, and new ones are not made at all.
    """
    assert leave_three_time_waits(lab, max_tw_buckets=2) == ["server FA", "client R"]
    states = [lab.state("client", port) for port in PORTS]
    assert states == ["TIME_WAIT", "TIME_WAIT", "CLOSED"]
    assert lab.counter("TcpExtTCPTimeWaitOverflow") == 1
    lab.finding(*advice(test_a_low_max_tw_buckets_gives_up_the_new_and_keeps_the_old.__doc__))


def test_control_a_time_wait_within_the_limit_acks_a_second_fin(lab):
    """This is what it is for. (What follows is the answer of the server, which is CLOSED.)"""
    wire = leave_three_time_waits(lab, max_tw_buckets=3)
    assert wire[:2] == ["server FA", "client A"]
    states = [lab.state("client", port) for port in PORTS]
    assert states == ["TIME_WAIT", "TIME_WAIT", "TIME_WAIT"]
    assert lab.counter("TcpExtTCPTimeWaitOverflow") == 0


def reset_the_servers_time_wait(lab, rfc1337):
    close_both_ends(lab, start_server(lab), PORTS[0], client_first=False)
    lab.set_sysctl("net.ipv4.tcp_rfc1337", rfc1337)
    fin = fin_from(lab, lab.client_address(PORTS[0]), PORTS[0])
    assert lab.state("server") == "TIME_WAIT"
    before = lab.wire()
    lab.provoke(replace(fin, flags="R", seq=(fin.seq + 1) % 2**32))
    assert lab.wire() == [*before, "client R"]


def test_rfc1337_keeps_a_reset_out_and_lets_a_syn_in(lab):
    """Said: tcp_rfc1337=1 protects TIME_WAIT. Shown: half true: from RST, not from a newer SYN.

    Proves: 004-8
    """
    reset_the_servers_time_wait(lab, rfc1337=1)
    assert lab.state("server") == "TIME_WAIT"
    lab.start(call, lab.server_address).run_to("connected")
    assert lab.state("server") == "ESTABLISHED"
    lab.finding(*advice(test_rfc1337_keeps_a_reset_out_and_lets_a_syn_in.__doc__))


def test_control_without_rfc1337_one_reset_ends_time_wait(lab):
    """Proves: 004-8"""
    reset_the_servers_time_wait(lab, rfc1337=0)
    assert lab.state("server") == "CLOSED"
