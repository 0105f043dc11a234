"""Advice about full queues and resets that everybody knows, each with what this kernel does.

The accept queue is full when it holds more than the backlog, so listen(N) lets N + 1 connections wait; the backlog is
cut to net.core.somaxconn. A SYN that meets it full is dropped without a word, whatever tcp_abort_on_overflow says: that
one is for the last ACK of a handshake that had begun before. And RST ends a connection, not what has been received:
Linux leaves the receive queue to be read, where RFC 9293 would have it flushed. What RST does throw away is what its
sender had not sent yet.

    client                                       server, listen(2), three wait
    SYN_SENT     ── S ───────────────────────▶   dropped: no RST, no row in the table
    ESTABLISHED  ── A, of a handshake begun ─▶   dropped, or answered by R with tcp_abort_on_overflow
    ESTABLISHED  ── PA ──────────────────────▶   ESTABLISHED, Recv-Q 5
    CLOSED       ── RA ──────────────────────▶   CLOSED: recv() gives the 5 bytes, and only then ECONNRESET

Sources: articles 003, 004; RFC 9293, section 3.10.7.4. Kernel: sk_acceptq_is_full, __sys_listen_socket (the cut),
tcp_conn_request, tcp_check_req; tcp_reset, tcp_recvmsg_locked (the queue before the error), tcp_disconnect. At length:
full_accept_queue.py, dead_request_is_still_executed.py. Advice about TIME_WAIT: folklore_of_time_wait.py, _of_reuse.py.
"""

import errno
import socket

import pytest

from harness.lessons.docstrings import advice

BACKLOG, FILLS_IT = 2, (40001, 40002, 40003)
LATE, NEXT = 40004, 40005


def serve(address, backlog=BACKLOG):
    """It returns how many bytes each recv() gave, and how the last one failed."""
    listener = socket.create_server(address, backlog=backlog)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    seen = []
    try:
        while part := connection.recv(1 << 20):
            seen.append(len(part))
    except OSError as error:
        seen.append(errno.errorcode[error.errno])
    return seen


def call(address, port, size=5):
    """It returns how many bytes the kernel has taken from it, and ends with RST."""
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.setblocking(False)
    sent = connection.send(bytes(size))
    yield "sent"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    return sent


def connect(lab, *ports):
    return [lab.start(call, lab.server_address, port, to="connected") for port in ports]


def fill_the_queue(lab):
    """The last ACK of one client is lost, so it has no place in the queue yet, and three others take them all."""
    lab.set_sysctl("net.ipv4.tcp_syncookies", 1)  # at 2 there would be no request that could be reset
    lab.start(serve, lab.server_address, to="listening")
    lab.drop(f"tcp sport {LATE} tcp flags == ack")
    [late] = connect(lab, LATE)
    connect(lab, *FILLS_IT)
    return late


def meet_a_full_queue(lab):
    """One client more: it gets no answer, and nothing of it is kept."""
    client = lab.start(call, lab.server_address, NEXT)
    client.stay_blocked(in_="connect")
    lab.expect_states(client="SYN_SENT", server="CLOSED", port=NEXT)
    assert {segment.source for segment in lab.segments(port=NEXT)} == {lab.client_address(NEXT)}


@pytest.mark.parametrize(("backlog", "somaxconn", "wait"), [(1, 4096, 2), (5, 2, 3)])
def test_listen_n_lets_n_plus_1_wait_and_no_more_than_somaxconn_plus_1(lab, backlog, somaxconn, wait):
    """Said: listen(N) lets N connections wait. Shown: false: N + 1, and never more than somaxconn + 1."""
    lab.set_sysctl("net.core.somaxconn", somaxconn)
    lab.start(serve, lab.server_address, backlog, to="listening")
    connect(lab, *FILLS_IT[:wait])
    assert lab.accept_queue() == wait
    meet_a_full_queue(lab)
    assert lab.accept_queue() == wait
    lab.finding(*advice(test_listen_n_lets_n_plus_1_wait_and_no_more_than_somaxconn_plus_1.__doc__))


def test_control_one_accept_makes_one_place(lab):
    """What the number means: places, not connections for ever."""
    server = lab.start(serve, lab.server_address, to="listening")
    connect(lab, *FILLS_IT)
    server.run_to("accepted")
    connect(lab, NEXT)
    assert lab.accept_queue() == 3


def test_abort_on_overflow_says_nothing_to_a_syn_that_meets_a_full_queue(lab):
    """Said: with tcp_abort_on_overflow=1 a full queue rejects. Shown: false: a SYN is dropped without a word.

    Proves: 003-6
    """
    lab.set_sysctl("net.ipv4.tcp_abort_on_overflow", 1)
    late = fill_the_queue(lab)
    meet_a_full_queue(lab)
    assert lab.counter("TcpExtListenOverflows") == len(lab.wire(port=NEXT))
    late.run_to("sent")
    assert lab.wire(port=LATE)[-1] == "server R"  # so the sysctl is in force
    lab.finding(*advice(test_abort_on_overflow_says_nothing_to_a_syn_that_meets_a_full_queue.__doc__))


def test_control_abort_on_overflow_answers_the_last_ack_of_a_handshake(lab):
    """Proves: 003-6, what it is for. The client's own last ACK is lost; its next segment meets the full queue."""
    lab.set_sysctl("net.ipv4.tcp_abort_on_overflow", 1)
    late = fill_the_queue(lab)
    late.run_to("sent")
    assert lab.wire(port=LATE)[-2:] == ["client PA", "server R"]


def play_reset(lab, size):
    """The server has what could be sent, and has read nothing, when RST comes. What one sent, and the other read."""
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, LATE, size, to="connected")
    server.run_to("accepted")
    client.run_to("sent")
    sent = client.finish()
    assert lab.counter("TcpExtTCPAbortOnData") == 1
    lab.expect_states(client="CLOSED", server="CLOSED")
    return sent, server.finish()


def test_what_had_come_before_the_reset_is_read_and_only_then_the_error(lab):
    """Said: RST throws away what the reader already has. Shown: false: recv() gives it first, and then ECONNRESET."""
    assert play_reset(lab, size=5) == (5, [5, "ECONNRESET"])
    lab.finding(*advice(test_what_had_come_before_the_reset_is_read_and_only_then_the_error.__doc__))


def test_control_reset_throws_away_what_its_sender_had_not_sent(lab):
    """What is true of it: the end that sends RST drops its own queue (tcp_disconnect), unlike close() with FIN."""
    lab.set_sysctl("net.ipv4.tcp_rmem", "4096 131072 6291456")
    lab.set_sysctl("net.ipv4.tcp_wmem", "4096 16384 4194304")
    lab.set_sysctl("net.ipv4.tcp_notsent_lowat", 2**32 - 1)  # or send() waits for room in the window
    sent, (received, *others) = play_reset(lab, size=8 << 20)
    assert others == ["ECONNRESET"]
    assert received < sent
