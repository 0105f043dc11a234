"""A full accept queue drops new SYNs, and ignores the last ACK of a handshake that began earlier.

The queue holds backlog + 1 connections, and the kernel checks it twice. If it is full when a SYN
arrives, the SYN is dropped and nothing is remembered (tcp_conn_request): connect() tries again
after 1 s. If it is full when the last ACK arrives, the server stays in SYN_RECV, although the
client is ESTABLISHED (tcp_v4_syn_recv_sock). With tcp_abort_on_overflow that ACK is answered with
RST; for a SYN the sysctl changes nothing.

    client 40001                                server, backlog 2
    SYN_SENT     ── S ──────────────────────▶
    ESTABLISHED  ◀───────────────────── SA ──   SYN_RECV
                 ── A ──────────▶ lost          three others fill the queue
                 ◀───────────────────── SA ──   retransmitted after 1 s
                 ── A ──────────────────────▶   ignored, or R with tcp_abort_on_overflow
                 ── PA ─────────────────────▶   ESTABLISHED, once accept() has made room
    client 40005 ── S ──────────────────────▶   dropped: CLOSED here, SYN_SENT there

From outside this looks like a leaked CLOSE_WAIT (close_wait_meets_reused_port.py). But here every
client waits, the listener's Recv-Q is above its Send-Q, and ListenOverflows and ListenDrops grow.
A common cause is an accept() that fails (too_many_open_files.py).

Sources: articles 001, 003; RFC 9293, 3.10.7. Kernel: sk_acceptq_is_full, tcp_check_req,
reqsk_timer_handler, and the functions above.
"""

import socket

import pytest

from harness.predict import timers
from harness.stock_roles import accept

LATE, NEXT = 40001, 40005
# They fill a backlog of 2. With a backlog of 1, older kernels would answer the SYN of the client
# before them with a cookie (inet_csk_reqsk_queue_is_full).
OTHERS = (40002, 40003, 40004)
FIRST_REPETITION = timers.one_timer(1.0, timers.tick_s())


def call(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.sendall(b"hello")
    yield "sent"
    connection.recv(1)


def fill_the_queue(lab):
    """One client stays in SYN_RECV, as its last ACK is lost; three others fill the queue."""
    late = lab.start(call, lab.server_address, LATE)
    others = [lab.start(call, lab.server_address, port) for port in OTHERS]
    lab.drop(f"tcp sport {LATE} tcp flags == ack")
    late.run_to("connected")
    for client in others:  # they have a second, until the SYN-ACK is retransmitted
        client.run_to("connected")
    lab.expect_states(client="ESTABLISHED", server="SYN_RECV", port=LATE)
    return late


def play(lab, backlog=2):
    """Until the last ACK may arrive."""
    server = lab.start(accept, lab.server_address, backlog, to="listening")
    late = fill_the_queue(lab)
    lab.restore()
    return server, late


@pytest.mark.waits(1)
def test_the_last_ack_that_finds_the_queue_full_is_ignored(lab):
    """Proves: 003-6"""
    server, late = play(lab)
    lab.expect_wire(["client S", "server SA", "client A", "server SA", "client A"], port=LATE)
    syn, _, _, repeated, _ = lab.segments(port=LATE)
    # Its timer starts before the first SYN-ACK is sent (tcp_conn_request).
    after_s = lab.gap_s(syn, repeated)
    lab.expect_duration("the repeated SYN-ACK", after_s, FIRST_REPETITION)
    lab.expect_states(client="ESTABLISHED", server="SYN_RECV", port=LATE)
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == 1
    server.run_to("accepted")
    late.run_to("sent")
    lab.expect_socket("server", port=LATE, state="ESTABLISHED", inode=0, recv_q=5)


def test_control_with_one_place_more_the_next_segment_is_enough(lab):
    """Proves: 003-6"""
    _, late = play(lab, backlog=3)
    late.run_to("sent")
    assert lab.wire(port=LATE) == ["client S", "server SA", "client A", "client PA", "server A"]
    lab.expect_socket("server", port=LATE, state="ESTABLISHED", inode=0, recv_q=5)
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == 0


@pytest.mark.parametrize(
    ("abort", "ends"),
    [(0, ("ESTABLISHED", "SYN_RECV")), (1, ("CLOSED", "CLOSED"))],
    ids=["abort_on_overflow 0", "abort_on_overflow 1"],
)
def test_a_syn_that_finds_the_queue_full_is_dropped(lab, abort, ends):
    """Proves: 001-6, 003-6. tcp_abort_on_overflow changes nothing for a SYN, as it is for ACKs."""
    lab.set_sysctl("net.ipv4.tcp_abort_on_overflow", abort)
    lab.start(accept, lab.server_address, 2, to="listening")
    late = fill_the_queue(lab)
    client = lab.start(call, lab.server_address, NEXT)
    client.stay_blocked(in_="connect")
    lab.expect_states(client="SYN_SENT", server="CLOSED", port=NEXT)
    client.kill()  # or a busy host might still count when the SYN is retransmitted, after 1 s
    listener = lab.listener()
    assert (listener.recv_q, listener.send_q) == (3, 2)
    syns = lab.wire(port=NEXT)
    assert set(syns) == {"client S"}
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == len(syns)
    # The sysctl is in effect: the data of the client in SYN_RECV is ignored, or answered with R.
    late.run_to("sent")
    client_state, server_state = ends
    lab.expect_states(client=client_state, server=server_state, port=LATE)
    assert ("server R" in lab.wire(port=LATE)) == bool(abort)


@pytest.mark.waits(1)
def test_once_syn_recv_ends_the_client_has_half_a_connection(lab):
    """Proves: 003-6, its end."""
    lab.set_sysctl("net.ipv4.tcp_synack_retries", 0)
    _, late = play(lab)
    syn, *_ = lab.segments()
    lifetime = timers.syn_recv(0, 1.0, timers.tick_s())
    lab.expect_lifetime("server", "SYN_RECV", lifetime, syn, LATE)
    lab.expect_states(client="ESTABLISHED", server="CLOSED", port=LATE)
    late.run_to("sent")
    assert lab.wire(port=LATE) == ["client S", "server SA", "client A", "client PA", "server R"]
    late.fail_with("ECONNRESET")


def test_abort_on_overflow_answers_the_last_ack_with_a_reset(lab):
    """Proves: 003-6"""
    lab.set_sysctl("net.ipv4.tcp_abort_on_overflow", 1)
    _, late = play(lab)
    late.run_to("sent")
    assert lab.wire(port=LATE) == ["client S", "server SA", "client A", "client PA", "server R"]
    lab.expect_states(client="CLOSED", server="CLOSED", port=LATE)
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtEmbryonicRsts") == 1
    assert lab.accept_queue() == len(OTHERS)  # nothing happens to those that found room
    late.fail_with("ECONNRESET")


def test_control_with_room_abort_on_overflow_changes_nothing(lab):
    """Proves: 003-6"""
    lab.set_sysctl("net.ipv4.tcp_abort_on_overflow", 1)
    _, late = play(lab, 3)
    late.run_to("sent")
    assert lab.wire(port=LATE) == ["client S", "server SA", "client A", "client PA", "server A"]
    lab.expect_socket("server", port=LATE, state="ESTABLISHED", inode=0, recv_q=5)
