"""A program that never closes collects CLOSE_WAITs until accept() fails with EMFILE.

The peer has closed, and the kernel has acknowledged its FIN; what is missing is close(), and no
timer stands in for it. ss -p names the program. Recv-Q 1 is the FIN: the program has not read to
the end. Recv-Q 0: a recv() has taken FIN, perhaps along with the last data (tcp_try_coalesce). Each
CLOSE_WAIT costs a file descriptor, so at RLIMIT_NOFILE accept() fails; the next clients connect, as
the kernel goes on completing handshakes, and get no answer. The same happens to a client that keeps
connections which its servers have closed.

    client                                       server
    FIN_WAIT2    ── FA ─────────────────────▶    CLOSE_WAIT, its file descriptor stays open
    CLOSED       (tcp_fin_timeout, no segment)   CLOSE_WAIT
    the next     ── S, SA, A, PA ───────────▶    accept(): EMFILE
    ESTABLISHED                                  ESTABLISHED, no owner, Recv-Q 5

tcp_fin_timeout ends the peer's FIN_WAIT2 alone. Keepalive draws RST once that is over, so the state
goes, but the file descriptor stays: it hides the leak, and accept() still fails.

Sources: RFC 9293, sections 3.3.2 and 3.6. Kernel: tcp_fin, tcp_recvmsg_locked (found_fin_ok),
tcp_keepalive_timer, __sys_accept4_file. CLOSE_WAITs that no process owns:
close_wait_without_owner.py.
"""

import errno
import os
import re
import socket
from pathlib import Path

import pytest

from harness.predict import timers
from harness.stock_roles import leave_fds

PORTS = (40001, 40002, 40003)
NEXT = 40004
KEEPALIVE_S = 2  # above FIN_WAIT2's 1 s
REQUEST = b"hello"


def serve(address, at_the_end, keepalive_s=0):
    """It answers, and keeps each connection; what it does at the end of one is the difference."""
    listener = socket.create_server(address)
    leave_fds(len(PORTS))
    kept = []
    yield "listening"
    while True:
        try:
            connection, _ = listener.accept()
        except OSError as error:
            yield errno.errorcode[error.errno]
            continue
        kept.append(connection)
        if keepalive_s:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, keepalive_s)
        connection.sendall(connection.recv(100))
        yield "answered"
        if at_the_end != "never looks":
            connection.recv(100)
        if at_the_end == "closes":
            kept.pop().close()
        yield "ready for the next"


def call(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    connection.sendall(REQUEST)
    yield "sent"
    connection.recv(100)
    yield "answered"
    connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    connection.close()
    yield "closed"


def answer_and_close(address):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.sendall(connection.recv(100))
        connection.close()


def keep_in_a_pool(address, closes_first):
    """It opens a connection for each request, and puts it into a pool, for later."""
    leave_fds(len(PORTS))
    pool = []
    yield "ready"
    while True:
        try:
            connection = socket.create_connection(address)
        except OSError as error:
            yield errno.errorcode[error.errno]
            continue
        connection.sendall(REQUEST)
        assert connection.recv(100) == REQUEST
        pool.append(connection)
        yield "answered"
        if closes_first:
            pool.pop().close()


def fds(actor):
    """How many of those numbers it uses that it may use, and how many these are."""
    limits = Path(f"/proc/{actor.pid}/limits").read_text()
    at_most = int(re.search(r"Max open files +(\d+)", limits)[1])
    return sum(int(number) < at_most for number in os.listdir(f"/proc/{actor.pid}/fd")), at_most


def start_server(lab, at_the_end, keepalive_s=0, fin_timeout=60):
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", fin_timeout)
    return lab.start(serve, lab.server_address, at_the_end, keepalive_s, to="listening")


def close_a_client(lab, server, port):
    """It gets its answer and closes. What was acknowledged last, and when it had closed."""
    client = lab.start(call, lab.server_address, port, to="sent")
    server.run_to("answered")
    client.run_to("half closed")
    # The ACK of FIN in the middle of close() would make FIN_WAIT2 end with RST.
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT", port=port)
    last_ack = lab.segments(port=port)[-1]
    return last_ack, client.run_to("closed")


@pytest.mark.parametrize(("at_the_end", "recv_q"), [("never looks", 1), ("reads it", 0)])
def test_each_client_leaves_a_close_wait_until_accept_fails(lab, at_the_end, recv_q):
    """The next client connects, and gets no answer. Recv-Q shows whether the end was read."""
    server = start_server(lab, at_the_end)
    before, at_most = fds(server)
    for count, port in enumerate(PORTS, 1):
        close_a_client(lab, server, port)
        server.run_to("ready for the next")
        lab.expect_socket("server", port=port, state="CLOSE_WAIT", recv_q=recv_q)
        assert lab.holders("server", port) == ["serve"]
        assert fds(server) == (before + count, at_most)
    assert before + count == at_most
    lab.expect_table(LISTEN=1, CLOSE_WAIT=len(PORTS), FIN_WAIT2=len(PORTS))

    server.run_to("EMFILE")
    client = lab.start(call, lab.server_address, NEXT, to="sent")
    client.stay_blocked(in_="recv")
    lab.expect_socket("server", port=NEXT, state="ESTABLISHED", inode=0, recv_q=5)
    server.run_to("EMFILE")


@pytest.mark.waits(1)
def test_close_wait_outlives_the_peer_and_has_no_timer(lab):
    """tcp_fin_timeout ends the peer's FIN_WAIT2, and no segment informs the server."""
    lab.set_sysctl("net.ipv4.tcp_keepalive_time", 1)  # no difference without SO_KEEPALIVE
    server = start_server(lab, "never looks", fin_timeout=1)
    last_ack, closed = close_a_client(lab, server, PORTS[0])
    interval = timers.fin_wait2(1, timers.tick_s())
    lab.expect_lifetime("client", "FIN_WAIT2", interval, last_ack, begun_by=closed)
    assert lab.wire(since=closed) == []
    row = lab.expect_socket("server", state="CLOSE_WAIT", recv_q=1)
    assert row.timer.name == "none"
    assert lab.holders("server") == ["serve"]


@pytest.mark.waits(2)
def test_keepalive_ends_close_wait_and_not_the_leak(lab):
    """Its probe draws RST once FIN_WAIT2 is over. ss shows nothing, and the fds are in use."""
    server = start_server(lab, "never looks", KEEPALIVE_S, fin_timeout=1)
    before, _ = fds(server)
    close_a_client(lab, server, PORTS[0])
    within_s = KEEPALIVE_S + lab.deadline_s
    lab.expect("the answer to a probe", "client R", lambda: lab.wire()[-1], within_s)
    lab.expect_states(client="CLOSED", server="CLOSED")
    assert fds(server)[0] == before + 1


def test_a_clients_pool_leaks_in_the_same_way(lab):
    """The servers have closed; the pool has not looked, until it has no file descriptor left."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    lab.start(answer_and_close, lab.server_address, to="listening").resume()
    client = lab.start(keep_in_a_pool, lab.server_address, False)
    for _ in PORTS:
        client.run_to("answered")
    lab.expect_table(LISTEN=1, CLOSE_WAIT=len(PORTS), FIN_WAIT2=len(PORTS))
    open_now, at_most = fds(client)
    assert open_now == at_most
    client.run_to("EMFILE")


def test_control_closing_at_the_end_leaves_nothing(lab):
    """The cure: recv() returns 0 bytes, and close() follows."""
    server = start_server(lab, "closes")
    before = fds(server)
    for port in PORTS:
        close_a_client(lab, server, port)
        server.run_to("ready for the next")
        lab.expect_states(client="TIME_WAIT", server="CLOSED", port=port)
    assert fds(server) == before


def test_control_a_pool_that_closes_has_no_close_wait(lab):
    """TIME_WAIT or none, depending on which end closes first; no file descriptor is lost."""
    lab.start(answer_and_close, lab.server_address, to="listening").resume()
    client = lab.start(keep_in_a_pool, lab.server_address, True, to="ready")
    before, _ = fds(client)
    for _ in range(2 * len(PORTS)):
        client.run_to("answered")
    assert fds(client)[0] == before + 1


def test_control_the_end_of_the_process_closes_all(lab):
    """What an operator can do: restart it. The clients are in FIN_WAIT2, so FIN goes out."""
    server = start_server(lab, "never looks")
    for port in PORTS:
        close_a_client(lab, server, port)
    server.kill()
    lab.expect_table(TIME_WAIT=len(PORTS))
