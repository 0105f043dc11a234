"""FIN_WAIT1 lasts until FIN is acknowledged, so it is visible on loopback, and may last long.

The ACK of a FIN is a delayed one: the kernel waits for an answer that could carry it (tcp_fin,
"pingpong mode"). It waits for 40 ms if data has come before (TCP_ATO_MIN), otherwise for a jiffy or
two. `ss` in a loop easily misses that; a capture does not. FIN_WAIT1 stays if no ACK can come:
behind a zero window, FIN waits in the send queue; if ACKs are lost, FIN is retransmitted.

An orphan, which no process owns, retransmits FIN or probes a zero window only as often as
tcp_orphan_retries allows. (Even a peer that is alive may leave a probe unanswered:
tcp_invalid_ratelimit.) If a process still owns the socket, a zero window may hold it for ever.

    client                                       server
    ESTABLISHED  ── PA ─────────────────────▶
    FIN_WAIT1    ── FA ─────────────────────▶    CLOSE_WAIT
        :                                            : 40 ms
    FIN_WAIT2    ◀────────────────────── A ──
    or
    ESTABLISHED  ── A, PA ──────────────────▶    does not read
    FIN_WAIT1    ◀──────────── A, window 0 ──    ESTABLISHED: FIN has not been sent
        :        ◀────────────────────── A ──    reads
        :        ── PA, …, FPA ─────────────▶    CLOSE_WAIT
    FIN_WAIT2    ◀────────────────────── A ──

Sources: article 004; RFC 9293, sections 3.6, 3.8.6.1 (zero-window probing) and 3.8.6.3 (delayed
ACKs). Kernel: tcp_fin, tcp_send_delayed_ack, tcp_in_quickack_mode; tcp_probe_timer,
tcp_write_timeout (both: tcp_orphan_retries).
"""

import socket

import pytest

from harness.inside.installed import find_program
from harness.predict import timers

PORT = 40001
MORE_THAN_FITS = 8000  # the receive buffer is 4096 bytes, and half of that is window


def serve(address):
    listener = socket.create_server(address)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)  # the kernel doubles it
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    received = 0
    while data := connection.recv(MORE_THAN_FITS):
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
    """Until the client has sent its data; the server has accepted and does not read."""
    # Otherwise send() waits for room in the window.
    lab.set_sysctl("net.ipv4.tcp_notsent_lowat", 2**32 - 1)
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, size, to="sent")
    server.run_to("accepted")
    return server, client


@pytest.mark.parametrize(("size", "delay_s"), [(1, 0.04), (0, 0.0)])
def test_on_loopback_fin_wait1_lasts_as_long_as_the_delayed_ack(lab, size, delay_s):
    """Proves: 004-9"""
    _, client = play(lab, size)
    client.run_to("closed")
    lab.expect_wire(["client FA", "server A"], since="sent")
    fin, ack = lab.segments(since="sent")
    fin_wait1_s = lab.gap_s(fin, ack)
    lab.expect_duration("FIN_WAIT1", fin_wait1_s, timers.one_timer(delay_s, timers.tick_s()))
    assert lab.counter("TcpExtDelayedACKs") == 1
    assert lab.path("client") == ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"]


def acknowledge_at_once(lab):
    """As a route of the server's host may ask for (tcp_in_quickack_mode)."""
    host, _ = lab.client_address(PORT)
    route = f"route replace local {host} dev lo table local quickack 1"
    assert lab.run_program([find_program("ip", "iproute2"), *route.split()]).finish() == 0


def test_control_without_delayed_acks_fin_wait1_is_over_at_once(lab):
    """Proves: 004-9, and why the article did not see it: `ss` has no chance now."""
    acknowledge_at_once(lab)
    _, client = play(lab, size=1)
    client.run_to("closed")
    assert lab.wire(since="sent") == ["client FA", "server A"]
    assert lab.counter("TcpExtDelayedACKs") == 0
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    assert lab.path("client") == ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"]


def test_a_zero_window_holds_fin_wait1_with_the_fin_still_unsent(lab):
    """Proves: 004-9"""
    lab.set_sysctl("net.ipv4.tcp_orphan_retries", 8)  # at 1, an orphan gives up after 1.5 s
    server, client = play(lab, MORE_THAN_FITS)
    client.finish()
    unsent = MORE_THAN_FITS - lab.socket("server").recv_q
    orphan = lab.expect_socket("client", state="FIN_WAIT1", inode=0, send_q=unsent + 1)  # with FIN
    assert orphan.timer.name == "zero_window_probe"
    from_server = [each for each in lab.segments() if each.source == lab.server_address]
    assert from_server[-1].window == 0
    assert not any("F" in segment.flags for segment in lab.segments())
    lab.expect_states(client="FIN_WAIT1", server="ESTABLISHED")

    server.run_to("read")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    assert server.finish() == MORE_THAN_FITS
    lab.expect_states(client="TIME_WAIT", server="CLOSED")


def test_control_a_server_that_reads_takes_the_fin(lab):
    """Proves: 004-9, by the cure."""
    server, client = play(lab, MORE_THAN_FITS)
    server.resume()
    client.finish()
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    assert server.finish() == MORE_THAN_FITS


def lose_acks_until_fin_is_sent_again(lab):
    _, client = play(lab, size=1)
    lab.drop(f"{lab.from_host('server')} tcp dport {PORT}")
    client.finish()

    def fin_was_sent_again():
        """By a timeout; a loss probe may come before it."""
        again = lab.wire(since="sent").count("client FA") > 1
        return again and lab.counter("TcpExtTCPTimeouts") > 0

    lab.expect("FIN is sent again", True, fin_was_sent_again)


def test_lost_acks_hold_fin_wait1_and_the_fin_is_sent_again(lab):
    """Proves: 004-9. timers.fin_wait1_orphan gives the time at which such an orphan gives up."""
    lab.set_sysctl("net.ipv4.tcp_orphan_retries", 8)
    lose_acks_until_fin_is_sent_again(lab)
    lab.expect_states(client="FIN_WAIT1", server="CLOSE_WAIT")
    assert set(lab.wire(since="sent")) == {"client FA", "server A"}


def test_control_the_ack_of_a_later_fin_ends_fin_wait1(lab):
    """Proves: 004-9, by the cure."""
    lose_acks_until_fin_is_sent_again(lab)
    lab.restore()
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
