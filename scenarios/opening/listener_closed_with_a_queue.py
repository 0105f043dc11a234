"""Closing a listener resets the clients that have connected and still wait for accept().

For those clients connect() has succeeded, and they may have sent a request. Their connections
belong to the listener until accept() returns them, so they end with it. Accepted connections are
not affected. A half-open handshake cannot be completed any more, but no segment announces it: that
client learns of it when it sends. With a second SO_REUSEPORT listener it is the same, as each
listener has a queue of its own, unless net.ipv4.tcp_migrate_req is 1: then the queue moves to the
other listener.

    client                                     server
    ESTABLISHED  ◀────────────────── PA ──     ESTABLISHED: accepted, it goes on
    ESTABLISHED  ── PA (request) ─────────▶    ESTABLISHED: in the accept queue
    CLOSED       ◀────────────────── RA ───    CLOSED: close(listener)
    ESTABLISHED  ── A ──────▶ lost             SYN_RECV, without a listener
                 ── PA (request) ─────────▶
    CLOSED       ◀─────────────────── R ───    CLOSED: there is no listener
    SYN_SENT     ── S ────────────────────▶
    CLOSED       ◀────────────────── RA ───    CLOSED

Sources: inet_csk_listen_stop and inet_child_forget (tcp_disconnect sends the RST) in
net/ipv4/inet_connection_sock.c; tcp_v4_rcv for a last ACK without a listener; tcp_migrate_req in
Documentation/networking/ip-sysctl.rst (Linux 5.14), and reuseport_migrate_sock in
net/core/sock_reuseport.c; SCM_RIGHTS in unix(7).
"""

import contextlib
import socket

import pytest

MIGRATE = "net.ipv4.tcp_migrate_req"
ACCEPTED, QUEUED, ALSO_QUEUED, HALF_OPEN, NEWCOMER = range(40001, 40006)
HAND_OVER = "\0hand-over"  # an abstract address of unix(7): it belongs to the network namespace
ANSWER = b"answer to request"


def serve(address, ending=""):
    """Accept one connection, stop listening, and answer what has been accepted."""
    listener = socket.create_server(address, reuse_port=True)
    yield "listening"
    connections = [listener.accept()[0]]
    yield "accepted"
    if ending == "drain":
        listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                connections.append(listener.accept()[0])
    if ending == "hand over":
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(HAND_OVER)
            socket.send_fds(channel, [b"listener"], [listener.fileno()])
    listener.close()
    yield "listener closed"
    for connection in connections:
        connection.sendall(b"answer to " + connection.recv(100))
        yield "answered"


def answer_all(listener):
    connections = []
    while True:
        connections.append(listener.accept()[0])
        connections[-1].sendall(b"answer to " + connections[-1].recv(100))
        yield "answered"


def take_over(address):
    """The new server, with a listener of its own on the same port."""
    listener = socket.create_server(address, reuse_port=True)
    yield "listening"
    yield from answer_all(listener)


def receive_listener(address):
    """The new server, which is given the old one's listener."""
    with socket.socket(socket.AF_UNIX) as gate:
        gate.bind(address)
        gate.listen()
        yield "ready"
        channel, _ = gate.accept()
    _, [fd], _, _ = socket.recv_fds(channel, 100, 1)
    yield "has the listener"
    yield from answer_all(socket.socket(fileno=fd))


def request(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.sendall(b"request")
    yield "sent"
    return connection.recv(100)


def play(lab, ending=""):
    """Until one client has been accepted, two wait in the queue, and one handshake is half done."""
    lab.set_sysctl("net.ipv4.tcp_synack_retries", 5)  # the half-open one must outlast a busy host
    server = lab.start(serve, lab.server_address, ending, name="old server", to="listening")
    accepted, *queued, half_open = (
        lab.start(request, lab.server_address, port)
        for port in (ACCEPTED, QUEUED, ALSO_QUEUED, HALF_OPEN)
    )
    accepted.run_to("connected")
    server.run_to("accepted")
    for client in queued:
        client.run_to("sent")
    lab.drop(f"tcp sport {HALF_OPEN} tcp flags == ack")
    half_open.run_to("connected")
    lab.expect_states(client="ESTABLISHED", server="SYN_RECV", port=HALF_OPEN)
    assert lab.accept_queue() == 2
    return server, accepted, queued, half_open


def set_migration(lab, value):
    lab.require_sysctl(MIGRATE, since="Linux 5.14")
    lab.set_sysctl(MIGRATE, value)


def test_closing_a_listener_resets_the_clients_in_its_queue(lab):
    """No counter is specific to it: only OutRsts grows."""
    server, accepted, queued, _ = play(lab)
    server.run_to("listener closed")
    for port in (QUEUED, ALSO_QUEUED):
        assert lab.wire(port=port)[-2:] == ["server A", "server RA"]
        lab.expect_states(client="CLOSED", server="CLOSED", port=port)
    for client in queued:
        client.fail_with("ECONNRESET")
    assert lab.counter("TcpOutRsts") == 2
    assert lab.counter("TcpExtListenDrops") == lab.counter("TcpExtTCPAbortOnClose") == 0

    lab.start(request, lab.server_address, NEWCOMER).fail_with("ECONNREFUSED")
    accepted.run_to("sent")
    server.run_to("answered")
    assert accepted.finish() == ANSWER
    assert "server RA" not in lab.wire(port=ACCEPTED)


def test_a_half_open_client_learns_of_it_when_it_sends(lab):
    """No segment is sent to it when the listener is closed; it stays ESTABLISHED until then."""
    server, _, _, half_open = play(lab)
    server.run_to("listener closed")
    assert set(lab.wire(port=HALF_OPEN)) == {"client S", "server SA", "client A"}
    lab.expect_states(client="ESTABLISHED", port=HALF_OPEN)
    half_open.run_to("sent")
    assert lab.wire(port=HALF_OPEN)[-2:] == ["client PA", "server R"]
    half_open.fail_with("ECONNRESET")


@pytest.mark.parametrize(
    ("migrate", "second_listener"),
    [(0, True), (1, False)],
    ids=["a second listener alone", "tcp_migrate_req alone"],
)
def test_neither_a_second_listener_nor_the_sysctl_helps_alone(lab, migrate, second_listener):
    """A restart with SO_REUSEPORT resets the old listener's queue, too."""
    set_migration(lab, migrate)
    server, _, queued, _ = play(lab)
    if second_listener:
        lab.start(take_over, lab.server_address, to="listening")
    server.run_to("listener closed")
    for client in queued:
        client.fail_with("ECONNRESET")
    assert lab.counter("TcpOutRsts") == 2
    assert ("LISTEN" in {row.state for row in lab.sockets()}) == second_listener


def test_control_with_tcp_migrate_req_the_queue_moves(lab):
    """The half-open handshake moves, too, when its last ACK arrives."""
    set_migration(lab, 1)
    server, _, queued, half_open = play(lab)
    new = lab.start(take_over, lab.server_address, name="new server", to="listening")
    server.run_to("listener closed")
    assert lab.accept_queue() == lab.counter("TcpExtTCPMigrateReqSuccess") == 2
    half_open.run_to("sent")
    assert lab.accept_queue() == lab.counter("TcpExtTCPMigrateReqSuccess") == 3
    for client in [*queued, half_open]:
        new.run_to("answered")
        assert client.finish() == ANSWER
    assert lab.counter("TcpOutRsts") == 0


def test_control_a_listener_that_is_handed_over_resets_no_client(lab):
    """It never leaves LISTEN; no sysctl is needed, and no second listener."""
    new = lab.start(receive_listener, HAND_OVER, name="new server", to="ready")
    server, _, queued, half_open = play(lab, "hand over")
    server.run_to("listener closed")
    new.run_to("has the listener")
    half_open.run_to("sent")
    newcomer = lab.start(request, lab.server_address, NEWCOMER, to="sent")
    for client in [*queued, half_open, newcomer]:
        new.run_to("answered")
        assert client.finish() == ANSWER
    assert lab.counter("TcpOutRsts") == 0


def test_control_draining_helps_the_queue_but_not_the_half_open(lab):
    """accept() until the queue is empty, then close(): a half-open handshake is lost."""
    server, accepted, queued, half_open = play(lab, "drain")
    server.run_to("listener closed")
    assert lab.counter("TcpOutRsts") == 0
    accepted.run_to("sent")
    for client in [accepted, *queued]:
        server.run_to("answered")
        assert client.finish() == ANSWER
    half_open.run_to("sent")
    half_open.fail_with("ECONNRESET")
