"""FIN_WAIT1 is not invisible on loopback: it lasts from the FIN to its ACK, and that ACK is a delayed one.

A FIN lets its receiver hope for an answer that will carry the ACK (tcp_fin: "pingpong mode"). It waits for 40 ms once
data has come (TCP_ATO_MIN), for a jiffy or two before that. `ss` in a loop misses this easily, the wire does not. And
where no ACK can come, the state lasts: behind a zero window the FIN has to queue; where ACKs are lost, it is repeated.

An orphan repeats FIN, or probes a zero window, only as long as tcp_orphan_retries allows. (Even a live server leaves a
probe unanswered: tcp_invalid_ratelimit.) Where a process still has the socket, a zero window may hold it for ever.

    client                                       server
    ESTABLISHED  ── PA ─────────────────────▶
    FIN_WAIT1    ── FA ─────────────────────▶    CLOSE_WAIT
        :                                            : 40 ms
    FIN_WAIT2    ◀────────────────────── A ──
    or
    ESTABLISHED  ── A, PA ──────────────────▶    does not read
    FIN_WAIT1    ◀──────────── A, window 0 ──    ESTABLISHED: no FIN is on the wire
        :        ◀────────────────────── A ──    reads
        :        ── PA, …, FPA ─────────────▶    CLOSE_WAIT
    FIN_WAIT2    ◀────────────────────── A ──

Sources: article 004; RFC 9293, sections 3.6, 3.8.6.1 (zero-window probing) and 3.8.6.3 (delayed ACKs). Kernel: tcp_fin,
tcp_send_delayed_ack, tcp_in_quickack_mode; tcp_probe_timer, tcp_write_timeout (both: tcp_orphan_retries).
"""

import socket

import pytest

from harness.inside.installed import find_program
from harness.lab import expect
from harness.predict import timers

PORT = 40001
SIZE = 8000  # more than a receive buffer of 4096 bytes takes, half of which is window


def serve(address):
    listener = socket.create_server(address)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)  # the kernel doubles it
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    received = 0
    while data := connection.recv(SIZE):
        received += len(data)
    yield "read"
    connection.close()
    return received


def call(address, size):
    connection = socket.create_connection(address, source_address=("", PORT))
    connection.sendall(bytes(size))
    yield "sent"
    connection.close()
    yield "closed"


def play(lab, size):
    """Until the client has sent, and the server has accepted but not read."""
    lab.set_sysctl("net.ipv4.tcp_notsent_lowat", 2**32 - 1)  # or send() waits for room in the window
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, size, to="sent")
    server.run_to("accepted")
    return server, client


def acknowledge_at_once(lab):
    """As a route may ask of the server's end (tcp_in_quickack_mode)."""
    host, _ = lab.client_address(PORT)
    route = f"route replace local {host} dev lo table local quickack 1"
    assert lab.run_program([find_program("ip", "iproute2"), *route.split()]).finish() == 0


def lose_acks_until_the_fin_is_repeated(lab):
    _, client = play(lab, size=1)
    lab.drop(f"ip saddr {lab.server_address[0]} tcp dport {PORT}")
    client.finish()
    repeated = "the FIN is repeated"
    expect.poll(repeated, True, lambda: lab.wire(since="sent").count("client FA") > 1, lab.deadline_s)


@pytest.mark.parametrize(("size", "delay_s"), [(1, 0.04), (0, 0.0)])
def test_on_loopback_fin_wait1_lasts_as_long_as_the_ack_is_delayed(lab, size, delay_s):
    """Proves: 004-9"""
    _, client = play(lab, size)
    client.run_to("closed")
    lab.expect_wire(["client FA", "server A"], since="sent")
    fin, ack = lab.segments(since="sent")
    lab.expect_duration("FIN_WAIT1", (ack.time_ns - fin.time_ns) / 1e9, timers.one_timer(delay_s, timers.tick_s()))
    assert lab.counter("TcpExtDelayedACKs") == 1
    assert lab.path("client") == ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"]


def test_control_without_delayed_acks_fin_wait1_is_over_at_once(lab):
    """Proves: 004-9, why the article did not see it: now `ss` has no chance, and the wire still shows it."""
    acknowledge_at_once(lab)
    _, client = play(lab, size=1)
    client.run_to("closed")
    assert lab.wire(since="sent") == ["client FA", "server A"]
    assert lab.counter("TcpExtDelayedACKs") == 0
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    assert lab.path("client") == ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"]


def test_a_zero_window_holds_fin_wait1_with_the_fin_still_unsent(lab):
    """Proves: 004-9. Nobody has the socket; sockstat's "orphan" counts those of the whole machine."""
    lab.set_sysctl("net.ipv4.tcp_orphan_retries", 8)  # at 1, an orphan gives up after 1.5 s
    server, client = play(lab, SIZE)
    client.finish()
    received = lab.socket("server").recv_q
    orphan = lab.expect_socket("client", state="FIN_WAIT1", inode=0, send_q=SIZE - received + 1)  # the FIN counts
    assert orphan.timer.name == "zero_window_probe"
    assert [segment.window for segment in lab.segments() if segment.source == lab.server_address][-1] == 0
    assert not any("F" in segment.flags for segment in lab.segments())
    lab.expect_states(client="FIN_WAIT1", server="ESTABLISHED")

    server.run_to("read")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    assert server.finish() == SIZE
    lab.expect_states(client="TIME_WAIT", server="CLOSED")


def test_control_a_server_that_reads_takes_the_fin(lab):
    """Proves: 004-9, by the cure."""
    server, client = play(lab, SIZE)
    server.resume()
    client.finish()
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    assert server.finish() == SIZE


def test_lost_acks_hold_fin_wait1_and_the_fin_is_repeated(lab):
    """Proves: 004-9. When an orphan gives up, says timers.fin_wait1_orphan; the server will never know."""
    lab.set_sysctl("net.ipv4.tcp_orphan_retries", 8)
    lose_acks_until_the_fin_is_repeated(lab)
    lab.expect_states(client="FIN_WAIT1", server="CLOSE_WAIT")
    assert set(lab.wire(since="sent")) == {"client FA", "server A"}


def test_control_the_ack_of_a_repeated_fin_ends_fin_wait1(lab):
    """Proves: 004-9, by the cure."""
    lose_acks_until_the_fin_is_repeated(lab)
    lab.restore()
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
