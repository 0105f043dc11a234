"""close() with unread data sends RST in place of FIN, and no TIME_WAIT remains at either end.

The reset tells the peer that bytes were lost (RFC 2525, section 2.17), and ends its FIN_WAIT2. shutdown() sends FIN
all the same; close() then finds the socket CLOSED, but only where that FIN is acknowledged, and the peer's has come.

    client                                     server
    FIN_WAIT1    ── PA, FA ───────────────▶    CLOSE_WAIT with the request unread
    FIN_WAIT2    ◀──────────────────── A ──
    CLOSED       ◀─────────────────── RA ──    CLOSED: close()
    or
    TIME_WAIT    ◀─────────────────── FA ──    LAST_ACK: shutdown()
                 ── A ────────────────────▶    CLOSED: close() has nothing to send

"Does a RST not need TIME_WAIT?" It leaves the port free and an old segment unknown, so the next connection has to
defend itself. It mostly can: its numbers are ahead of the old ones (a clock of 64 ns, RFC 6528), or its timestamps are
(PAWS), or else an old acknowledgement number gives the segment away (RFC 5961, section 5.2). And TIME_WAIT is fragile:
it acknowledges an old segment, the CLOSED end answers with R, and that ends it, unless tcp_rfc1337 is 1.

Sources: article 004; RFC 1122, section 4.2.2.13; RFC 1337. Kernel: __tcp_close, tcp_timewait_state_process, tcp_ack.
"""

import socket
from dataclasses import replace

import pytest

PORT = 40001
REQUEST_BYTES = 18
UPLOAD = 96 << 20  # uses up as many numbers as the clock in 6.4 s


def serve(address, reads, shuts_down):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    connection.recv(reads, socket.MSG_WAITALL)
    yield "accepted"
    yield "ready to close"
    if shuts_down:
        connection.shutdown(socket.SHUT_WR)
        yield "shut down"
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


def play(lab, size=REQUEST_BYTES, reads=0, shuts_down=False, half_closes=True):
    """Until the client is half closed, the delayed ACK of its FIN has come, and the server is ready to close."""
    server = lab.start(serve, lab.server_address, reads, shuts_down)
    server.run_to("listening")
    client = lab.start(request, lab.server_address, size)
    client.run_to("connected")
    if reads:
        server.resume()  # an upload needs its reader
    client.run_to("sent")
    accepted = server.run_to("accepted")
    if half_closes:
        client.run_to("half closed")
        if size == REQUEST_BYTES:  # after an upload, other ACKs may be due
            lab.expect_wire(["client FA", "server A"], since=accepted)
    server.run_to("ready to close")
    return server, client


def leave_nothing(lab, **how):
    server, client = play(lab, **how)
    server.run_to("closed")
    client.fail_with("ECONNRESET")
    lab.expect_states(client="CLOSED", server="CLOSED")


def leave_time_wait(lab, **how):
    server, client = play(lab, **how)
    server.run_to("closed")
    client.finish()
    lab.expect_states(client="TIME_WAIT", server="CLOSED")


def replay_an_old_segment(lab):
    *_, last_ack = lab.segments(until="ready to close")
    assert (last_ack.source, last_ack.flags) == (lab.server_address, "A")
    lab.provoke(last_ack)


def test_unread_data_turns_close_into_a_reset(lab):
    """Proves: 004-6"""
    leave_nothing(lab)
    assert lab.wire(since="ready to close") == ["server RA"]
    assert lab.path("client") == ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSED"]
    assert lab.counter("TcpExtTCPAbortOnClose") == 1


def test_control_reading_first_closes_with_fin(lab):
    """Proves: 004-6, by the cure."""
    leave_time_wait(lab, reads=REQUEST_BYTES)
    assert lab.wire(since="ready to close") == ["server FA", "client A"]
    assert lab.counter("TcpExtTCPAbortOnClose") == 0


def test_control_shutdown_before_close_sends_fin_and_leaves_time_wait(lab):
    """Proves: 004-7, and 004-6 by a cure."""
    leave_time_wait(lab, shuts_down=True)
    assert lab.wire(since="ready to close") == ["server FA", "client A"]
    assert lab.counter("TcpExtTCPAbortOnClose") == 0


@pytest.mark.parametrize(("half", "client", "server"), [(1, "TIME_WAIT", "LAST_ACK"), (0, "CLOSE_WAIT", "FIN_WAIT2")])
def test_shutdown_does_not_help_before_its_fin_is_acknowledged_and_the_peer_has_closed(lab, half, client, server):
    """Proves: 004-7, and its limit. The reset ends even the peer's TIME_WAIT."""
    closer, _ = play(lab, shuts_down=True, half_closes=half)
    if half:
        lab.drop(f"tcp dport {lab.server_address[1]}")
    closer.run_to("shut down")
    lab.expect_states(client=client, server=server)
    closer.run_to("closed")
    assert lab.wire(since="shut down")[-1] == "server RA"  # where the host is busy, the FIN was repeated before
    lab.expect_states(client="CLOSED", server="CLOSED")
    assert lab.counter("TcpExtTCPAbortOnClose") == 1


def test_after_a_reset_the_port_is_free_and_an_old_segment_unknown(lab):
    """Proves: 004-8"""
    leave_nothing(lab)
    replay_an_old_segment(lab)
    assert lab.wire(since="request: failed") == ["server A", "client R"]
    lab.start(request, lab.server_address).run_to("connected")


def test_control_time_wait_keeps_the_port_and_acknowledges_an_old_segment(lab):
    """Proves: 004-8"""
    lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)
    leave_time_wait(lab, shuts_down=True)
    replay_an_old_segment(lab)
    assert lab.wire(since="request: finished") == ["server A", "client A", "server R"]
    lab.start(request, lab.server_address).fail_with("EADDRINUSE")


@pytest.mark.parametrize(("ack_is_old", "delivered"), [(True, 0), (False, 3)])
def test_the_next_connection_knows_old_data_by_its_old_acknowledgement_alone(lab, ack_is_old, delivered):
    """Proves: 004-8. The old data has the very number that comes next; with timestamps, PAWS would know it too."""
    lab.set_sysctl("net.ipv4.tcp_timestamps", 0)
    leave_nothing(lab, size=UPLOAD, reads=UPLOAD - 1)
    lab.start(request, lab.server_address, name="next").run_to("connected")
    old_syn, old_syn_ack, _ = lab.segments(until="request: connected")
    syn, syn_ack, ack = lab.segments(since="request: failed")
    assert (syn.seq - old_syn.seq) % 2**32 < UPLOAD
    acknowledged = old_syn_ack if ack_is_old else syn_ack
    lab.provoke(replace(ack, flags="PA", ack=(acknowledged.seq + 1) % 2**32), payload=b"old")
    assert lab.wire(since="next: connected")[:2] == ["client PA", "server A"]
    lab.expect_socket("server", state="ESTABLISHED", recv_q=delivered)


@pytest.mark.parametrize(("rfc1337", "beyond", "state"), [(0, 0, "CLOSED"), (1, 0, "TIME_WAIT"), (0, 1, "TIME_WAIT")])
def test_rfc1337_decides_whether_a_reset_with_the_exact_number_ends_time_wait(lab, rfc1337, beyond, state):
    """Proves: 004-8"""
    lab.set_sysctl("net.ipv4.tcp_rfc1337", rfc1337)
    leave_time_wait(lab, shuts_down=True)
    fin, _ = lab.segments(since="ready to close")
    lab.provoke(replace(fin, flags="R", seq=(fin.seq + 1 + beyond) % 2**32))
    lab.expect_states(client=state)
