"""close() with unread data sends RST instead of FIN, and neither end is left in TIME_WAIT.

The reset tells the peer that data was lost (RFC 2525, section 2.17), and ends its FIN_WAIT2.
shutdown() sends FIN even with unread data. But close() after it still resets, unless that FIN has
been acknowledged and the peer's FIN has come. So a server sends its FIN, reads to the end (up to a
limit of bytes and seconds), and only then calls close(): the "lingering close" of web servers.

    client                                     server
    FIN_WAIT1    ── PA, FA ───────────────▶    CLOSE_WAIT, and the request is unread
    FIN_WAIT2    ◀──────────────────── A ──
    CLOSED       ◀─────────────────── RA ──    CLOSED: close()
    or
    TIME_WAIT    ◀─────────────────── FA ──    LAST_ACK: shutdown()
                 ── A ────────────────────▶    CLOSED: close() has nothing to send

Sources: article 004; RFC 1122, section 4.2.2.13; __tcp_close in net/ipv4/tcp.c.
"""

import socket

PORT = 40001
REQUEST_BYTES = 18


def serve(address, read_bytes=0):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    connection.recv(read_bytes, socket.MSG_WAITALL)
    yield "accepted"
    yield "ready to close"
    connection.close()
    yield "closed"


def shut_down_and_close(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    yield "ready to close"
    connection.shutdown(socket.SHUT_WR)
    yield "shut down"
    connection.close()
    yield "closed"


def shut_down_drain_and_close(address):
    """In production the loop also has a limit of bytes and of seconds."""
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(4096):
        pass
    connection.close()
    yield "closed"


def request(address):
    connection = socket.create_connection(address, source_address=("", PORT))
    yield "connected"
    connection.sendall(bytes(REQUEST_BYTES))
    yield "sent"
    connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    connection.recv(1)


def test_unread_data_turns_close_into_a_reset(lab):
    """Proves: 004-6"""
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(request, lab.server_address, to="sent")
    accepted = server.run_to("accepted")
    client.run_to("half closed")
    lab.expect_wire(["client FA", "server A"], since=accepted)  # a delayed ACK
    server.run_to("ready to close")

    server.run_to("closed")
    assert lab.wire(since="ready to close") == ["server RA"]
    client.fail_with("ECONNRESET")
    lab.expect_states(client="CLOSED", server="CLOSED")
    assert lab.path("client") == ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSED"]
    assert lab.counter("TcpExtTCPAbortOnClose") == 1


def play(lab, server_role, *arguments):
    """The story above, with another server, until this is ready to close."""
    server = lab.start(server_role, lab.server_address, *arguments, to="listening")
    client = lab.start(request, lab.server_address, to="sent")
    accepted = server.run_to("accepted")
    client.run_to("half closed")
    lab.expect_wire(["client FA", "server A"], since=accepted)
    server.run_to("ready to close")
    return server, client


def leave_time_wait(lab, server_role, *arguments):
    server, client = play(lab, server_role, *arguments)
    server.run_to("closed")
    client.finish()
    lab.expect_states(client="TIME_WAIT", server="CLOSED")


def test_control_reading_first_closes_with_fin(lab):
    """Proves: 004-6, by the cure."""
    leave_time_wait(lab, serve, REQUEST_BYTES)
    assert lab.wire(since="ready to close") == ["server FA", "client A"]
    assert lab.counter("TcpExtTCPAbortOnClose") == 0


def test_control_shutdown_before_close_sends_fin(lab):
    """Proves: 004-7, and 004-6 by a cure."""
    leave_time_wait(lab, shut_down_and_close)
    assert lab.wire(since="ready to close") == ["server FA", "client A"]
    assert lab.counter("TcpExtTCPAbortOnClose") == 0


def test_shutdown_does_not_help_until_the_peer_has_closed(lab):
    """Proves: 004-7, and its limit."""
    server = lab.start(shut_down_and_close, lab.server_address, to="listening")
    lab.start(request, lab.server_address, to="sent")
    server.run_to("shut down")
    lab.expect_states(client="CLOSE_WAIT", server="FIN_WAIT2")
    server.run_to("closed")
    assert lab.wire()[-1] == "server RA"
    lab.expect_states(client="CLOSED", server="CLOSED")
    assert lab.counter("TcpExtTCPAbortOnClose") == 1


def test_shutdown_does_not_help_until_its_fin_is_acknowledged(lab):
    """Proves: 004-7, and its limit. The reset ends even the peer's TIME_WAIT."""
    server, _ = play(lab, shut_down_and_close)
    lab.drop(f"tcp dport {lab.server_address[1]}")
    server.run_to("shut down")
    lab.expect_states(client="TIME_WAIT", server="LAST_ACK")
    server.run_to("closed")
    assert lab.wire()[-1] == "server RA"  # on a busy host, the FIN is repeated before
    lab.expect_states(client="CLOSED", server="CLOSED")
    assert lab.counter("TcpExtTCPAbortOnClose") == 1


def test_control_shutdown_and_reading_to_the_end_never_resets(lab):
    """Proves: 004-6 and 004-7, by the cure. close() comes only after the peer's FIN."""
    server = lab.start(shut_down_drain_and_close, lab.server_address, to="listening")
    client = lab.start(request, lab.server_address, to="sent")
    accepted = server.run_to("accepted")
    server.stay_blocked(in_="recv")
    lab.expect_states(client="CLOSE_WAIT", server="FIN_WAIT2")
    client.finish()
    server.run_to("closed")
    assert lab.wire(since=accepted) == ["server FA", "client A", "client FA", "server A"]
    lab.expect_states(client="CLOSED", server="TIME_WAIT")
    assert lab.counter("TcpExtTCPAbortOnClose") == 0
