"""A reset leaves no TIME_WAIT: the port is free at once, and old segments are no longer recognised.

TIME_WAIT keeps the port, and answers an old segment with an ACK that delivers nothing. After a
reset the next connection from that port has to reject old segments itself. Usually it can: its
sequence numbers are ahead of the old ones (their clock ticks every 64 ns, RFC 6528), or its
timestamps are (PAWS), or the old acknowledgement number gives the segment away (RFC 5961,
section 5.2).

    client                                     server
    FIN_WAIT2    ── PA, FA ───────────────▶    CLOSE_WAIT, and the request is unread
    CLOSED       ◀─────────────────── RA ──    CLOSED: close()
                 ◀──────────── A, an old one
                 ── R ────────────────────▶    the port knows nothing of it
    or
    TIME_WAIT    ◀─────────────────── FA ──    LAST_ACK: shutdown()
                 ◀──────────── A, an old one
                 ── A ────────────────────▶    CLOSED: answers with RST

TIME_WAIT itself is fragile: the closed end answers its ACK with RST, and this RST ends TIME_WAIT
unless tcp_rfc1337 is 1.

Sources: article 004; RFC 1337; RFC 5961, section 5.2. Kernel: tcp_timewait_state_process, tcp_ack.
"""

import socket
from dataclasses import replace

import pytest

PORT = 40001
REQUEST_BYTES = 18
UPLOAD_BYTES = 96 << 20  # the clock of initial sequence numbers takes 6.4 s for as many


def close_with_unread_data(address, read_bytes=0):
    """It reads `read_bytes` and closes; the rest is unread, so close() sends RST."""
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    connection.recv(read_bytes, socket.MSG_WAITALL)
    yield "ready to close"
    connection.close()
    yield "closed"


def shut_down_and_close(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "ready to close"
    connection.shutdown(socket.SHUT_WR)
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


def play(lab, server_role):
    """Until the server has closed."""
    server = lab.start(server_role, lab.server_address, to="listening")
    client = lab.start(request, lab.server_address, to="sent")
    client.run_to("half closed")
    lab.expect_wire(["client FA", "server A"], since="request: sent")  # a delayed ACK
    server.run_to("ready to close")
    server.run_to("closed")
    return client


def reset_the_client(lab):
    play(lab, close_with_unread_data).fail_with("ECONNRESET")
    lab.expect_states(client="CLOSED", server="CLOSED")


def leave_time_wait(lab):
    play(lab, shut_down_and_close).finish()
    lab.expect_states(client="TIME_WAIT", server="CLOSED")


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
    leave_time_wait(lab)
    replay_an_old_segment(lab)
    assert lab.wire(since="request: finished") == ["server A", "client A", "server R"]
    lab.start(request, lab.server_address).fail_with("EADDRINUSE")


@pytest.mark.parametrize(("ack_is_old", "delivered_bytes"), [(True, 0), (False, 3)])
def test_old_data_is_rejected_only_by_its_old_ack_number(lab, ack_is_old, delivered_bytes):
    """Proves: 004-8. The old data has exactly the sequence number that the server expects next."""
    lab.set_sysctl("net.ipv4.tcp_timestamps", 0)  # with timestamps, PAWS would reject it too
    server = lab.start(close_with_unread_data, lab.server_address, UPLOAD_BYTES - 1, to="listening")
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
    leave_time_wait(lab)
    fin, _ = lab.segments(since="ready to close")
    lab.provoke(replace(fin, flags="R", seq=(fin.seq + 1 + seq_offset) % 2**32))
    lab.expect_states(client=state)
