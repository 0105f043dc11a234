"""With TCP_DEFER_ACCEPT a client that has sent nothing is SYN_RECV, and accept() does not see it.

The handshake's last ACK is dropped if it comes without data (tcp_check_req), so the server's end
stays SYN_RECV: no socket, no owner, no place in the accept queue. The client has had its SYN-ACK
and is ESTABLISHED. Data brings the connection to accept(), and so does FIN; RST removes it. If the
client waits for the server to speak first, both wait.

    client                                       server, TCP_DEFER_ACCEPT 1 s
    SYN_SENT     ── S ──────────────────────▶
    ESTABLISHED  ◀────────────────────── SA ──   SYN_RECV
                 ── A ──────────▶ dropped        accept() sleeps
                     : 1 s
                 ◀────────────────────── SA ──   retransmitted
                 ── A ──────────────────────▶    ESTABLISHED: accept()

Not for ever: the option counts SYN-ACK timeouts, so its seconds are rounded up to 1, 3, 7, 15, and
so on (secs_to_retrans). At the last of them the SYN-ACK is retransmitted (syn_ack_recalc), and the
ACK that answers it brings the idle client to accept(). It is not disconnected.

Sources: tcp(7), TCP_DEFER_ACCEPT; RFC 9293, section 3.5. Kernel: the functions above, in net/ipv4/.
"""

import socket

import pytest

from harness.predict import timers
from harness.stock_roles import reset_on_close

GREETING, REQUEST = b"220 at your service\r\n", b"hello"
FIRST_REPETITION = timers.one_timer(1.0, timers.tick_s())


def serve(address, defer_s):
    """It speaks first, as servers of mail, SSH or SQL do."""
    listener = socket.create_server(address)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, defer_s)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.sendall(GREETING)
    return connection.recv(100)


def set_and_get(seconds):
    listener = socket.socket()
    rounded = []
    yield "ready"
    for each in seconds:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, each)
        rounded.append(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT))
    return rounded


def call(address, sends=""):
    connection = socket.create_connection(address)
    yield "connected"
    if sends == "data":
        connection.sendall(REQUEST)
    elif sends == "FIN":
        connection.shutdown(socket.SHUT_WR)
    elif sends == "RST":
        reset_on_close(connection)
        connection.close()
    yield "sent"
    return connection.recv(100)


def play(lab, defer_s, sends=""):
    """Until the client is connected."""
    server = lab.start(serve, lab.server_address, defer_s, to="listening")
    client = lab.start(call, lab.server_address, sends, to="connected")
    return server, client


def test_an_idle_client_is_not_seen_by_accept(lab):
    """Both wait: the client for the greeting, the server for a connection."""
    server, client = play(lab, 63)
    client.run_to("sent")
    client.stay_blocked(in_="recv")
    server.stay_blocked(in_="accept")
    lab.expect_states(client="ESTABLISHED", server="SYN_RECV")
    assert lab.wire() == ["client S", "server SA", "client A"]
    assert lab.counter("TcpExtTCPDeferAcceptDrop") == 1
    assert lab.accept_queue() == 0


def test_control_without_the_option_it_is_greeted_at_once(lab):
    """The handshake's last ACK makes it a connection."""
    server, client = play(lab, 0)
    server.run_to("accepted")
    server.resume()
    assert client.finish() == GREETING
    assert lab.counter("TcpExtTCPDeferAcceptDrop") == 0


@pytest.mark.parametrize(("sends", "heard"), [("data", REQUEST), ("FIN", b"")])
def test_control_data_or_fin_reaches_accept_at_once(lab, sends, heard):
    """What the option is for: accept() returns a connection that can be read."""
    server, client = play(lab, 63, sends)
    lab.expect_states(client="ESTABLISHED", server="SYN_RECV")
    client.run_to("sent")
    assert lab.accept_queue() == 1
    assert server.finish() == heard
    assert client.finish() == GREETING


def test_rst_takes_it_away_unseen(lab):
    """A health check that connects and resets never disturbs the server."""
    server, client = play(lab, 63, "RST")
    client.run_to("sent")
    lab.expect_states(client="CLOSED", server="CLOSED")
    assert lab.counter("TcpExtEmbryonicRsts") == 1
    server.stay_blocked(in_="accept")


@pytest.mark.waits(1)
def test_an_idle_client_is_accepted_once_the_time_is_over(lab):
    """It answers the retransmitted SYN-ACK, and is greeted a second late."""
    lab.set_sysctl("net.ipv4.tcp_synack_retries", 0)  # the option has a count of its own
    server, client = play(lab, 1)
    server.run_to("accepted")
    assert lab.wire() == ["client S", "server SA", "client A", "server SA", "client A"]
    syn, *_, repeated, _ = lab.segments()
    after_s = lab.gap_s(syn, repeated)
    lab.expect_duration("the repeated SYN-ACK", after_s, FIRST_REPETITION)
    server.resume()
    assert client.finish() == GREETING


def test_its_seconds_are_rounded_up_to_syn_ack_timeouts(lab):
    """1, 1 + 2, 1 + 2 + 4 and so on, as getsockopt() shows."""
    assert lab.start(set_and_get, (1, 2, 4, 30)).finish() == [1, 3, 7, 31]
