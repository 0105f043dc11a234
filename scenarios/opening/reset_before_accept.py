"""A connection that is reset before accept() leaves every table but not the queue, and an accept loop may choke on it.

The RST closes and unhashes the socket (tcp_reset, tcp_done); only accept() gives up its place in the accept queue, and
hands it out dead (inet_csk_accept), where POSIX has ECONNABORTED. A server that greets first, in its accept loop, and
tries again on any error never comes back to accept(): the queue fills to backlog + 1, if only with dead probes, and
then every SYN is dropped (tcp_conn_request).

    prober                                  server (greets first, in its accept loop)
    SYN_SENT     ── S ──────────────────▶
    ESTABLISHED  ◀───────────────── SA ──   SYN_RECV
                 ── A ──────────────────▶   ESTABLISHED, no owner, accept queue 1
    CLOSED       ── RA ─────────────────▶   CLOSED, accept queue still 1
                                            accept() succeeds, queue 0; send() ECONNRESET, EPIPE, EPIPE, …
    client       ── S ──────────────────▶   dropped, once the queue is full

The first read, write or SO_ERROR takes the error away (tcp_recvmsg_locked, sk_stream_error); then a write finds EPIPE,
a read the end. Sources: article 003; RFC 9293, section 3.10.7.4; net/ipv4/tcp_input.c, tcp.c, inet_connection_sock.c.
"""

import errno
import socket
import struct
import threading

import pytest

GREETING = b"220 at your service\r\n"
ARGUMENTS = {"recv": (1,), "send": (GREETING,), "getpeername": (), "getsockopt": (socket.SOL_SOCKET, socket.SO_ERROR)}
ANSWERS = [
    [("recv", "ECONNRESET"), ("recv", b""), ("send", "EPIPE"), ("send", "EPIPE")],
    [("recv", "ECONNRESET"), ("send", "EPIPE"), ("recv", b""), ("send", "EPIPE")],
    [("send", "ECONNRESET"), ("send", "EPIPE"), ("recv", b""), ("recv", b"")],
    [("send", "ECONNRESET"), ("recv", b""), ("send", "EPIPE"), ("recv", b"")],
    [("getpeername", "ENOTCONN"), ("getsockopt", errno.ECONNRESET), ("recv", b""), ("send", "EPIPE")],
]


def connect_and_reset(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    yield "reset"


def await_greeting(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    return connection.recv(len(GREETING))


def answer(connection, call):
    try:
        return getattr(connection, call)(*ARGUMENTS[call])
    except OSError as error:
        return errno.errorcode[error.errno]


def accept_late(address, calls):
    listener = socket.create_server(address)
    yield "listening"
    connection, peer = listener.accept()
    yield "accepted"
    return peer, [(call, answer(connection, call)) for call in calls]


def greeting_server(address):  # the article's: it greets in its accept loop
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


def start(lab, role, step, *arguments):
    actor = lab.start(role, lab.server_address, *arguments)
    actor.run_to(step)
    return actor


def play(lab, serve, *turns):
    """Three health checks in turn: each connects, then prober ("reset") and server take their turns."""
    server = start(lab, serve, "listening")
    for port in (40001, 40002, 40003):
        prober = start(lab, connect_and_reset, "connected", port)
        for turn in turns:
            (prober if turn == "reset" else server).run_to(turn)
    return server


def test_only_accept_takes_a_reset_connection_out_of_the_queue(lab):
    """Proves: 003-1, 003-2"""
    server = start(lab, accept_late, "listening", [])
    start(lab, connect_and_reset, "reset", 40001)
    assert lab.wire() == ["client S", "server SA", "client A", "client RA"]
    assert [(row.state, row.recv_q) for row in lab.sockets()] == [("LISTEN", 1)]
    start(lab, await_greeting, "connected", 40002)
    assert lab.accept_queue() == 2
    server.run_to("accepted")  # with the dead one: the other stays in the queue, nobody's
    assert lab.accept_queue() == 1
    lab.expect_socket("server", state="ESTABLISHED", inode=0)


@pytest.mark.parametrize("answers", ANSWERS, ids=lambda answers: "-".join(call for call, _ in answers))
def test_accept_returns_the_dead_connection_with_its_address(lab, answers):
    """Proves: 003-3"""
    server = start(lab, accept_late, "listening", [call for call, _ in answers])
    start(lab, connect_and_reset, "reset", 40001)
    server.run_to("accepted")
    assert server.finish() == (("192.0.2.1", 40001), answers)
    assert lab.wire(since="accepted") == []


def test_control_without_a_reset_the_queued_connection_works(lab):
    """Proves: 003-5, and 003-1, 003-2, 003-3 without the reset."""
    server = start(lab, accept_late, "listening", ["getpeername", "send"])
    client = start(lab, await_greeting, "connected", 40001)
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    lab.expect_socket("server", inode=0)
    assert lab.accept_queue() == 1
    client.stay_blocked(in_="recv")
    server.run_to("accepted")
    assert server.finish() == (("192.0.2.1", 40001), [("getpeername", ("192.0.2.1", 40001)), ("send", 21)])
    assert client.finish() == GREETING


def test_an_accept_loop_stuck_on_a_dead_probe_lets_nobody_in(lab):
    """Proves: 003-4"""
    play(lab, greeting_server, "reset", "greeting fails: EPIPE")
    assert [(row.state, row.recv_q, row.send_q) for row in lab.sockets()] == [("LISTEN", 2, 1)]  # backlog + 1, backlog
    client = lab.start(await_greeting, lab.server_address, 40004)
    client.stay_blocked(in_="connect")
    lab.expect_states(client="SYN_SENT", server="CLOSED", port=40004)
    client.kill()  # its SYN must not be repeated while we count: it would be after a second, and a host may be busy
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == len(lab.wire(port=40004))


def test_control_probes_that_reset_after_the_greeting_do_no_harm(lab):
    """Proves: 003-7, and 003-4 by the cure."""
    server = play(lab, greeting_server, "greeted", "reset")
    assert lab.wire(port=40003) == ["client S", "server SA", "client A", "server PA", "client A", "client RA"]
    client = start(lab, await_greeting, "connected", 40004)
    server.run_to("greeted")
    assert client.finish() == GREETING
    assert lab.accept_queue() == lab.counter("TcpExtListenOverflows") == 0


def test_control_greeting_in_threads_survives_the_same_probes(lab):
    """Proves: 003-8, and 003-4 by the cure."""
    server = play(lab, threaded_greeting_server, "reset", "accepted")
    client = start(lab, await_greeting, "connected", 40004)
    server.run_to("accepted")
    assert client.finish() == GREETING
    assert lab.accept_queue() == lab.counter("TcpExtListenOverflows") == 0
