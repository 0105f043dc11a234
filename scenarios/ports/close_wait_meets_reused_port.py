"""A leaked CLOSE_WAIT answers a new connect() from the same port with an ACK of the old connection.

FIN_WAIT2 has a timer, CLOSE_WAIT has none: one end forgets, the other remembers for ever. When the port comes round
again, the old end challenges the SYN, and the client's RST frees the 4-tuple. The SYN is repeated two jiffies later;
before the commit below after a second, and in 2016 it met silence. Where a firewall eats RST or challenge, connect()
times out beside a server with room; a challenged one a second early: the quick SYN uses up one of tcp_syn_retries.

    client                              server
       |  S ---------------------------> |    CLOSE_WAIT, Recv-Q 1
       |  <------------------------- A   |    challenge: the numbers of its last ACK, from before
       |  R ---------------------------> |    seq = the challenge's ack: CLOSED
       |     (2 jiffies, not 1 s)        |
       |  S ---------------------------> |    the same SYN again, for the listener
       |  <------------------------ SA   |
       |  A ---------------------------> |    ESTABLISHED

Sources: article 001. RFC 9293, 3.5.1 (half-open connections) and 3.10.7.3; RFC 5961, section 4. Kernel:
tcp_validate_incoming, tcp_send_challenge_ack, tcp_rcv_synsent_state_process (quick retry: commit 9603d47bad46,
"tcp: Reduce SYN resend delay if a suspicous ACK is received"), tcp_write_timeout.
"""

import socket
from dataclasses import replace

import pytest

from harness.predict import timers

PORT, RST_LOST, CHALLENGE_LOST, NEIGHBOUR = 40001, 40002, 40003, 40004
PLAIN_HANDSHAKE = ["client S", "server SA", "client A"]
QUICK_RETRY_S = timers.quick_syn_retry_s(timers.tick_s())


def leaking_listener(address, closes):
    """The article's; with `closes`, cured."""
    listener = socket.create_server(address)
    leaked = []
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        if closes:
            connection.close()
        else:
            leaked.append(connection)
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


def play(lab, server_closes, ports):
    """One call from each port, which the server ends or leaks."""
    server = lab.start(leaking_listener, lab.server_address, server_closes, name="listener", to="listening")
    for port in ports:
        client = lab.start(call, lab.server_address, port, to="connected")
        assert lab.wire(port=port) == PLAIN_HANDSHAKE
        server.run_to("accepted")
        client.run_to("half closed")
        # Now, not later: the server's FIN could overtake this delayed ACK on another CPU (process_backlog). TIME_WAIT
        # would answer the ACK as an old one, and the RST that comes back would end it (RFC 1337). And if it came in the
        # middle of close(), FIN_WAIT2 would end with a RST ("Bad case" in tcp_rcv_state_process).
        lab.expect_wire([*PLAIN_HANDSHAKE, "client FA", "server A"], port=port)
        client.finish()
        server.run_to("served")
    return server


def drop_rst_and_challenge(lab):
    lab.drop(f"tcp sport {RST_LOST} tcp flags & rst == rst")
    lab.drop(f"tcp dport {CHALLENGE_LOST} tcp flags & (syn | ack) == ack")


@pytest.mark.waits(1)
def test_close_wait_challenges_a_reused_port_and_the_second_syn_connects(lab):
    """Proves: 001-1, 001-2, 001-4."""
    server = play(lab, server_closes=False, ports=[PORT])
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    *_, fin, last_ack = lab.segments()
    fin_wait2 = timers.fin_wait2(int(lab.sysctl("net.ipv4.tcp_fin_timeout")), timers.tick_s())
    closed = lab.timeline.find("call: finished")
    lab.expect_lifetime("client", "FIN_WAIT2", fin_wait2, since=last_ack, begun_by=closed)
    assert lab.wire() == [*PLAIN_HANDSHAKE, "client FA", "server A"]
    leaked = lab.socket("server")
    # No timer runs: nothing but its process, or a segment, can end it.
    assert (leaked.state, leaked.recv_q, leaked.timer.name) == ("CLOSE_WAIT", 1, "none")
    assert lab.holders("server") == ["listener"]

    client = lab.start(call, lab.server_address, PORT)
    calling = client.run_to("calling")
    client.run_to("connected")
    assert lab.wire(since=calling) == ["client S", "server A", "client R", *PLAIN_HANDSHAKE]
    syn, challenge, reset, retry, *_ = lab.segments(since=calling)
    assert challenge.ack == (fin.seq + 1) % 2**32
    assert (challenge.seq, reset.seq, retry.seq) == (last_ack.seq, challenge.ack, syn.seq)
    waited_s = (retry.time_ns - challenge.time_ns) / 1e9
    lab.expect_duration("the quick retry", waited_s, timers.quick_syn_retry(timers.tick_s()))
    assert lab.counter("TcpExtTCPChallengeACK") == lab.counter("TcpExtTCPSYNChallenge") == 1
    assert lab.counter("TcpExtTCPSynRetrans") == lab.counter("TcpEstabResets") == 1
    server.run_to("accepted")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert lab.accept_queue() == lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == 0


def test_control_a_server_that_closes_leaves_the_port_free(lab):
    """Proves: 001-1, 001-2, by the cure. With timestamps a bound port takes its TIME_WAIT over (tcp_twsk_unique)."""
    play(lab, server_closes=True, ports=[PORT])
    lab.expect_states(client="TIME_WAIT", server="CLOSED")
    client = lab.start(call, lab.server_address, PORT)
    calling = client.run_to("calling")
    client.run_to("connected")
    assert lab.wire(since=calling) == PLAIN_HANDSHAKE


@pytest.mark.waits(2)
def test_without_rst_or_challenge_connect_times_out_beside_a_server_with_room(lab):
    """Proves: 001-3, 001-4. It need not wait for the end of FIN_WAIT2, for the same reason as the control above."""
    lab.set_sysctl("net.ipv4.tcp_syn_retries", 1)
    lab.set_sysctl("net.ipv4.tcp_syn_linear_timeouts", 0, where_it_exists=True)
    server = play(lab, server_closes=False, ports=[RST_LOST, CHALLENGE_LOST])
    drop_rst_and_challenge(lab)
    rst_lost, challenge_lost = (lab.start(call, lab.server_address, port) for port in (RST_LOST, CHALLENGE_LOST))
    calling = rst_lost.run_to("calling")
    rst_lost.stay_blocked(in_="connect")
    challenge_lost.run_to("calling")
    challenge_lost.stay_blocked(in_="connect")

    # A full queue, or EMFILE in accept(), would hit this one too.
    lab.start(call, lab.server_address, NEIGHBOUR, to="connected")
    server.run_to("accepted")
    assert lab.wire(port=NEIGHBOUR) == PLAIN_HANDSHAKE
    assert lab.accept_queue() == lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == 0
    rst_lost.fail_with("ETIMEDOUT")
    challenge_lost.fail_with("ETIMEDOUT")
    rst_lost_s, challenge_lost_s = (each.elapsed_s("calling", "failed") for each in (rst_lost, challenge_lost))
    # No second challenge within tcp_invalid_ratelimit, 500 ms (__tcp_oow_rate_limited).
    assert lab.wire(since=calling, port=RST_LOST) == ["client S", "server A", "client R", "client S"]
    assert lab.counter("TcpExtTCPACKSkippedChallenge") == 1
    assert lab.wire(since=calling, port=CHALLENGE_LOST) == ["client S", "server A", "client S", "server A"]
    lab.expect_duration("ETIMEDOUT, RST lost", rst_lost_s, lab.connect_timeout(first_s=QUICK_RETRY_S))
    lab.expect_duration("ETIMEDOUT, challenge lost", challenge_lost_s, lab.connect_timeout())
    for port in (RST_LOST, CHALLENGE_LOST):
        lab.expect_states(client="CLOSED", server="CLOSE_WAIT", port=port)


def test_control_the_same_firewall_is_harmless_where_the_server_closes(lab):
    """Proves: 001-3, by the cure."""
    server = play(lab, server_closes=True, ports=[RST_LOST, CHALLENGE_LOST])
    drop_rst_and_challenge(lab)
    clients = [lab.start(call, lab.server_address, port, to="calling") for port in (RST_LOST, CHALLENGE_LOST)]
    for client in clients:
        client.run_to("connected")
    assert lab.wire(since="call 4: calling") == [*PLAIN_HANDSHAKE, *PLAIN_HANDSHAKE]
    # Both rules are in force: an exact RST does not end this connection, and the server's FIN, which has ACK, is lost.
    lab.provoke(replace(lab.segments(port=RST_LOST)[-1], flags="R"))
    assert lab.wire()[-1] == "client R"
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED", port=RST_LOST)
    for client in clients:
        client.run_to("half closed")
        server.run_to("served")
    lab.expect_states(client="FIN_WAIT1", server="LAST_ACK", port=CHALLENGE_LOST)
