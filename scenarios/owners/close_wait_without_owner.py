"""A connection closed by its client before accept() stays in CLOSE_WAIT, without an owner.

The kernel completes the handshake, acknowledges data and takes the FIN without any accept(). A
server that serves one connection at a time may not know of it. FIN_WAIT2 has a timer, CLOSE_WAIT
has none: it stays until the server calls accept() and close(), or until a segment ends it. A Linux
client sends none; a Windows client sends RST after 120 s, as the article reports. To a late
accept() the connection looks alive: recv() returns its data, and the first send() succeeds.

    client 40001 (served)    client 40002              single_process_server
        | S, SA, A ------------------------------------> |  accept(), recv()
        :                        | S, SA, A -----------> |  ESTABLISHED, inode 0, accept queue 1
        :                        | PA (5 bytes), A ----> |  acknowledged, Recv-Q 5
        :                        | FA -----------------> |  CLOSE_WAIT, Recv-Q 6 (FIN is 1)
        :             FIN_WAIT2  | <------------------ A |
        :             CLOSED     :  (no segment)         |  CLOSE_WAIT, no timer
        | FA ------------------------------------------> |  close(), accept(): data, end
                                 | <----------------- FA |  close(): LAST_ACK
                                 | R ------------------> |  CLOSED (from FIN_WAIT2: A)

Sources: article 002; RFC 9293, sections 3.6 and 3.10.7.4. Kernel: tcp_check_req (the third ACK
creates the socket), tcp_fin, tcp_timewait_state_process (data after close() draws RST), tcp_reset
(CLOSE_WAIT: EPIPE, not ECONNRESET).
"""

import socket
import threading
from dataclasses import replace

import pytest

from harness.predict import timers

SERVED, WAITING = 40001, 40002
HANDSHAKE = ["client S", "server SA", "client A"]


def serve(connection, replies):
    while data := connection.recv(100):
        yield f"has read {data.decode()}"
        for _ in range(replies):
            connection.sendall(data)
            yield "replied"
    connection.close()
    yield "closed"


def single_process_server(address, replies):
    """The article's server: one connection at a time, each served until its end."""
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        yield from serve(connection, replies)


def threaded_server(address, replies):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=list, args=[serve(connection, replies)]).start()
        yield "accepted"


def client(address, port, says=b"", hears=0):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.sendall(says)
    heard = connection.recv(hears, socket.MSG_WAITALL)
    connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    connection.close()
    yield "closed"
    return heard


def start_busy_server(lab, fin_timeout=30, replies=0):
    """A server that serves one client, which sends nothing."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", fin_timeout)
    arguments = (lab.server_address, replies)
    server = lab.start(single_process_server, *arguments, name="server", to="listening")
    served = lab.start(client, lab.server_address, SERVED, to="connected")
    server.run_to("accepted")
    server.stay_blocked(in_="recv")
    return server, served


def test_the_kernel_completes_the_handshake_without_accept(lab):
    """Proves: 002-1"""
    start_busy_server(lab)
    lab.start(client, lab.server_address, WAITING, name="waiting", to="connected")
    assert lab.wire(port=WAITING) == HANDSHAKE
    lab.expect_socket("server", port=WAITING, state="ESTABLISHED", inode=0)
    assert lab.holders("server", SERVED) == ["server"]
    assert lab.holders("server", WAITING) == []
    assert lab.accept_queue() == 1


def close_before_accept(lab, says=b"hello"):
    """A second client connects, sends something and closes; its last ACK and the close() itself."""
    waiting = lab.start(client, lab.server_address, WAITING, says, name="waiting", to="connected")
    waiting.run_to("half closed")
    # Wait for the ACK of FIN: in the middle of close(), it would make FIN_WAIT2 end with RST
    # ("Bad case" in tcp_rcv_state_process).
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT", port=WAITING)
    last_ack = lab.segments(port=WAITING)[-1]
    return last_ack, waiting.run_to("closed")


def outlast_fin_wait2(lab, last_ack, closed):
    interval = timers.fin_wait2(1, timers.tick_s())
    lab.expect_lifetime("client", "FIN_WAIT2", interval, last_ack, WAITING, begun_by=closed)


def accept_late(server, served):
    """The first client leaves, and the server gets to the second."""
    served.run_to("closed")
    server.run_to("closed")
    return server.run_to("accepted")


@pytest.mark.parametrize(("says", "recv_q"), [(b"", 1), (b"hello", 6)])
def test_its_client_closes_and_leaves_an_ownerless_close_wait(lab, says, recv_q):
    """Proves: 002-2"""
    start_busy_server(lab)
    close_before_accept(lab, says)
    lab.expect_socket("server", port=WAITING, state="CLOSE_WAIT", inode=0, recv_q=recv_q)


@pytest.mark.waits(1)
def test_a_linux_client_sends_nothing_and_close_wait_stays(lab):
    """Proves: 002-3"""
    start_busy_server(lab, fin_timeout=1)
    last_ack, closed = close_before_accept(lab)
    outlast_fin_wait2(lab, last_ack, closed)
    data_and_fin = ["client PA", "server A", "client FA", "server A"]
    assert lab.wire(port=WAITING) == [*HANDSHAKE, *data_and_fin]
    lab.expect_states(client="CLOSED", server="CLOSE_WAIT", port=WAITING)
    assert lab.expect_socket("server", port=WAITING, inode=0, recv_q=6).timer.name == "none"


def test_a_reset_ends_close_wait_but_keeps_its_queue_place(lab):
    """Proves: 002-3. Windows sends it after 120 s; no timer runs here, so we send it at once."""
    server, served = start_busy_server(lab)
    close_before_accept(lab)
    *_, fin, _ = lab.segments(port=WAITING)
    lab.provoke(replace(fin, flags="R", seq=(fin.seq + 1) % 2**32))
    lab.expect_states(server="CLOSED", port=WAITING)
    assert lab.accept_queue() == 1

    accepted = accept_late(server, served)
    server.run_to("has read hello")
    server.run_to("closed")
    assert lab.wire(since=accepted, port=WAITING) == []


def test_late_accept_gets_data_and_eof_and_close_sends_fin(lab):
    """Proves: 002-4"""
    server, served = start_busy_server(lab)
    close_before_accept(lab)
    accepted = accept_late(server, served)
    server.run_to("has read hello")
    server.run_to("closed")
    assert lab.wire(since=accepted, port=WAITING) == ["server FA", "client A"]
    lab.expect_states(client="TIME_WAIT", server="CLOSED", port=WAITING)


@pytest.mark.waits(1)
def test_late_accept_after_fin_wait2_has_its_fin_reset(lab):
    """Proves: 002-4, once the client has forgotten the connection."""
    server, served = start_busy_server(lab, fin_timeout=1)
    last_ack, closed = close_before_accept(lab)
    outlast_fin_wait2(lab, last_ack, closed)
    accepted = accept_late(server, served)
    server.run_to("has read hello")
    server.run_to("closed")
    assert lab.wire(since=accepted, port=WAITING) == ["server FA", "client R"]
    lab.expect_states(client="CLOSED", server="CLOSED", port=WAITING)


def test_after_late_accept_the_second_send_fails_with_epipe(lab):
    """Proves: 002-5. FIN_WAIT2 after close() answers data with RST, as CLOSED does."""
    server, served = start_busy_server(lab, replies=2)
    close_before_accept(lab)
    accepted = accept_late(server, served)
    server.run_to("replied")
    assert lab.wire(since=accepted, port=WAITING) == ["server PA", "client R"]
    lab.expect_states(client="CLOSED", server="CLOSED", port=WAITING)
    server.fail_with("EPIPE")


def test_control_a_thread_per_connection_accepts_in_time(lab):
    """Proves: 002-1, 002-2, 002-3, 002-4, 002-5, by the cure."""
    lab.protect_time_wait_from_late_acks()
    server = lab.start(threaded_server, lab.server_address, 2, name="server", to="listening")
    lab.start(client, lab.server_address, SERVED, to="connected")
    server.run_to("accepted")
    second = lab.start(client, lab.server_address, WAITING, b"hello", 10, to="connected")
    server.run_to("accepted")
    assert lab.holders("server", WAITING) == ["server"]
    assert second.finish() == b"hellohello"
    lab.expect_states(client="TIME_WAIT", server="CLOSED", port=WAITING)
