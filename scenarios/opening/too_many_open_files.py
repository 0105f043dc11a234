"""An accept() that fails with EMFILE takes nothing out of the accept queue, so the queue fills.

accept() reserves a file descriptor before it looks at the queue (__sys_accept4_file). At
RLIMIT_NOFILE there is none, so it fails, at once even if no connection is waiting. The kernel goes
on completing handshakes until backlog + 1 connections wait; then it drops each SYN
(tcp_conn_request), and connect() tries again after 1 s.

    client                                      server, backlog 2
    ESTABLISHED  ── S, SA, A ───────────────▶   accept(): its last file descriptor
                                                accept(): EMFILE
    ESTABLISHED  ── S, SA, A ───────────────▶   ESTABLISHED, no owner, accept queue 1
    ESTABLISHED  ── S, SA, A ───────────────▶   ESTABLISHED, no owner, accept queue 2
    ESTABLISHED  ── S, SA, A ───────────────▶   ESTABLISHED, no owner, accept queue 3
    SYN_SENT     ── S ──────────────────────▶   dropped
                                                accept(): EMFILE, accept queue 3
                 ── S ──────────────────────▶   after 1 s: answered, if accept() works again

Sources: article 001; RFC 9293, 3.10.7; accept(2). Kernel: sk_acceptq_is_full, and the functions
above. What else a full queue does: full_accept_queue.py.
"""

import errno
import resource
import socket

import pytest

from harness.predict import timers
from harness.stock_roles import leave_fds

FIRST = 40001
OTHERS = (40002, 40003, 40004)  # they fill a backlog of 2
NEXT, LAST = 40005, 40006
FIRST_REPETITION = timers.one_timer(1.0, timers.tick_s())


def serve(address, cure=None):
    """It has one file descriptor left. After EMFILE it tries again, with a cure or without."""
    listener = socket.create_server(address, backlog=2)
    leave_fds(1)
    connections = []
    yield "listening"
    while True:
        try:
            connection, _ = listener.accept()
        except OSError as error:
            yield errno.errorcode[error.errno]
            if cure == "close":
                connections.pop(0).close()
            elif cure == "raise the limit":
                _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        else:
            connections.append(connection)
            yield "accepted"


def call(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.recv(1)


def play(lab, cure=None):
    """Until the server has no file descriptor left, the queue is full, and another client calls."""
    server = lab.start(serve, lab.server_address, cure, to="listening")
    lab.start(call, lab.server_address, FIRST, to="connected")
    server.run_to("accepted")
    assert lab.accept_queue() == 0
    server.run_to("EMFILE")
    for port in OTHERS:
        lab.start(call, lab.server_address, port, to="connected")
    client = lab.start(call, lab.server_address, NEXT)
    client.stay_blocked(in_="connect")
    return server, client


def test_emfile_fills_the_queue_and_syns_are_dropped(lab):
    """Proves: 001-6"""
    server, client = play(lab)
    server.run_to("EMFILE")
    lab.expect_states(client="SYN_SENT", server="CLOSED", port=NEXT)
    client.kill()  # or a busy host might still count when the SYN is retransmitted, after 1 s
    listener = lab.listener()
    assert (listener.recv_q, listener.send_q) == (3, 2)
    for port in OTHERS:
        lab.expect_socket("server", port=port, state="ESTABLISHED", inode=0)
    syns = lab.wire(port=NEXT)
    assert set(syns) == {"client S"}
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == len(syns)


@pytest.mark.waits(1)
@pytest.mark.parametrize("cure", ["close", "raise the limit"])
def test_control_with_fds_again_connect_is_answered_at_once(lab, cure):
    """Proves: 001-6, by the cure. The client whose SYN was dropped is a second late."""
    server, late = play(lab, cure)
    for _ in OTHERS:
        server.run_to("accepted")
    assert lab.accept_queue() == 0
    lab.start(call, lab.server_address, LAST, to="connected")
    assert lab.wire(port=LAST) == ["client S", "server SA", "client A"]
    late.run_to("connected")
    assert lab.wire(port=NEXT) == ["client S", "client S", "server SA", "client A"]
    syn, repeated, *_ = lab.segments(port=NEXT)
    after_s = lab.gap_s(syn, repeated)
    lab.expect_duration("the repeated SYN", after_s, FIRST_REPETITION)
