"""A peer that stops reading blocks the process that writes to it, as long as it answers probes.

Once the peer's receive queue is full, it advertises a window of 0. When the send buffer is full,
too, send() blocks, and a single-threaded server that blocks there serves no other client. The
persist timer probes the window: after one RTO, then after twice as long each time. Every answer
proves that the peer's kernel is alive, so the connection does not end by itself (RFC 9293,
3.8.6.1). SO_KEEPALIVE does not help: the peer answers. (It limits the rate of its answers by
tcp_invalid_ratelimit, 500 ms by default, so not every probe has one.)

TCP_USER_TIMEOUT does end it, counted from the first probe. But it also ends a slow reader, which
reads and is sent more: only a window with room for the next segment in the send queue resets that
clock (tcp_ack_probe).

    client                                     server
    never reads  ◀─────────────────── PA ──    sendall()
                 ── A, window 0 ──────────▶    send() blocks; the persist timer starts
                 ◀──────────────────── A ──    after one RTO: a probe, an old byte's number
                 ── A, window 0 ──────────▶    the peer lives
                 ◀──────────────────── A ──    after two more RTOs, and so on
    another client
                 ── S ────────────────────▶    waits for accept()

Sources: RFC 9293, 3.8.6.1; RFC 6429. Kernel: tcp_probe_timer, tcp_send_probe0, tcp_probe0_when,
tcp_clamp_probe0_to_user_timeout, tcp_ack_probe, __tcp_oow_rate_limited.
"""

import contextlib
import itertools
import socket
import time

import pytest

from harness.predict import timers
from harness.stock_roles import reset_on_close, rto_us

READER, OTHER = 40001, 40002
RECEIVE_BUFFER, BIG_BUFFER, SEND_BUFFER = 4096, 1 << 20, 65536
ANSWER_BYTES = 1 << 20  # more than the reader's and the server's buffers
MESSAGE, MESSAGES, UNSENT_LIMIT = bytes(4096), 16, 8192
USER_TIMEOUT_MS = 1000


def serve(address, write_limit_s=None):
    """One client after the other. A client that takes too long is reset."""
    listener = socket.create_server(address)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.settimeout(write_limit_s)
        try:
            connection.sendall(bytes(ANSWER_BYTES))
        except OSError:
            reset_on_close(connection)
        connection.close()


def fill(address, user_timeout_ms=0):
    """It sends until its buffer is full, reports its RTO (µs), and then blocks."""
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            connection.send(bytes(SEND_BUFFER))
    yield "full"
    print(rto_us(connection))
    yield "measured"
    connection.setblocking(True)
    connection.sendall(bytes(ANSWER_BYTES))


def publish(address):
    """It never blocks: each subscriber has a buffer, and a limit."""
    listener = socket.create_server(address)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    yield "listening"
    unsent = {}
    for _ in range(2):
        connection, _ = listener.accept()
        connection.setblocking(False)
        unsent[connection] = b""
    yield "connected"
    while True:
        for connection in list(unsent):
            unsent[connection] += MESSAGE
            with contextlib.suppress(BlockingIOError):
                sent = connection.send(unsent[connection])
                unsent[connection] = unsent[connection][sent:]
            if len(unsent[connection]) > UNSENT_LIMIT:
                reset_on_close(connection)
                connection.close()
                del unsent[connection]
        yield "published"


def read(address, port, read_bytes, receive_buffer=RECEIVE_BUFFER):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.bind(("", port))
    connection.connect(address)
    yield "connected"
    while True:
        connection.recv(read_bytes, socket.MSG_WAITALL)
        yield "read"


def since_window_closed(lab):
    """The segments since the ACK that closed the window. The server's empty ones are probes."""
    return list(itertools.dropwhile(lambda each: each.window, lab.segments(port=READER)))


def expect_window_closed(lab):
    """The ACK that closes it may be delayed."""
    name = "the reader's window is closed"
    lab.expect(name, True, lambda: bool(since_window_closed(lab)))


def probes(lab):
    sent = [each for each in since_window_closed(lab) if each.source == lab.server_address]
    return [each for each in sent if not each.length]


def expect_probes(lab, count):
    """Wait for `count` probes; returns the ACK that closed the window, and the probes."""
    lab.expect(f"{count} probes", True, lambda: len(probes(lab)) >= count)
    return since_window_closed(lab)[0], *probes(lab)[:count]


def fill_the_queues(lab, user_timeout_ms=0):
    """Until the server is blocked, and the window closed; both actors, and the server's RTO."""
    lab.set_sysctl("net.ipv4.tcp_invalid_ratelimit", 0)
    server = lab.start(fill, lab.server_address, user_timeout_ms, to="listening")
    reader = lab.start(read, lab.server_address, READER, 3000, to="connected")
    server.run_to("full")
    expect_window_closed(lab)
    server.run_to("measured")
    server.stay_blocked(in_="send")
    return server, reader, int(server.output()) / 1e6


def test_a_reader_that_stops_freezes_the_server_for_all(lab):
    """The next client is ESTABLISHED, and waits in the accept queue."""
    server = lab.start(serve, lab.server_address, to="listening")
    reader = lab.start(read, lab.server_address, READER, RECEIVE_BUFFER, to="connected")
    server.stay_blocked(in_="send")
    expect_window_closed(lab)
    lab.expect_socket("client", port=READER, state="ESTABLISHED", recv_q=RECEIVE_BUFFER)
    blocked = lab.socket("server", port=READER)
    assert blocked.timer.name == "zero_window_probe"
    assert blocked.send_q > 0
    assert lab.counter("TcpExtTCPToZeroWindowAdv") == 1

    other = lab.start(read, lab.server_address, OTHER, ANSWER_BYTES, to="connected")
    other.stay_blocked(in_="recv")
    server.stay_blocked(in_="send")
    lab.expect_socket("server", port=OTHER, state="ESTABLISHED", inode=0)
    assert lab.accept_queue() == 1

    reader.kill()  # its kernel answers with RST, and the server goes on
    other.run_to("read")


def test_the_persist_timer_backs_off(lab):
    """One RTO, two, four: as for a retransmission, but nothing is retransmitted."""
    _, _, rto_s = fill_the_queues(lab)
    closed, first, second = expect_probes(lab, 2)
    for name, gap_s, timer_s in [
        ("the first probe", lab.gap_s(closed, first), rto_s),
        ("the second probe", lab.gap_s(first, second), 2 * rto_s),
    ]:
        lab.expect_duration(name, gap_s, timers.one_timer(timer_s, timers.tick_s()))
    assert first.seq == second.seq
    timer = lab.socket("server").timer
    passed_s = (time.monotonic_ns() - second.time_ns) / 1e9
    set_for_s = min(4 * rto_s, lab.rto_max_s())
    assert timer.name == "zero_window_probe"
    assert timer.expires_s <= set_for_s <= timer.expires_s + passed_s + timers.tick_s()
    assert lab.counter("TcpExtTCPWinProbe") >= 2
    assert lab.counter("TcpExtTCPTimeouts") == 0


def test_the_connection_lives_as_long_as_probes_are_answered(lab):
    """tcp_retries2 = 1 allows one probe without an answer: here is a second one."""
    lab.set_sysctl("net.ipv4.tcp_retries2", 1)
    server, _, _ = fill_the_queues(lab)
    expect_probes(lab, 2)
    segments = since_window_closed(lab)[1:5]
    answers = segments[1::2]
    assert [each.source for each in segments[::2]] == [lab.server_address] * 2
    assert [each.source for each in answers] == [lab.client_address(READER)] * 2
    assert [each.window for each in answers] == [0, 0]
    server.stay_blocked(in_="send")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")


def test_unanswered_probes_end_the_connection(lab):
    """The same tcp_retries2 where no probe arrives."""
    lab.set_sysctl("net.ipv4.tcp_retries2", 1)
    lab.drop(f"tcp dport {READER} tcp flags == ack meta length < 100")
    server, _, rto_s = fill_the_queues(lab)
    server.fail_with("ETIMEDOUT")
    lifetime = timers.timers_in_turn([rto_s, 2 * rto_s], timers.tick_s())
    expect_end(lab, "a zero window without answers", lifetime)
    assert len(probes(lab)) == 1


def expect_end(lab, name, interval):
    closed, *_ = since_window_closed(lab)
    lab.expect_duration(name, lab.gap_s(closed, lab.timeline.find("fill: failed")), interval)


def read_slowly(lab, reader):
    """After the first probe the reader reads, and is sent more, as far as its window allows."""
    expect_probes(lab, 1)
    received = sum(each.length for each in since_window_closed(lab))
    reader.run_to("read")
    assert sum(each.length for each in since_window_closed(lab)) > received


@pytest.mark.waits(1)
def test_user_timeout_ends_a_live_but_slow_reader(lab):
    """Its answers, and the data that it takes, do not count. It gets no notice."""
    server, reader, rto_s = fill_the_queues(lab, USER_TIMEOUT_MS)
    read_slowly(lab, reader)
    server.fail_with("ETIMEDOUT")
    lifetime = timers.timers_in_turn([rto_s, USER_TIMEOUT_MS / 1000], timers.tick_s())
    expect_end(lab, "a zero window, TCP_USER_TIMEOUT", lifetime)
    assert lab.counter("TcpExtTCPAbortOnTimeout") == 1
    lab.expect_states(client="ESTABLISHED", server="CLOSED")
    assert not [each for each in lab.segments() if "R" in each.flags]


@pytest.mark.waits(1)
def test_control_without_user_timeout_the_slow_reader_is_served(lab):
    """The same reader, and after as long a time both ends are alive."""
    server, reader, rto_s = fill_the_queues(lab)
    read_slowly(lab, reader)
    closed, *_ = since_window_closed(lab)
    over_s = rto_s + USER_TIMEOUT_MS / 1000

    def probed_late():
        return any(lab.gap_s(closed, each) > over_s for each in probes(lab))

    lab.expect("a probe when the time is over", True, probed_late, within_s=5)
    server.stay_blocked(in_="send")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")


def test_control_a_write_timeout_frees_the_server(lab):
    """The server resets the reader, and serves the next client."""
    server = lab.start(serve, lab.server_address, 0.1, to="listening")
    reader = lab.start(read, lab.server_address, READER, RECEIVE_BUFFER, to="connected")
    other = lab.start(read, lab.server_address, OTHER, ANSWER_BYTES, BIG_BUFFER, to="connected")
    server.resume()
    other.run_to("read")
    assert lab.wire(port=READER)[-1] == "server RA"
    lab.expect_states(client="CLOSED", server="CLOSED", port=READER)
    reader.fail_with("ECONNRESET")


def test_control_bounded_buffers_serve_the_others(lab):
    """No call blocks. The reader that stops is cut off at its limit; the other has all."""
    server = lab.start(publish, lab.server_address, to="listening")
    reader = lab.start(read, lab.server_address, READER, RECEIVE_BUFFER, to="connected")
    other = lab.start(read, lab.server_address, OTHER, len(MESSAGE), to="connected")
    server.run_to("connected")
    for _ in range(MESSAGES):
        server.run_to("published")
        other.run_to("read")
    assert lab.wire(port=READER)[-1] == "server RA"
    lab.expect_states(client="CLOSED", server="CLOSED", port=READER)
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED", port=OTHER)
    reader.fail_with("ECONNRESET")
