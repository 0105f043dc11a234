"""A connection that nobody has accepted can be closed by its client: it stays in CLOSE_WAIT, and no process owns it.

The kernel completes the handshake, acknowledges data and takes the FIN, all without accept(): a server that serves one
connection at a time need not know. FIN_WAIT2 has a timer, CLOSE_WAIT has none: it stays until accept() and close(), or
until a segment ends it. A Linux client sends none; a Windows client, the article saw, sends R after 120 s. Accepted
late, the connection looks alive: its data is there, and the first send() returns its length.

    client 40001 (served)    client 40002              single_process_server
        | S, SA, A ------------------------------------> |  accept(), recv()
        :                        | S, SA, A -----------> |  ESTABLISHED, inode 0, accept queue 1
        :                        | PA (5 bytes), A ----> |  acknowledged, Recv-Q 5
        :                        | FA -----------------> |  CLOSE_WAIT, inode 0, Recv-Q 6: the FIN counts
        :             FIN_WAIT2  | <------------------ A |
        :             CLOSED     :  (no segment)         |  CLOSE_WAIT, no timer
        | FA ------------------------------------------> |  close(), accept(): the data, then the end
                                 | <----------------- FA |  close(): LAST_ACK
                                 | R ------------------> |  CLOSED; A from TIME_WAIT, while FIN_WAIT2 was not over

Sources: article 002; RFC 9293, sections 3.6 and 3.10.7.4. Kernel: tcp_check_req (the socket is made at the third ACK),
tcp_fin, tcp_timewait_state_process (data after close() draws R), tcp_reset (CLOSE_WAIT: EPIPE, not ECONNRESET).
"""

import socket
import threading
from dataclasses import replace

import pytest

from harness.predict import timers

SERVED, WAITING = 40001, 40002


def serve(connection, replies):
    while data := connection.recv(100):
        yield f"has read {data.decode()}"
        for _ in range(replies):
            connection.sendall(data)
            yield "replied"
    connection.close()
    yield "closed"


def single_process_server(address, replies):
    """The article's server: one connection at a time, each until its end."""
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


def play(lab, says=b"hello", replies=0, closes=True, forgotten=False):
    """The server is busy with one client when another connects, says something and closes; then, its FIN_WAIT2 ends."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 1 if forgotten else 30)
    server = lab.start(single_process_server, lab.server_address, replies, name="server", to="listening")
    served = lab.start(client, lab.server_address, SERVED, to="connected")
    server.run_to("accepted")
    server.stay_blocked(in_="recv")
    waiting = lab.start(client, lab.server_address, WAITING, says, name="waiting", to="connected")
    if closes:  # an ACK in the middle of close() would have FIN_WAIT2 end with R: tcp_rcv_state_process, "Bad case"
        waiting.run_to("half closed")
        lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT", port=WAITING)
        acknowledged, closed = lab.segments(port=WAITING)[-1], waiting.run_to("closed")
    if forgotten:
        fin_wait2 = timers.fin_wait2(1, timers.tick_s())
        lab.expect_lifetime("client", "FIN_WAIT2", fin_wait2, acknowledged, WAITING, begun_by=closed)
    return server, served


def accept_late(server, served):
    served.run_to("closed")
    server.run_to("closed")
    return server.run_to("accepted")


def test_the_kernel_completes_the_handshake_without_accept(lab):
    """Proves: 002-1"""
    play(lab, closes=False)
    assert lab.wire(port=WAITING) == ["client S", "server SA", "client A"]
    lab.expect_socket("server", port=WAITING, state="ESTABLISHED", inode=0)
    assert (lab.holders("server", SERVED), lab.holders("server", WAITING)) == (["server"], [])
    assert lab.accept_queue() == 1


@pytest.mark.parametrize(("says", "recv_q"), [(b"", 1), (b"hello", 6)])
def test_its_client_closes_and_leaves_close_wait_without_an_owner(lab, says, recv_q):
    """Proves: 002-2"""
    play(lab, says)
    lab.expect_socket("server", port=WAITING, state="CLOSE_WAIT", inode=0, recv_q=recv_q)


@pytest.mark.waits(1)
def test_after_fin_wait2_a_linux_client_says_nothing_and_close_wait_stays(lab):
    """Proves: 002-3"""
    play(lab, forgotten=True)
    farewell = ["client PA", "server A", "client FA", "server A"]
    assert lab.wire(port=WAITING) == ["client S", "server SA", "client A", *farewell]
    lab.expect_states(client="CLOSED", server="CLOSE_WAIT", port=WAITING)
    assert lab.expect_socket("server", port=WAITING, inode=0, recv_q=6).timer.name == "none"


def test_a_windows_clients_reset_ends_close_wait_but_not_its_place_in_the_queue(lab):
    """Proves: 002-3. Windows sends it after 120 s; here we send it, at once: there is no timer that would notice."""
    server, served = play(lab)
    *_, fin, _ = lab.segments(port=WAITING)
    lab.provoke(replace(fin, flags="R", seq=(fin.seq + 1) % 2**32))
    lab.expect_states(server="CLOSED", port=WAITING)
    assert lab.accept_queue() == 1
    accepted = accept_late(server, served)
    server.run_to("has read hello")
    server.run_to("closed")
    assert lab.wire(since=accepted, port=WAITING) == []


@pytest.mark.parametrize(("forgotten", "answer", "state"), [(0, "client A", "TIME_WAIT"), (1, "client R", "CLOSED")])
def test_accepted_late_it_gives_its_data_and_its_end_and_close_sends_fin(lab, forgotten, answer, state):
    """Proves: 002-4"""
    server, served = play(lab, forgotten=forgotten)
    accepted = accept_late(server, served)
    server.run_to("has read hello")
    server.run_to("closed")
    assert lab.wire(since=accepted, port=WAITING) == ["server FA", answer]
    lab.expect_states(client=state, server="CLOSED", port=WAITING)


def test_accepted_late_the_first_send_succeeds_and_the_second_fails_with_epipe(lab):
    """Proves: 002-5. FIN_WAIT2 answers as CLOSED does: after close() nobody can read."""
    server, served = play(lab, replies=2)
    accepted = accept_late(server, served)
    server.run_to("replied")
    assert lab.wire(since=accepted, port=WAITING) == ["server PA", "client R"]
    lab.expect_states(client="CLOSED", server="CLOSED", port=WAITING)
    server.fail_with("EPIPE")


def test_control_a_thread_for_each_connection_accepts_in_time_and_nothing_remains(lab):
    """Proves: 002-1, 002-2, 002-3, 002-4, 002-5, by the cure."""
    # At 0 an ACK that comes late from another CPU (enqueue_to_backlog) would cost the TIME_WAIT: RFC 1337.
    lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)
    server = lab.start(threaded_server, lab.server_address, 2, name="server", to="listening")
    lab.start(client, lab.server_address, SERVED, to="connected")
    server.run_to("accepted")
    second = lab.start(client, lab.server_address, WAITING, b"hello", 10, to="connected")
    server.run_to("accepted")
    assert lab.holders("server", WAITING) == ["server"]
    assert second.finish() == b"hellohello"
    lab.expect_states(client="TIME_WAIT", server="CLOSED", port=WAITING)
