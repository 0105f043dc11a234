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

Is a reset a way around TIME_WAIT? It frees the port, but nothing at the old port recognises an old
segment any more, so the next connection has to reject it. Usually it can: its sequence numbers are
ahead of the old ones (their clock ticks every 64 ns, RFC 6528), or its timestamps are (PAWS), or
the old acknowledgement number gives the segment away (RFC 5961, section 5.2). TIME_WAIT itself is
fragile: it acknowledges an old segment, the closed end answers that ACK with RST, and this RST ends
TIME_WAIT unless tcp_rfc1337 is 1.

Sources: article 004; RFC 1122, section 4.2.2.13; RFC 1337. Kernel: __tcp_close,
tcp_timewait_state_process, tcp_ack.
"""

import socket
from dataclasses import replace

import pytest

PORT = 40001
REQUEST_BYTES = 18
UPLOAD_BYTES = 96 << 20  # the clock of initial sequence numbers takes 6.4 s for as many


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


def request(address, size=REQUEST_BYTES):
    connection = socket.create_connection(address, source_address=("", PORT))
    yield "connected"
    connection.sendall(bytes(size))
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


def reset_the_client(lab):
    server, client = play(lab, serve)
    server.run_to("closed")
    client.fail_with("ECONNRESET")
    lab.expect_states(client="CLOSED", server="CLOSED")


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


def replay_an_old_segment(lab):
    """The server's last ACK before it closed, as if it had been late."""
    *_, last_ack = lab.segments(until="ready to close")
    assert (last_ack.source, last_ack.flags) == (lab.server_address, "A")
    lab.provoke(last_ack)


def test_a_reset_frees_the_port_and_forgets_old_segments(lab):
    """Proves: 004-8"""
    reset_the_client(lab)
    replay_an_old_segment(lab)
    assert lab.wire(since="request: failed") == ["server A", "client R"]
    lab.start(request, lab.server_address).run_to("connected")


def test_control_time_wait_keeps_the_port_and_acks_old_segments(lab):
    """Proves: 004-8"""
    lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)
    leave_time_wait(lab, shut_down_and_close)
    replay_an_old_segment(lab)
    assert lab.wire(since="request: finished") == ["server A", "client A", "server R"]
    lab.start(request, lab.server_address).fail_with("EADDRINUSE")


@pytest.mark.parametrize(("ack_is_old", "delivered_bytes"), [(True, 0), (False, 3)])
def test_old_data_is_rejected_only_by_its_old_ack_number(lab, ack_is_old, delivered_bytes):
    """Proves: 004-8. The old data has exactly the sequence number that the server expects next."""
    lab.set_sysctl("net.ipv4.tcp_timestamps", 0)  # with timestamps, PAWS would reject it too
    server = lab.start(serve, lab.server_address, UPLOAD_BYTES - 1, to="listening")
    client = lab.start(request, lab.server_address, UPLOAD_BYTES, to="connected")
    server.resume()  # it must read while the client sends
    client.run_to("half closed")
    server.run_to("closed")
    client.fail_with("ECONNRESET")
    lab.expect_states(client="CLOSED", server="CLOSED")

    lab.start(request, lab.server_address, name="next").run_to("connected")
    old_syn, old_syn_ack, _ = lab.segments(until="request: connected")
    syn, syn_ack, ack = lab.segments(since="request: failed")
    assert (syn.seq - old_syn.seq) % 2**32 < UPLOAD_BYTES
    acknowledged = old_syn_ack if ack_is_old else syn_ack
    old_data = replace(ack, flags="PA", ack=(acknowledged.seq + 1) % 2**32)
    lab.provoke(old_data, payload=b"old")
    assert lab.wire(since="next: connected")[:2] == ["client PA", "server A"]
    lab.expect_socket("server", state="ESTABLISHED", recv_q=delivered_bytes)


@pytest.mark.parametrize(
    ("rfc1337", "seq_offset", "state"),
    [(0, 0, "CLOSED"), (1, 0, "TIME_WAIT"), (0, 1, "TIME_WAIT")],
)
def test_rfc1337_decides_if_an_exact_reset_ends_time_wait(lab, rfc1337, seq_offset, state):
    """Proves: 004-8"""
    lab.set_sysctl("net.ipv4.tcp_rfc1337", rfc1337)
    leave_time_wait(lab, shut_down_and_close)
    fin, _ = lab.segments(since="ready to close")
    lab.provoke(replace(fin, flags="R", seq=(fin.seq + 1 + seq_offset) % 2**32))
    lab.expect_states(client=state)
