"""A full accept queue drops the SYN, and ignores the ACK of whoever was let in before it filled.

It holds backlog + 1 connections. The kernel looks at it twice: at the SYN (tcp_conn_request), where it keeps nothing,
and connect() tries again after 1 s; and at the third ACK (tcp_v4_syn_recv_sock), where the request stays in SYN_RECV
while its client has long been ESTABLISHED. tcp_abort_on_overflow answers R to that ACK; for the SYN it changes nothing.
An accept() that fails with EMFILE leads here. It asks for the fd first (__sys_accept4_file), so it takes nobody out of
the queue, and fails at once even where nobody waits.

    client 40001                                server, backlog 2
    SYN_SENT     ── S ──────────────────────▶
    ESTABLISHED  ◀───────────────────── SA ──   SYN_RECV
                 ── A ──────────▶ lost          three others fill the queue
                 ◀───────────────────── SA ──   repeated after 1 s
                 ── A ──────────────────────▶   ignored, or R with tcp_abort_on_overflow
                 ── PA ─────────────────────▶   ESTABLISHED, once accept() has made room
    client 40005 ── S ──────────────────────▶   dropped: no row here, SYN_SENT there

From outside it looks like a leaked CLOSE_WAIT (close_wait_meets_reused_port.py). But here every client suffers, the
listener's Recv-Q is above its Send-Q, and ListenOverflows and ListenDrops grow.

Sources: articles 001, 003; RFC 9293, 3.10.7. Kernel: sk_acceptq_is_full, tcp_check_req, reqsk_timer_handler, and above.
"""

import errno
import os
import resource
import socket

import pytest

from harness.predict import timers

LATE, NEXT = 40001, 40005
FIRST_REPETITION = timers.one_timer(1.0, timers.tick_s())
# They fill a backlog of 2; at 1, older kernels would send cookies for the one before (inet_csk_reqsk_queue_is_full).
OTHERS = (40002, 40003, 40004)


def serve(address, backlog=2, closes=False):
    """It has one fd to spare. Where it has none it tries again, having closed its oldest connection if it `closes`."""
    listener = socket.create_server(address, backlog=backlog)
    last = os.dup(listener.fileno())  # the lowest number that is free, and from now on the highest allowed
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    os.close(last)
    connections = []
    yield "listening"
    while True:
        try:
            connections.append(listener.accept()[0])
            yield "accepted"
        except OSError as error:
            yield errno.errorcode[error.errno]
            if closes:
                connections.pop(0).close()


def call(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.sendall(b"hello")
    yield "said"
    connection.recv(1)


def fill_the_queue(lab):
    """The third ACK of one client is lost, so it stays in SYN_RECV, and three others take their places before it."""
    late, *_ = clients = [lab.start(call, lab.server_address, port) for port in (LATE, *OTHERS)]
    lab.drop(f"tcp sport {LATE} tcp flags == ack")
    for client in clients:  # within the second after which the SYN-ACK is repeated
        client.run_to("connected")
    lab.expect_states(client="ESTABLISHED", server="SYN_RECV", port=LATE)
    return late


def play(lab, backlog=2):
    server = lab.start(serve, lab.server_address, backlog, to="listening")
    late = fill_the_queue(lab)
    lab.restore()
    return server, late


def play_without_fds(lab, closes):
    """The server has accepted one client and has no fd for another; the queue is filled, and then one more comes."""
    server = lab.start(serve, lab.server_address, 2, closes, to="listening")
    lab.start(call, lab.server_address, 40006, to="connected")
    server.run_to("accepted")
    assert lab.accept_queue() == 0
    server.run_to("EMFILE")
    late = fill_the_queue(lab)
    client = lab.start(call, lab.server_address, NEXT)
    client.stay_blocked(in_="connect")
    return server, late, client


@pytest.mark.waits(1)
def test_the_last_ack_that_finds_the_queue_full_is_ignored(lab):
    """Proves: 003-6"""
    server, late = play(lab)
    lab.expect_wire(["client S", "server SA", "client A", "server SA", "client A"], port=LATE)
    syn, _, _, repeated, _ = lab.segments(port=LATE)  # its timer starts before the SYN-ACK goes out (tcp_conn_request)
    lab.expect_duration("the repeated SYN-ACK", (repeated.time_ns - syn.time_ns) / 1e9, FIRST_REPETITION)
    lab.expect_states(client="ESTABLISHED", server="SYN_RECV", port=LATE)
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == 1
    server.run_to("accepted")
    late.run_to("said")
    lab.expect_socket("server", port=LATE, state="ESTABLISHED", inode=0, recv_q=5)


@pytest.mark.waits(1)
def test_once_syn_recv_ends_the_client_has_half_a_connection(lab):
    """Proves: 003-6, its end."""
    lab.set_sysctl("net.ipv4.tcp_synack_retries", 0)
    _, late = play(lab)
    syn, *_ = lab.segments()
    lab.expect_lifetime("server", "SYN_RECV", timers.syn_recv(0, 1.0, timers.tick_s()), syn, LATE)
    lab.expect_states(client="ESTABLISHED", server="CLOSED", port=LATE)
    late.run_to("said")
    assert lab.wire(port=LATE) == ["client S", "server SA", "client A", "client PA", "server R"]
    late.fail_with("ECONNRESET")


def test_abort_on_overflow_answers_the_last_ack_with_a_reset(lab):
    """Proves: 003-6"""
    lab.set_sysctl("net.ipv4.tcp_abort_on_overflow", 1)
    _, late = play(lab)
    late.run_to("said")
    assert lab.wire(port=LATE) == ["client S", "server SA", "client A", "client PA", "server R"]
    lab.expect_states(client="CLOSED", server="CLOSED", port=LATE)
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtEmbryonicRsts") == 1
    assert lab.accept_queue() == len(OTHERS)  # the sysctl does nothing to those who had room
    late.fail_with("ECONNRESET")


def test_control_with_one_place_more_the_next_segment_is_enough(lab):
    """Proves: 003-6"""
    _, late = play(lab, backlog=3)
    late.run_to("said")
    assert lab.wire(port=LATE) == ["client S", "server SA", "client A", "client PA", "server A"]
    lab.expect_socket("server", port=LATE, state="ESTABLISHED", inode=0, recv_q=5)
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == 0


def test_control_with_room_abort_on_overflow_changes_nothing(lab):
    """Proves: 003-6"""
    lab.set_sysctl(key="net.ipv4.tcp_abort_on_overflow", value=1)
    _, late = play(lab, 3)
    late.run_to("said")
    assert lab.wire(port=LATE) == ["client S", "server SA", "client A", "client PA", "server A"]
    lab.expect_socket("server", port=LATE, state="ESTABLISHED", inode=0, recv_q=5)


@pytest.mark.parametrize(("abort", "ends"), [(0, ("ESTABLISHED", "SYN_RECV")), (1, ("CLOSED", "CLOSED"))])
def test_an_accept_that_fails_with_emfile_fills_the_queue_and_syns_are_dropped(lab, abort, ends):
    """Proves: 001-6, and of 003-6 that the SYN is dropped whatever tcp_abort_on_overflow says: it governs ACKs."""
    lab.set_sysctl("net.ipv4.tcp_abort_on_overflow", abort)
    server, late, client = play_without_fds(lab, closes=False)
    server.run_to("EMFILE")
    lab.expect_states(client="SYN_SENT", server="CLOSED", port=NEXT)
    client.kill()  # its SYN must not be repeated while we count: it would be after a second, and a host may be busy
    assert [(row.recv_q, row.send_q) for row in lab.sockets() if row.state == "LISTEN"] == [(3, 2)]
    assert set(lab.wire(port=NEXT)) == {"client S"}
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == len(lab.wire(port=NEXT))
    late.run_to("said")  # the sysctl is in force: the data of a client that was let in before is ignored, or reset
    lab.expect_states(client=ends[0], server=ends[1], port=LATE)


@pytest.mark.waits(1)
def test_control_once_fds_are_closed_the_queue_drains_and_connect_is_answered_at_once(lab):
    """Proves: 001-6, by the cure. Who had come while it was full gets in a second late."""
    server, _, unlucky = play_without_fds(lab, closes=True)
    for _ in OTHERS:
        server.run_to("accepted")
    assert lab.accept_queue() == 0
    lab.start(call, lab.server_address, 40007, to="connected")
    assert lab.wire(port=40007) == ["client S", "server SA", "client A"]
    unlucky.run_to("connected")
    assert lab.wire(port=NEXT) == ["client S", "client S", "server SA", "client A"]
    syn, repeated, *_ = lab.segments(port=NEXT)
    lab.expect_duration("the repeated SYN", (repeated.time_ns - syn.time_ns) / 1e9, FIRST_REPETITION)
