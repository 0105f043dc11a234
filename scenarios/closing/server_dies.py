"""What a client sees of a server that dies depends on the socket's queues, not on how it died.

When a process ends, by exit() or by any signal, the kernel closes its sockets as close() would
(do_exit, exit_files). If received data is unread, that sends RST, and unsent data is discarded
(__tcp_close). Otherwise the kernel sends what is unsent, and then FIN: a client cannot tell that
from an orderly close. If another process holds the socket as well, nothing is sent at all, and the
connection lives on. Nothing is sent for a stopped server either: until SIGCONT, its kernel goes on
acknowledging data and completing handshakes.

    server's socket            on kill -9, exit() or close()
    nothing unread             server ── FA ──▶ client    recv(): 0 bytes
    data unread                server ── RA ──▶ client    recv(): ECONNRESET
    data unsent                server ── PA, FPA ──▶      recv(): all of it, then 0 bytes
    unread and unsent          server ── RA ──▶ client    recv(): what has arrived, ECONNRESET
    a child holds it           nothing                    recv() blocks
    stopped (SIGSTOP)          nothing                    recv() blocks

    client                                     server
    send()       ── PA ───────────────────▶    has not read it
    CLOSED       ◀─────────────────── RA ──    CLOSED: kill -9

Sources: RFC 9293, section 3.6; RFC 1122, section 4.2.2.13; RFC 2525, section 2.17; signal(7).
Kernel: kernel/exit.c, fs/file.c (exit_files), net/socket.c (sock_close), net/ipv4/tcp.c.
"""

import os
import signal
import socket
import subprocess

import pytest

from harness.inside.installed import find_program

ANSWER_BYTES = 100_000


def serve(address, reads=True, answer_bytes=0, closes=False, child=()):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    if reads:
        connection.recv(100)
    connection.sendall(bytes(answer_bytes))
    if child:
        connection.set_inheritable(True)
        print(subprocess.Popen(child, close_fds=False).pid)
    yield "accepted"
    if closes:
        connection.close()
        yield "closed"


def kill_child(pid):
    yield "ready"
    os.kill(pid, signal.SIGKILL)


def call(address):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ANSWER_BYTES // 4)
    connection.connect(address)
    connection.sendall(b"hello")
    yield "sent"
    received, end = 0, "0 bytes"
    try:
        while data := connection.recv(65536):
            received += len(data)
    except ConnectionResetError:
        end = "ECONNRESET"
    return received, end


def write(address):
    connection = socket.create_connection(address)
    yield "connected"
    connection.sendall(bytes(8 << 20))  # more than both kernels' buffers hold


def play(lab, *arguments):
    """Until the server has the connection, and the client has sent its 5 bytes."""
    lab.set_sysctl("net.ipv4.tcp_notsent_lowat", 2**32 - 1)  # otherwise send() waits for room
    lab.set_sysctl("net.ipv4.tcp_orphan_retries", 8)  # with 1, an orphan gives up after 1.5 s
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    lab.protect_time_wait_from_late_acks()
    server = lab.start(serve, lab.server_address, *arguments, to="listening")
    client = lab.start(call, lab.server_address, to="sent")
    server.run_to("accepted")
    return server, client


def test_killed_with_data_unread_it_resets(lab):
    """The client's 5 bytes are in its receive queue. Nothing is left, not even the listener."""
    server, client = play(lab, False)
    lab.expect_socket("server", state="ESTABLISHED", recv_q=5)
    server.kill()
    assert lab.wire()[-1] == "server RA"
    assert client.finish() == (0, "ECONNRESET")
    assert "F" not in "".join(lab.wire())
    assert lab.counter("TcpExtTCPAbortOnClose") == 1
    assert lab.sockets() == []


def test_killed_with_nothing_unread_it_sends_fin(lab):
    """The client sees an orderly end."""
    server, client = play(lab, True)
    server.kill()
    lab.expect_states(client="CLOSE_WAIT", server="FIN_WAIT2")
    assert client.finish() == (0, "0 bytes")
    assert "R" not in "".join(lab.wire())
    lab.expect_states(client="CLOSED", server="TIME_WAIT")


@pytest.mark.parametrize(
    ("reads", "how_it_ends"),
    [(True, "0 bytes"), (False, "ECONNRESET")],
    ids=["nothing unread", "data unread"],
)
def test_killed_with_data_unsent(lab, reads, how_it_ends):
    """With nothing unread, the kernel sends the whole answer of a process that is dead."""
    server, client = play(lab, reads, ANSWER_BYTES)
    lab.expect_timer("server", "zero_window_probe")  # its queue stays as it is now
    arrived, unsent = lab.socket("client").recv_q, lab.socket("server").send_q
    assert (arrived + unsent, unsent > 0) == (ANSWER_BYTES, True)
    server.kill()
    if reads:
        lab.expect_socket("server", state="FIN_WAIT1", inode=0, send_q=unsent + 1)  # with FIN
    else:
        assert lab.state("server") == "CLOSED"
    assert client.finish() == (ANSWER_BYTES if reads else arrived, how_it_ends)


def test_while_a_child_has_the_socket_nothing_is_sent(lab):
    """The client waits for a dead server, until the child ends too."""
    sleep = find_program("sleep", "coreutils")
    server, client = play(lab, False, 0, False, (sleep, "3600"))
    lab.expect_holders("server", ["serve", "sleep"])
    killed = server.kill()
    assert lab.wire(since=killed) == []
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert lab.holders("server") == ["sleep"]
    client.stay_blocked(in_="recv")
    lab.start(kill_child, int(server.output())).finish()
    assert client.finish() == (0, "ECONNRESET")
    lab.expect_states(client="CLOSED", server="CLOSED")


def test_while_it_is_stopped_its_kernel_goes_on(lab):
    """A handshake is completed and data is acknowledged: from outside it looks merely slow."""
    server = lab.start(serve, lab.server_address, True, 5, to="listening")
    server.stay_blocked(in_="accept")
    server.stop()
    client = lab.start(call, lab.server_address, to="sent")
    client.stay_blocked(in_="recv")
    assert lab.wire() == ["client S", "server SA", "client A", "client PA", "server A"]
    lab.expect_socket("server", state="ESTABLISHED", inode=0, recv_q=5)
    assert lab.accept_queue() == 1
    server.resume_process()
    server.finish()
    assert client.finish() == (5, "0 bytes")


def test_exit_while_the_client_is_in_send_resets(lab):
    """Most of what the client has sent is unread."""
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(write, lab.server_address, to="connected")
    client.stay_blocked(in_="send")
    server.finish()
    assert lab.wire()[-1] == "server RA"
    client.fail_with("ECONNRESET")


def test_control_an_orderly_close(lab):
    """The server has read everything, answers, and closes; the client reads the answer."""
    server, client = play(lab, True, 5, True)
    server.run_to("closed")
    assert client.finish() == (5, "0 bytes")
    assert "R" not in "".join(lab.wire())
    lab.expect_states(client="CLOSED", server="TIME_WAIT")
    assert lab.counter("TcpExtTCPAbortOnClose") == 0
