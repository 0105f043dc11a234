"""Three pieces of common advice about full queues and resets, and what this kernel does instead.

The accept queue is full when it holds more connections than the backlog, so listen(N) lets N + 1
connections wait; net.core.somaxconn limits the backlog. A SYN that finds the queue full is dropped
without an answer, whatever tcp_abort_on_overflow is: that sysctl is for the last ACK of a handshake
that began before. And RST ends a connection but does not discard received data: on Linux the
receive queue can still be read, although RFC 9293 says that it is flushed. What RST does discard is
the data that its sender had not sent yet.

    client                                       server, listen(2), three wait
    SYN_SENT     ── S ───────────────────────▶   dropped: no RST, no row in the table
    ESTABLISHED  ── A, of a handshake begun ─▶   dropped; with tcp_abort_on_overflow: RST
    ESTABLISHED  ── PA ──────────────────────▶   ESTABLISHED, Recv-Q 5
    CLOSED       ── RA ──────────────────────▶   CLOSED: recv() returns 5 bytes, then ECONNRESET

Sources: articles 003, 004; RFC 9293, section 3.10.7.4. Kernel: sk_acceptq_is_full,
__sys_listen_socket (the limit), tcp_conn_request, tcp_check_req; tcp_reset, tcp_recvmsg_locked
(data before errors), tcp_disconnect. In detail: full_accept_queue.py,
dead_request_is_still_executed.py. Advice about TIME_WAIT: folklore_of_time_wait.py,
folklore_of_reuse.py.
"""

import errno
import socket

import pytest

from harness.lessons.docstrings import advice
from harness.stock_roles import reset_on_close

BACKLOG = 2
FILL_THE_QUEUE = (40001, 40002, 40003)
LATE, NEXT = 40004, 40005


def serve(address, backlog=BACKLOG):
    """It returns how many bytes each recv() returned, and the error of the last one."""
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
    """It returns how many bytes the kernel took from it, and ends with RST."""
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.setblocking(False)
    sent = connection.send(bytes(size))
    yield "sent"
    reset_on_close(connection)
    connection.close()
    return sent


def connect(lab, *ports):
    for port in ports:
        lab.start(call, lab.server_address, port, to="connected")


def meet_a_full_queue(lab):
    """One more client: it gets no answer, and the kernel keeps nothing of its SYN."""
    client = lab.start(call, lab.server_address, NEXT)
    client.stay_blocked(in_="connect")
    lab.expect_states(client="SYN_SENT", server="CLOSED", port=NEXT)
    assert {segment.source for segment in lab.segments(port=NEXT)} == {lab.client_address(NEXT)}


@pytest.mark.parametrize(("backlog", "somaxconn", "places"), [(1, 4096, 2), (5, 2, 3)])
def test_listen_n_lets_n_plus_1_wait_up_to_somaxconn_plus_1(lab, backlog, somaxconn, places):
    """Said: listen(N) lets N connections wait.

    Shown: false: N + 1, and at most somaxconn + 1.
    """
    lab.set_sysctl("net.core.somaxconn", somaxconn)
    lab.start(serve, lab.server_address, backlog, to="listening")
    connect(lab, *FILL_THE_QUEUE[:places])
    assert lab.accept_queue() == places
    meet_a_full_queue(lab)
    assert lab.accept_queue() == places
    lab.finding(*advice(test_listen_n_lets_n_plus_1_wait_up_to_somaxconn_plus_1.__doc__))


def test_control_one_accept_makes_one_place(lab):
    """The number is one of places: accept() frees one."""
    server = lab.start(serve, lab.server_address, to="listening")
    connect(lab, *FILL_THE_QUEUE)
    server.run_to("accepted")
    connect(lab, NEXT)
    assert lab.accept_queue() == 3


def fill_the_queue(lab):
    """Three clients fill the queue; another began before them, and its last ACK was lost."""
    # At 2 there would be no half-open request that could be reset.
    lab.set_sysctl("net.ipv4.tcp_syncookies", 1)
    lab.start(serve, lab.server_address, to="listening")
    lab.drop(f"tcp sport {LATE} tcp flags == ack")
    late = lab.start(call, lab.server_address, LATE, to="connected")
    connect(lab, *FILL_THE_QUEUE)
    return late


def test_abort_on_overflow_does_not_reject_a_syn(lab):
    """Said: with tcp_abort_on_overflow=1 a full queue rejects new connections.

    Shown: false: a SYN is dropped without an answer.

    Proves: 003-6
    """
    lab.set_sysctl("net.ipv4.tcp_abort_on_overflow", 1)
    late = fill_the_queue(lab)
    meet_a_full_queue(lab)
    assert lab.counter("TcpExtListenOverflows") == len(lab.wire(port=NEXT))
    late.run_to("sent")
    assert lab.wire(port=LATE)[-1] == "server R"  # so the sysctl works
    lab.finding(*advice(test_abort_on_overflow_does_not_reject_a_syn.__doc__))


def test_control_abort_on_overflow_rejects_the_handshakes_ack(lab):
    """Proves: 003-6, what the sysctl is for. The next segment stands for the lost ACK."""
    lab.set_sysctl("net.ipv4.tcp_abort_on_overflow", 1)
    late = fill_the_queue(lab)
    late.run_to("sent")
    assert lab.wire(port=LATE)[-2:] == ["client PA", "server R"]


def send_and_reset(lab, size):
    """The server has not read when RST comes; what was sent, and what the server read."""
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, LATE, size, to="connected")
    server.run_to("accepted")
    client.run_to("sent")
    sent = client.finish()
    assert lab.counter("TcpExtTCPAbortOnData") == 1
    lab.expect_states(client="CLOSED", server="CLOSED")
    return sent, server.finish()


def test_data_before_a_reset_is_read_before_the_error(lab):
    """Said: RST discards received data.

    Shown: false: recv() returns the data first, and then ECONNRESET.
    """
    sent, seen = send_and_reset(lab, size=5)
    assert sent == 5
    assert seen == [5, "ECONNRESET"]
    lab.finding(*advice(test_data_before_a_reset_is_read_before_the_error.__doc__))


def test_control_reset_throws_away_what_its_sender_had_not_sent(lab):
    """What is true: the end that sends RST drops its send queue (tcp_disconnect); FIN does not."""
    lab.set_sysctl("net.ipv4.tcp_rmem", "4096 131072 6291456")
    lab.set_sysctl("net.ipv4.tcp_wmem", "4096 16384 4194304")
    # Otherwise send() waits for room in the window.
    lab.set_sysctl("net.ipv4.tcp_notsent_lowat", 2**32 - 1)
    sent, (received, *others) = send_and_reset(lab, size=8 << 20)
    assert others == ["ECONNRESET"]
    assert received < sent
