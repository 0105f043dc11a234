"""A connection that is reset before accept() stays in the queue, and can block an accept loop.

RST closes the socket and takes it out of the socket table (tcp_reset, tcp_done). Only accept()
takes it out of the accept queue, and returns it dead (inet_csk_accept), although POSIX has
ECONNABORTED for that. A server that greets first, in its accept loop, and tries again on any error
never calls accept() again: the queue fills to backlog + 1, even if only with dead probes, and then
every SYN is dropped (tcp_conn_request).

    prober                                  server (greets first, in its accept loop)
    SYN_SENT     ── S ──────────────────▶
    ESTABLISHED  ◀───────────────── SA ──   SYN_RECV
                 ── A ──────────────────▶   ESTABLISHED, no owner, accept queue 1
    CLOSED       ── RA ─────────────────▶   CLOSED, accept queue still 1
                                            accept() succeeds, accept queue 0
                                            send() ECONNRESET, EPIPE, EPIPE, …
    client       ── S ──────────────────▶   dropped, once the queue is full

The first read, write or SO_ERROR takes the error away (tcp_recvmsg_locked, sk_stream_error); after
that a write fails with EPIPE, and a read returns end of stream.

Sources: article 003; RFC 9293, section 3.10.7.4; net/ipv4/tcp_input.c, tcp.c,
inet_connection_sock.c.
"""

import errno
import socket
import threading

import pytest

from harness.stock_roles import reset_on_close

GREETING = b"220 at your service\r\n"
PROBERS = (40001, 40002, 40003)
CLIENT = 40004
CALLS = {
    "recv": lambda connection: connection.recv(1),
    "send": lambda connection: connection.send(GREETING),
    "getpeername": lambda connection: connection.getpeername()[:2],  # IPv6 appends two numbers
    "SO_ERROR": lambda connection: connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
}
ANSWERS = [
    [("recv", "ECONNRESET"), ("recv", b""), ("send", "EPIPE"), ("send", "EPIPE")],
    [("recv", "ECONNRESET"), ("send", "EPIPE"), ("recv", b""), ("send", "EPIPE")],
    [("send", "ECONNRESET"), ("send", "EPIPE"), ("recv", b""), ("recv", b"")],
    [("send", "ECONNRESET"), ("recv", b""), ("send", "EPIPE"), ("recv", b"")],
    [("getpeername", "ENOTCONN"), ("SO_ERROR", errno.ECONNRESET), ("recv", b""), ("send", "EPIPE")],
]


def answer(connection, call):
    """What the call returns, or the name of its error."""
    try:
        return CALLS[call](connection)
    except OSError as error:
        return errno.errorcode[error.errno]


def greeting_server(address):
    """The article's: it greets in its accept loop, and tries again on any error."""
    listener = socket.create_server(address, backlog=1)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        while (sent := answer(connection, "send")) != len(GREETING):
            yield f"greeting fails: {sent}"
        yield "greeted"
        connection.close()


def threaded_greeting_server(address):
    def greet(connection):
        while answer(connection, "send") != len(GREETING):
            threading.Event().wait()  # no less stuck than the loop above, but without spinning

    listener = socket.create_server(address, backlog=1)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=greet, args=[connection]).start()
        yield "accepted"


def accept_late(address, calls):
    listener = socket.create_server(address)
    yield "listening"
    connection, peer = listener.accept()
    yield "accepted"
    return peer[:2], [(call, answer(connection, call)) for call in calls]


def connect_and_reset(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    reset_on_close(connection)
    connection.close()
    yield "reset"


def await_greeting(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    return connection.recv(len(GREETING))


def test_an_accept_loop_stuck_on_a_dead_probe_lets_nobody_in(lab):
    """Proves: 003-4"""
    server = lab.start(greeting_server, lab.server_address, to="listening")
    for port in PROBERS:
        lab.start(connect_and_reset, lab.server_address, port, to="reset")
        server.run_to("greeting fails: EPIPE")
    rows = [(row.state, row.recv_q, row.send_q) for row in lab.sockets()]
    assert rows == [("LISTEN", 2, 1)]  # Recv-Q is backlog + 1, Send-Q the backlog
    client = lab.start(await_greeting, lab.server_address, CLIENT)
    client.stay_blocked(in_="connect")
    lab.expect_states(client="SYN_SENT", server="CLOSED", port=CLIENT)
    client.kill()  # or a busy host might still count when the SYN is retransmitted, after 1 s
    syns = len(lab.wire(port=CLIENT))
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == syns


def test_control_greeting_in_threads_survives_the_same_probes(lab):
    """Proves: 003-8, and 003-4 by the cure."""
    server = lab.start(threaded_greeting_server, lab.server_address, to="listening")
    for port in PROBERS:
        lab.start(connect_and_reset, lab.server_address, port, to="reset")
        server.run_to("accepted")
    client = lab.start(await_greeting, lab.server_address, CLIENT, to="connected")
    server.run_to("accepted")
    assert client.finish() == GREETING
    assert lab.accept_queue() == lab.counter("TcpExtListenOverflows") == 0


def test_control_probes_that_reset_after_the_greeting_do_no_harm(lab):
    """Proves: 003-7, and 003-4 by the cure."""
    server = lab.start(greeting_server, lab.server_address, to="listening")
    for port in PROBERS:
        prober = lab.start(connect_and_reset, lab.server_address, port, to="connected")
        server.run_to("greeted")
        prober.run_to("reset")
        handshake = ["client S", "server SA", "client A"]
        assert lab.wire(port=port) == [*handshake, "server PA", "client A", "client RA"]
    client = lab.start(await_greeting, lab.server_address, CLIENT, to="connected")
    server.run_to("greeted")
    assert client.finish() == GREETING
    assert lab.accept_queue() == lab.counter("TcpExtListenOverflows") == 0


def test_only_accept_takes_a_reset_connection_out_of_the_queue(lab):
    """Proves: 003-1, 003-2"""
    server = lab.start(accept_late, lab.server_address, [], to="listening")
    lab.start(connect_and_reset, lab.server_address, 40001, to="reset")
    assert lab.wire() == ["client S", "server SA", "client A", "client RA"]
    assert [(row.state, row.recv_q) for row in lab.sockets()] == [("LISTEN", 1)]
    lab.start(await_greeting, lab.server_address, 40002, to="connected")
    assert lab.accept_queue() == 2
    server.run_to("accepted")  # the dead one; the other stays in the queue, without an owner
    assert lab.accept_queue() == 1
    lab.expect_socket("server", state="ESTABLISHED", inode=0)


@pytest.mark.parametrize("answers", ANSWERS, ids=lambda each: "-".join(call for call, _ in each))
def test_accept_returns_the_dead_connection_with_its_address(lab, answers):
    """Proves: 003-3"""
    calls = [call for call, _ in answers]
    server = lab.start(accept_late, lab.server_address, calls, to="listening")
    lab.start(connect_and_reset, lab.server_address, 40001, to="reset")
    server.run_to("accepted")
    assert server.finish() == (lab.client_address(40001), answers)
    assert lab.wire(since="accepted") == []


def test_control_without_a_reset_the_queued_connection_works(lab):
    """Proves: 003-5, and 003-1, 003-2, 003-3 without the reset."""
    server = lab.start(accept_late, lab.server_address, ["getpeername", "send"], to="listening")
    client = lab.start(await_greeting, lab.server_address, 40001, to="connected")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    lab.expect_socket("server", inode=0)
    assert lab.accept_queue() == 1
    client.stay_blocked(in_="recv")
    server.run_to("accepted")
    peer = lab.client_address(40001)
    assert server.finish() == (peer, [("getpeername", peer), ("send", len(GREETING))])
    assert client.finish() == GREETING
