"""Write, write, read: the second write waits 40 ms for the delayed ACK of the first.

Nagle's algorithm (RFC 896) allows one small segment to be unacknowledged; the next one waits for
its ACK. The peer has only half a request, so it has no answer that could carry this ACK, and delays
it for 40 ms (TCP_DELACK_MIN). Each end follows its rule, and both wait.

The first exchanges of a connection are quick. The kernel acknowledges small segments at once until
the program has answered one within 40 ms; then it takes the connection for an interactive one
("pingpong"), whose answers carry the ACKs. TCP_QUICKACK ends this mode, but only until the next
answer.

    client                                     server
    write: head  ── PA ───────────────────▶    half a request: nothing to answer
    write: body  held                          the ACK waits for an answer, or for 40 ms
                 ◀──────────────────── A ──    the delayed-ACK timer expires
                 ── PA ───────────────────▶    the body
    read         ◀──────────────── A, PA ──    the answer

Sources: RFC 896; RFC 9293, 3.7.4 (Nagle) and 3.8.6.3 (delayed ACK). Kernel: tcp_nagle_check and
tcp_minshall_check (held); tcp_event_data_sent and tcp_in_quickack_mode (which mode);
tcp_send_delayed_ack, tcp_delack_timer_handler; __tcp_sock_set_quickack.
"""

import socket
import time

import pytest

from harness.predict import timers

HEAD, BODY, ANSWER = b"head", b"body!", b"answer"
EXCHANGE = ["client PA", "server A", "client PA", "server A", "server PA", "client A"]
DELAYED_ACK = timers.one_timer(0.04, timers.tick_s())  # include/net/tcp.h, TCP_DELACK_MIN
SHORT_NS = 20_000_000  # half of that
MOST_EXCHANGES = 10
PINGPONG_THRESH = "net.ipv4.tcp_pingpong_thresh"


def serve(address, quickack="never"):
    """After each answer it prints 1 if the kernel would acknowledge at once, and 0 in pingpong."""
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    while True:
        connection.recv(len(HEAD + BODY), socket.MSG_WAITALL)
        connection.sendall(ANSWER)
        if quickack != "never":
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        if quickack == "once":
            quickack = "never"
        print(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK))
        yield "answered"


def ask(address, how="two writes", nodelay=0):
    """After each exchange it prints the time at which the request was written."""
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay)
    while True:
        yield "ready to ask"
        if how == "sendmsg":
            connection.sendmsg([HEAD, BODY])
        elif how == "MSG_MORE":
            connection.send(HEAD, socket.MSG_MORE)
            connection.sendall(BODY)
        else:
            connection.sendall(HEAD)
            connection.sendall(BODY)
        written_ns = time.monotonic_ns()
        assert connection.recv(len(ANSWER), socket.MSG_WAITALL) == ANSWER
        # Its own ACK leaves now, or it would come with the next request, or a timer.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        print(written_ns)
        yield "answered"


def connect(lab, how="two writes", nodelay=0, quickack="never", pingpong_thresh=1):
    lab.set_sysctl(PINGPONG_THRESH, pingpong_thresh, optional=True)
    lab.set_sysctl("net.ipv4.tcp_rto_min_us", 200_000, optional=True)  # an ACK is delayed for less
    server = lab.start(serve, lab.server_address, quickack, to="listening")
    return server, lab.start(ask, lab.server_address, how, nodelay)


def exchange(lab, server, client):
    """One request and its answer; the moment before it."""
    before = client.run_to("ready to ask")
    server.resume()
    client.run_to("answered")
    server.run_to("answered")
    return before


def exchange_in_pingpong(lab, server, client):
    """One that begins in pingpong mode, and whose writes follow each other; the moment before it.

    On a busy machine an exchange may be neither: the answer, or the second write, may come later
    than a delayed ACK. Then it does not count.
    """
    for _ in range(MOST_EXCHANGES):
        pingpong = server.output().split()[-1:] == ["0"]
        before = exchange(lab, server, client)
        head, *_ = lab.segments(since=before)
        if pingpong and written_ns(client) - head.time_ns < SHORT_NS:
            return before
    raise AssertionError(f"none of {MOST_EXCHANGES} exchanges began in pingpong mode")


def request_segments(lab, since):
    """Each once: a loss probe may retransmit what the server has not acknowledged after some ms."""
    sent = [each for each in lab.segments(since) if each.destination == lab.server_address]
    return list({each.seq: each for each in reversed(sent) if each.length}.values())[::-1]


def written_ns(client):
    return int(client.output().split()[-1])


def held_ns(lab, client, since):
    """From the return of the last write to its segment; below 0 if it was sent by the write."""
    return request_segments(lab, since)[-1].time_ns - written_ns(client)


def test_write_write_read_takes_40_ms_each_time(lab):
    """All but the first exchange, which is in the quick phase."""
    server, client = connect(lab)
    asked = exchange(lab, server, client)
    assert lab.wire(since=asked) == EXCHANGE
    assert held_ns(lab, client, asked) < SHORT_NS

    for _ in range(2):
        asked = exchange_in_pingpong(lab, server, client)
        assert lab.wire(since=asked) == EXCHANGE
        head, ack, body, *_ = lab.segments(since=asked)
        assert (head.length, body.length) == (len(HEAD), len(BODY))
        lab.expect_duration("the delayed ACK", lab.gap_s(head, ack), DELAYED_ACK)
        assert held_ns(lab, client, asked) > SHORT_NS
    assert lab.counter("TcpExtDelayedACKs") >= 2


def test_quickack_set_once_is_forgotten(lab):
    """It lasts until the next answer: tcp_event_data_sent counts this as pingpong again."""
    server, client = connect(lab, quickack="once")
    asked = exchange(lab, server, client)
    assert held_ns(lab, client, asked) < SHORT_NS
    asked = exchange(lab, server, client)
    assert held_ns(lab, client, asked) < SHORT_NS
    asked = exchange_in_pingpong(lab, server, client)
    assert lab.wire(since=asked) == EXCHANGE
    assert held_ns(lab, client, asked) > SHORT_NS


@pytest.mark.parametrize("how", ["sendmsg", "MSG_MORE"])
def test_control_one_write_is_one_segment(lab, how):
    """The whole request is there at once, and its answer carries the ACK."""
    server, client = connect(lab, how)
    for _ in range(2):
        asked = exchange_in_pingpong(lab, server, client)
        assert [each.length for each in request_segments(lab, asked)] == [len(HEAD + BODY)]
        assert held_ns(lab, client, asked) < SHORT_NS


def test_control_nodelay_sends_each_write_at_once(lab):
    """Two segments, the second one without an ACK of the first."""
    server, client = connect(lab, nodelay=1)
    for _ in range(2):
        asked = exchange_in_pingpong(lab, server, client)
        lengths = [each.length for each in request_segments(lab, asked)]
        assert lengths == [len(HEAD), len(BODY)]
        assert held_ns(lab, client, asked) < SHORT_NS


def test_control_quickack_after_each_answer_acknowledges_at_once(lab):
    """The cure at the other end, where the client's program cannot be changed."""
    server, client = connect(lab, quickack="each time")
    for _ in range(3):
        asked = exchange(lab, server, client)
        assert lab.wire(since=asked) == EXCHANGE
        assert held_ns(lab, client, asked) < SHORT_NS


def test_control_a_high_pingpong_thresh_keeps_the_quick_phase(lab):
    """That many answers in a row make the connection an interactive one; 255 is the most."""
    lab.require_sysctl(PINGPONG_THRESH, since="Linux 6.7")
    server, client = connect(lab, pingpong_thresh=255)
    for _ in range(3):
        asked = exchange(lab, server, client)
        assert lab.wire(since=asked) == EXCHANGE
        assert held_ns(lab, client, asked) < SHORT_NS
