"""If the third ACK of the handshake is lost and the server speaks first, both ends wait for 1 s.

The client is ESTABLISHED, and waits for the greeting. The server is in SYN_RECV, so its program is
still in accept(), and sends none. Only the SYN-ACK can be retransmitted: after 1 s
(TCP_TIMEOUT_INIT), and as often as tcp_synack_retries allows. The client answers it with a
challenge ACK (RFC 5961), which completes the handshake. If the server retransmits nothing, or sent
a cookie and so has nothing to retransmit, the client waits for ever. A client that speaks first
does not notice: each of its segments carries the ACK.

    client                                     server
    SYN_SENT     ── S ────────────────────▶    SYN_RECV
    ESTABLISHED  ◀─────────────────── SA ──
    recv()       ── A ──────────────▶ lost     accept()
                 ◀─────────────────── SA ──    retransmitted after 1 s
                 ── A ────────────────────▶    ESTABLISHED: accept() returns
                 ◀─────────────────── PA ──    the greeting
    or
    send()       ── PA ───────────────────▶    ESTABLISHED, without any wait

Sources: RFC 9293, 3.5 and 3.8.1; RFC 5961, section 4. Kernel: reqsk_timer_handler, tcp_check_req;
tcp_validate_incoming (the answer to a SYN-ACK in ESTABLISHED).
"""

import socket

import pytest

from harness.predict import timers

PORT, NEXT_PORT = 40001, 40002
GREETING, REQUEST = b"220 ready\r\n", b"EHLO\r\n"
THIRD_ACK = f"tcp sport {PORT} tcp flags == ack limit rate 1/hour burst 1 packets"
FIRST_REPETITION = timers.one_timer(timers.TIMEOUT_INIT_S, timers.tick_s())


def greet(address):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.sendall(GREETING)
        yield "greeted"


def listen_first(address):
    connection = socket.create_connection(address, source_address=("", PORT))
    yield "connected"
    return connection.recv(len(GREETING), socket.MSG_WAITALL)


def speak_first(address):
    connection = socket.create_connection(address, source_address=("", PORT))
    yield "connected"
    connection.sendall(REQUEST)
    yield "sent"
    return connection.recv(len(GREETING), socket.MSG_WAITALL)


def listen_and_try_again(address, limit_s):
    connection = socket.create_connection(address, source_address=("", PORT))
    connection.settimeout(limit_s)
    yield "connected"
    try:
        return connection.recv(len(GREETING), socket.MSG_WAITALL)
    except TimeoutError:
        connection.close()
    connection = socket.create_connection(address, source_address=("", NEXT_PORT))
    return connection.recv(len(GREETING), socket.MSG_WAITALL)


def play(lab, role, *arguments):
    """Until the client is connected, and its ACK is lost."""
    server = lab.start(greet, lab.server_address, to="listening")
    client = lab.start(role, lab.server_address, *arguments)
    lab.drop(THIRD_ACK)
    client.run_to("connected")
    assert lab.wire() == ["client S", "server SA", "client A"]
    return server, client


@pytest.mark.waits(1)
def test_both_ends_wait_until_the_syn_ack_is_repeated(lab):
    """Without a timer at the client: connect() has returned, and there is nothing to retransmit."""
    server, client = play(lab, listen_first)
    server.stay_blocked(in_="accept")
    client.stay_blocked(in_="recv")
    lab.expect_states(client="ESTABLISHED", server="SYN_RECV")
    assert lab.socket("client").timer.name == "none"

    server.run_to("greeted")
    assert client.finish() == GREETING
    assert lab.wire(since="connected")[:3] == ["server SA", "client A", "server PA"]
    syn, _, _, repeated, *_ = lab.segments()
    # Its timer starts before the first SYN-ACK is sent (tcp_conn_request).
    lab.expect_duration("the repeated SYN-ACK", lab.gap_s(syn, repeated), FIRST_REPETITION)
    assert lab.counter("TcpExtTCPSYNChallenge") == lab.counter("TcpRetransSegs") == 1


@pytest.mark.waits(1)
def test_without_synack_retries_the_client_waits_for_ever(lab):
    """tcp_synack_retries = 0: the server gives up silently when it would retransmit its SYN-ACK."""
    lab.set_sysctl("net.ipv4.tcp_synack_retries", 0)
    server, client = play(lab, listen_first)
    syn, *_ = lab.segments()
    lifetime = timers.syn_recv(0, lab.rto_max_s(), timers.tick_s())
    lab.expect_lifetime("server", "SYN_RECV", lifetime, syn)
    expect_the_client_to_wait_for_ever(lab, server, client)


def test_with_a_cookie_the_client_waits_for_ever(lab):
    """tcp_syncookies = 2, or a full SYN queue: the server has nothing that it could retransmit."""
    lab.set_sysctl("net.ipv4.tcp_syncookies", 2)
    server, client = play(lab, listen_first)
    expect_the_client_to_wait_for_ever(lab, server, client)


def expect_the_client_to_wait_for_ever(lab, server, client):
    """Neither end has a timer, and the server has no connection."""
    server.stay_blocked(in_="accept")
    client.stay_blocked(in_="recv")
    lab.expect_states(client="ESTABLISHED", server="CLOSED")
    assert lab.socket("client").timer.name == "none"
    assert lab.wire(since="connected") == []


def test_control_a_client_that_speaks_first_does_not_wait(lab):
    """Its request carries the ACK number that the server waits for."""
    server, client = play(lab, speak_first)
    lab.expect_states(client="ESTABLISHED", server="SYN_RECV")
    client.run_to("sent")
    assert lab.wire(since="connected") == ["client PA", "server A"]
    lab.expect_socket("server", state="ESTABLISHED", recv_q=len(REQUEST))
    server.run_to("greeted")
    assert client.finish() == GREETING
    assert lab.counter("TcpRetransSegs") == lab.counter("TcpExtTCPSYNChallenge") == 0


def test_control_a_client_that_tries_again_is_greeted(lab):
    """It reads with a time limit, and a second handshake is not lost."""
    lab.set_sysctl("net.ipv4.tcp_syncookies", 2)
    server, client = play(lab, listen_and_try_again, 0.1)
    lab.expect_states(client="ESTABLISHED", server="CLOSED")
    client.resume()
    server.run_to("greeted")  # the FIN of the first connection has completed its handshake
    server.run_to("greeted")
    assert client.finish() == GREETING
    assert lab.wire(port=NEXT_PORT)[:4] == ["client S", "server SA", "client A", "server PA"]
