"""A leaked CLOSE_WAIT answers a new connect() from the same port with an ACK of the old connection.

FIN_WAIT2 has a timer, CLOSE_WAIT has none: the client forgets the connection, the server keeps it
for ever. When the client uses the port again, the old socket answers the SYN with a challenge ACK,
and the client's RST frees the 4-tuple. The SYN is retransmitted two jiffies later (after a second
before the commit named below; in 2016 the SYN got no answer at all). If a firewall drops the RST or
the challenge ACK, connect() times out although the server has room. If the RST is lost, that is a
second earlier than usual, because the quick second SYN uses up one of tcp_syn_retries.

    client                              server
       |  S ---------------------------> |    CLOSE_WAIT, Recv-Q 1
       |  <------------------------- A   |    challenge ACK: seq and ack as in its last ACK
       |  R ---------------------------> |    seq = ack of the challenge: CLOSED
       |     (2 jiffies, not 1 s)        |
       |  S ---------------------------> |    the same SYN again; now the listener gets it
       |  <------------------------ SA   |
       |  A ---------------------------> |    ESTABLISHED

Sources: article 001. RFC 9293, 3.5.1 (half-open connections) and 3.10.7.3; RFC 5961, section 4.
Kernel: tcp_validate_incoming, tcp_send_challenge_ack, tcp_rcv_synsent_state_process (quick retry:
commit 9603d47bad46, "tcp: Reduce SYN resend delay if a suspicous ACK is received"),
tcp_write_timeout.
"""

import socket
from dataclasses import replace

import pytest

from harness.predict import timers

PORT, RST_LOST, CHALLENGE_LOST, NEIGHBOUR = 40001, 40002, 40003, 40004
HANDSHAKE = ["client S", "server SA", "client A"]


def leaking_listener(address):
    listener = socket.create_server(address)
    leaked = []
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        leaked.append(connection)
        yield "served"


def closing_listener(address):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        connection.close()
        yield "served"


def call(address, port):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    connection.bind(("", port))
    yield "calling"
    connection.connect(address)
    yield "connected"
    connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    connection.close()


def close_from_the_client(lab, server, port):
    """One connection that the client closes; the server closes it too, or leaks it."""
    client = lab.start(call, lab.server_address, port, to="connected")
    assert lab.wire(port=port) == HANDSHAKE
    server.run_to("accepted")
    client.run_to("half closed")
    # Wait for this delayed ACK. On another CPU the server's FIN could overtake it
    # (process_backlog); TIME_WAIT would then answer it as an old segment, and the RST that comes
    # back would end TIME_WAIT (RFC 1337). In the middle of close(), it would make FIN_WAIT2 end
    # with an RST ("Bad case" in tcp_rcv_state_process).
    lab.expect_wire([*HANDSHAKE, "client FA", "server A"], port=port)
    client.finish()
    server.run_to("served")


@pytest.mark.waits(1)
def test_close_wait_challenges_a_syn_from_the_reused_port(lab):
    """Proves: 001-1, 001-2, 001-4."""
    server = lab.start(leaking_listener, lab.server_address, name="listener", to="listening")
    close_from_the_client(lab, server, PORT)
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    *_, fin, last_ack = lab.segments()
    fin_wait2 = timers.fin_wait2(int(lab.sysctl("net.ipv4.tcp_fin_timeout")), timers.tick_s())
    closed = lab.timeline.find("call: finished")
    lab.expect_lifetime("client", "FIN_WAIT2", fin_wait2, since=last_ack, begun_by=closed)
    assert lab.wire() == [*HANDSHAKE, "client FA", "server A"]
    leaked = lab.socket("server")
    assert (leaked.state, leaked.recv_q) == ("CLOSE_WAIT", 1)
    assert leaked.timer.name == "none"  # only its process or a segment can end it
    assert lab.holders("server") == ["listener"]

    client = lab.start(call, lab.server_address, PORT)
    calling = client.run_to("calling")
    client.run_to("connected")
    assert lab.wire(since=calling) == ["client S", "server A", "client R", *HANDSHAKE]
    syn, challenge, reset, retry, *_ = lab.segments(since=calling)
    assert challenge.seq == last_ack.seq
    assert challenge.ack == (fin.seq + 1) % 2**32
    assert reset.seq == challenge.ack
    assert retry.seq == syn.seq
    waited_s = lab.gap_s(challenge, retry)
    lab.expect_duration("the quick retry", waited_s, timers.quick_syn_retry(timers.tick_s()))
    assert lab.counter("TcpExtTCPChallengeACK") == lab.counter("TcpExtTCPSYNChallenge") == 1
    assert lab.counter("TcpExtTCPSynRetrans") == lab.counter("TcpEstabResets") == 1

    server.run_to("accepted")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    expect_no_full_queue(lab)


def expect_no_full_queue(lab):
    assert lab.accept_queue() == 0
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == 0


def test_control_a_server_that_closes_leaves_the_port_free(lab):
    """Proves: 001-1, 001-2, by the cure.

    With timestamps, a bound port takes over its TIME_WAIT (tcp_twsk_unique).
    """
    server = lab.start(closing_listener, lab.server_address, name="listener", to="listening")
    close_from_the_client(lab, server, PORT)
    lab.expect_states(client="TIME_WAIT", server="CLOSED")
    client = lab.start(call, lab.server_address, PORT)
    calling = client.run_to("calling")
    client.run_to("connected")
    assert lab.wire(since=calling) == HANDSHAKE


def drop_rst_and_challenge(lab):
    lab.drop(f"tcp sport {RST_LOST} tcp flags & rst == rst")
    lab.drop(f"tcp dport {CHALLENGE_LOST} tcp flags & (syn | ack) == ack")


@pytest.mark.waits(2)
def test_without_rst_or_challenge_connect_times_out(lab):
    """Proves: 001-3, 001-4. A bound port takes over FIN_WAIT2, too: no need to wait for its end."""
    lab.set_sysctl("net.ipv4.tcp_syn_retries", 1)
    lab.set_sysctl("net.ipv4.tcp_syn_linear_timeouts", 0, optional=True)
    server = lab.start(leaking_listener, lab.server_address, name="listener", to="listening")
    close_from_the_client(lab, server, RST_LOST)
    close_from_the_client(lab, server, CHALLENGE_LOST)
    drop_rst_and_challenge(lab)

    rst_lost = lab.start(call, lab.server_address, RST_LOST)
    challenge_lost = lab.start(call, lab.server_address, CHALLENGE_LOST)
    calling = rst_lost.run_to("calling")
    rst_lost.stay_blocked(in_="connect")
    challenge_lost.run_to("calling")
    challenge_lost.stay_blocked(in_="connect")

    # With a full queue, or EMFILE in accept(), this one would hang as well.
    lab.start(call, lab.server_address, NEIGHBOUR, to="connected")
    server.run_to("accepted")
    assert lab.wire(port=NEIGHBOUR) == HANDSHAKE
    expect_no_full_queue(lab)

    rst_lost.fail_with("ETIMEDOUT")
    challenge_lost.fail_with("ETIMEDOUT")
    # No second challenge within tcp_invalid_ratelimit, 500 ms (__tcp_oow_rate_limited).
    syn_twice = ["client S", "server A", "client R", "client S"]
    assert lab.wire(since=calling, port=RST_LOST) == syn_twice
    assert lab.counter("TcpExtTCPACKSkippedChallenge") == 1
    challenge_twice = ["client S", "server A", "client S", "server A"]
    assert lab.wire(since=calling, port=CHALLENGE_LOST) == challenge_twice

    after_quick_retry = lab.connect_timeout(first_s=timers.quick_syn_retry_s(timers.tick_s()))
    elapsed_s = rst_lost.elapsed_s("calling", "failed")
    lab.expect_duration("ETIMEDOUT, RST lost", elapsed_s, after_quick_retry)
    elapsed_s = challenge_lost.elapsed_s("calling", "failed")
    lab.expect_duration("ETIMEDOUT, challenge lost", elapsed_s, lab.connect_timeout())
    lab.expect_states(client="CLOSED", server="CLOSE_WAIT", port=RST_LOST)
    lab.expect_states(client="CLOSED", server="CLOSE_WAIT", port=CHALLENGE_LOST)


def test_control_the_firewall_does_no_harm_if_the_server_closes(lab):
    """Proves: 001-3, by the cure."""
    server = lab.start(closing_listener, lab.server_address, name="listener", to="listening")
    close_from_the_client(lab, server, RST_LOST)
    close_from_the_client(lab, server, CHALLENGE_LOST)
    lab.expect_states(client="TIME_WAIT", server="CLOSED", port=RST_LOST)
    lab.expect_states(client="TIME_WAIT", server="CLOSED", port=CHALLENGE_LOST)
    drop_rst_and_challenge(lab)
    no_rst = lab.start(call, lab.server_address, RST_LOST)
    calling = no_rst.run_to("calling")
    no_rst.run_to("connected")
    no_challenge = lab.start(call, lab.server_address, CHALLENGE_LOST, to="connected")
    assert lab.wire(since=calling) == [*HANDSHAKE, *HANDSHAKE]

    # Both rules work: an exact RST does not end the first connection ...
    lab.provoke(replace(lab.segments(port=RST_LOST)[-1], flags="R"))
    assert lab.wire()[-1] == "client R"
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED", port=RST_LOST)
    # ... and the second never gets the server's FIN, which carries an ACK.
    server.run_to("served")
    no_challenge.run_to("half closed")
    server.run_to("served")
    lab.expect_states(client="FIN_WAIT1", server="LAST_ACK", port=CHALLENGE_LOST)
