"""Advice about TIME_WAIT that everybody knows, each with what this kernel does.

TIME_WAIT takes 60 s (TCP_TIMEWAIT_LEN), and no sysctl makes that less. tcp_fin_timeout is for the state before it, and
tcp_tw_recycle is gone. tcp_max_tw_buckets leaves those that are there alone; what would be one too many is CLOSED at
once, and cannot do what a TIME_WAIT is for: answer a FIN whose ACK was lost. tcp_rfc1337 keeps RST out; a SYN that is
newer takes the TIME_WAIT over all the same.

    client, closed first                         server
    TIME_WAIT    ◀────────────────────── FA ──   LAST_ACK
                 ── A ─────────▶ lost            the FIN is repeated
    TIME_WAIT    ◀────────────────────── FA ──
                 ── A ───────────────────────▶   CLOSED, as it should be
    or, where the TIME_WAIT was one too many,
    CLOSED       ◀────────────────────── FA ──
                 ── R ───────────────────────▶   CLOSED, by a reset

Sources: article 004; RFC 9293, sections 3.6.1 and 3.10.7.4; RFC 1337; RFC 6191. Kernel: tcp_time_wait, inet_twsk_alloc
(the limit), tcp_timewait_state_process (RST, SYN); commit 4396e46187ca, "tcp: remove tcp_tw_recycle". The first two are
told at length in fin_timeout_leaves_time_wait_alone.py; tcp_tw_reuse is in folklore_of_reuse.py.
"""

import socket
from dataclasses import replace

from harness.lessons.docstrings import advice

PORTS = (40001, 40002, 40003)


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        connection.shutdown(socket.SHUT_WR)
        yield "half closed"
        connection.recv(1)
        connection.close()
        yield "closed"


def call(address):
    connection = socket.create_connection(address)
    yield "connected"
    connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    connection.recv(1)


def play(lab, first_to_close, ports=PORTS[:1]):
    """Connections from these ports, one after the other, closed by both: each leaves its TIME_WAIT where FIN began."""
    lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)  # a late ACK (enqueue_to_backlog) must not cost a TIME_WAIT
    server = lab.start(serve, lab.server_address, to="listening")
    for port in ports:
        lab.set_ephemeral_ports([port])
        client = lab.start(call, lab.server_address, to="connected")
        server.run_to("accepted")
        order = (client, server) if first_to_close == "client" else (server, client)
        for end in order:
            end.run_to("half closed")
        server.run_to("closed")
        client.finish()


def fin_from(lab, source, port):
    """The FIN that began TIME_WAIT at the other end. A delayed ACK may come after it, late from another CPU."""
    return next(each for each in lab.segments(port=port) if (each.source, each.flags) == (source, "FA"))


def let_in_three(lab, buckets):
    """Three closed by the client under a limit; then it is made 1. What the last one says to a FIN that is repeated."""
    lab.set_sysctl("net.ipv4.tcp_max_tw_buckets", buckets)
    play(lab, "client", ports=PORTS)
    lab.set_sysctl("net.ipv4.tcp_max_tw_buckets", 1)
    lab.provoke(fin_from(lab, lab.server_address, PORTS[-1]))
    return lab.wire(since="call 3: finished")


def reset_the_servers_time_wait(lab, rfc1337):
    play(lab, "server")
    lab.set_sysctl("net.ipv4.tcp_rfc1337", rfc1337)
    fin = fin_from(lab, lab.client_address(PORTS[0]), PORTS[0])
    assert lab.state("server") == "TIME_WAIT"
    before = lab.wire()
    lab.provoke(replace(fin, flags="R", seq=(fin.seq + 1) % 2**32))
    assert lab.wire() == [*before, "client R"]


def test_tcp_fin_timeout_leaves_time_wait_alone(lab):
    """Said: tcp_fin_timeout shortens TIME_WAIT. Shown: false: it is set for 60 s all the same.

    Proves: 004-10
    """
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 30)
    play(lab, "client")
    assert 30 < lab.expect_socket("client", state="TIME_WAIT").timer.expires_s <= 60
    # The sysctl is in force: it is what a FIN_WAIT2 without an owner is set for.
    lab.set_ephemeral_ports([PORTS[1]])
    lab.start(call, lab.server_address, to="half closed").kill()
    assert 20 < lab.expect_socket("client", PORTS[1], state="FIN_WAIT2", inode=0).timer.expires_s <= 30
    lab.finding(*advice(test_tcp_fin_timeout_leaves_time_wait_alone.__doc__))


def test_control_tcp_fin_timeout_is_for_an_orphans_fin_wait2(lab):
    """Proves: 004-10, what it is for."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 30)
    lab.start(serve, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, to="half closed")
    lab.expect_states(client="FIN_WAIT2")
    client.kill()
    assert 20 < lab.expect_socket("client", state="FIN_WAIT2", inode=0).timer.expires_s <= 30


def test_tcp_tw_recycle_is_no_sysctl_any_more(lab):
    """Said: tcp_tw_recycle=1 gets rid of TIME_WAIT. Shown: false: there is no such sysctl, since Linux 4.12.

    Proves: 004-10
    """
    there_is = [lab.sysctl(f"net.ipv4.tcp_tw_{name}", default="") != "" for name in ("reuse", "recycle")]
    assert there_is == [True, False]
    lab.finding(*advice(test_tcp_tw_recycle_is_no_sysctl_any_more.__doc__))


def test_a_low_max_tw_buckets_gives_up_the_new_and_keeps_the_old(lab):
    """Said: a low tcp_max_tw_buckets cleans up. Shown: false: the old ones stay, a new one is not kept at all."""
    assert let_in_three(lab, buckets=2) == ["server FA", "client R"]
    assert [lab.state("client", port) for port in PORTS] == ["TIME_WAIT", "TIME_WAIT", "CLOSED"]
    assert lab.counter("TcpExtTCPTimeWaitOverflow") == 1
    lab.finding(*advice(test_a_low_max_tw_buckets_gives_up_the_new_and_keeps_the_old.__doc__))


def test_control_a_time_wait_that_was_let_in_answers_a_repeated_fin(lab):
    """What it is for: the peer's FIN is acknowledged once more. (What comes after is the server's, which is CLOSED.)"""
    assert let_in_three(lab, buckets=3)[:2] == ["server FA", "client A"]
    assert [lab.state("client", port) for port in PORTS] == ["TIME_WAIT"] * 3
    assert lab.counter("TcpExtTCPTimeWaitOverflow") == 0


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
