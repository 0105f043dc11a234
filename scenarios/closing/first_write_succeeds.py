"""The first write after the peer's close() succeeds, and its data is lost; the second gets EPIPE.

FIN means that the peer sends nothing more, not that it reads nothing more. So the kernel takes the
data and sends it (tcp_sendmsg allows CLOSE_WAIT). The peer has no process that could read it: what
is left of the connection there answers with RST (tcp_timewait_state_process), and only a write
after that RST fails. In CLOSE_WAIT the error is EPIPE instead of ECONNRESET (tcp_reset), and recv()
still returns 0 bytes, as at an orderly end. Until the RST arrives, every write succeeds: over a
network, for a whole round trip.

With EPIPE comes SIGPIPE (sk_stream_error), which ends a program that neither ignores nor catches
it. Python ignores it. `cat`, like most C programs, does not, unless its parent did before exec().

A pool that hands out such a connection loses the request. A look at the receiving side shows the
FIN: recv() with MSG_PEEK, or poll() for POLLRDHUP. It does not help that the connection is writable
and has a peer and no SO_ERROR. (A FIN may arrive just after the look: keep_alive_race.py.)

    client                                     server
    CLOSE_WAIT   ◀─────────────────── FA ──    FIN_WAIT1: close()
                 ── A ────────────────────▶    FIN_WAIT2, no process holds it
    send()       ── PA ───────────────────▶
    CLOSED       ◀──────────────────── R ──    CLOSED
    send(): EPIPE, SIGPIPE

Sources: RFC 9293, sections 3.6 and 3.10.7.1; signal(7). Kernel: net/ipv4/tcp.c
(tcp_sendmsg_locked, tcp_recvmsg_locked, tcp_poll), net/core/stream.c, and the functions above.
"""

import errno
import http.client
import select
import signal
import socket
import subprocess

import pytest

from harness.inside.installed import find_program
from harness.stock_roles import has_ended

UNTIL_CLOSED = ["server FA", "client A"]


def serve(address):
    """It closes the first connection, as a server closes an idle one, and answers on the next."""
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.close()
    yield "closed"
    connection, _ = listener.accept()
    request = connection.recv(4096)
    connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    return request[:4]


def write(address, reads="", writes=("second",)):
    connection = socket.create_connection(address)
    yield "connected"
    if reads == "before" and connection.recv(1) == b"":
        return "nothing was sent"
    connection.sendall(b"first")
    yield "first is sent"
    if reads == "after" and connection.recv(1) == b"":
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return f"not answered, SO_ERROR {errno.errorcode.get(error)}"
    for each in writes:
        connection.sendall(each.encode())
        yield f"{each} is sent"


def log(address, cat, ignores_sigpipe):
    """Start a program with the connection as its output, as inetd does. It writes what it reads."""
    with socket.create_connection(address) as connection:
        program = subprocess.Popen(
            [cat],
            stdin=subprocess.PIPE,
            stdout=connection,
            bufsize=0,
            restore_signals=not ignores_sigpipe,
        )
    yield "connected"
    program.stdin.write(b"first\n")
    yield "first is given"
    program.stdin.write(b"second\n")
    return program.wait()


def poll_for_rdhup(connection):
    poller = select.poll()
    poller.register(connection, select.POLLRDHUP)
    return bool(poller.poll(0))


def ask_if_writable(connection):
    _, writable, _ = select.select([], [connection], [], 0)
    error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return not (connection.getpeername() and writable and error == 0)


LOOKS = {"peek": has_ended, "poll": poll_for_rdhup, "is it writable": ask_if_writable}


def take_from_pool(address, look):
    is_dead = LOOKS[look]
    connection = http.client.HTTPConnection(*address)
    connection.connect()
    assert not is_dead(connection.sock)
    yield "connected"
    if is_dead(connection.sock):
        connection.close()  # request() opens another
    connection.request("POST", "/order")
    yield "request is sent"
    return connection.getresponse().status


def play(lab, role, *arguments):
    """Until the server has closed; the client has not noticed."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)  # with 1 s, a busy host may find FIN_WAIT2 over
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(role, lab.server_address, *arguments, to="connected")
    accepted = server.run_to("accepted")
    server.run_to("closed")
    lab.expect_wire(UNTIL_CLOSED, since=accepted)  # the ACK may be delayed
    lab.expect_states(client="CLOSE_WAIT", server="FIN_WAIT2")
    return server, client


def test_the_first_write_succeeds_and_the_second_fails(lab):
    """RST comes between the two."""
    _, client = play(lab, write)
    sent = client.run_to("first is sent")
    assert lab.wire(since="accepted") == [*UNTIL_CLOSED, "client PA", "server R"]
    lab.expect_states(client="CLOSED", server="CLOSED")
    client.fail_with("EPIPE")
    assert lab.wire(since=sent) == []


def test_control_reading_first_finds_the_end(lab):
    """recv() returns 0 bytes: nothing is sent, so nothing is lost, and both ends close in order."""
    _, client = play(lab, write, "before")
    assert client.finish() == "nothing was sent"
    assert lab.wire(since="accepted") == [*UNTIL_CLOSED, "client FA", "server A"]
    lab.expect_states(client="CLOSED", server="TIME_WAIT")


def test_control_reading_after_the_write_finds_that_it_was_lost(lab):
    """The RST does not make recv() fail: it returns 0 bytes, and the error waits for a write."""
    _, client = play(lab, write, "after")
    assert client.finish() == "not answered, SO_ERROR EPIPE"
    assert lab.wire(since="accepted") == [*UNTIL_CLOSED, "client PA", "server R"]


def test_every_write_succeeds_until_the_reset_arrives(lab):
    """The RST is dropped at first, as if it were still on its way."""
    _, client = play(lab, write, "", ("second", "third"))
    lab.drop("tcp flags & rst == rst")
    client.run_to("second is sent")
    lab.expect_states(client="CLOSE_WAIT", server="CLOSED")
    lab.restore()
    lab.expect_states(client="CLOSED")  # a retransmission is answered by RST
    client.fail_with("EPIPE")


def play_cat(lab, ignores_sigpipe):
    _, client = play(lab, log, find_program("cat", "coreutils"), ignores_sigpipe)
    lab.expect_holders("client", ["cat"])
    client.run_to("first is given")
    lab.expect_wire([*UNTIL_CLOSED, "client PA", "server R"], since="accepted")
    return client


def test_a_program_that_does_not_ignore_sigpipe_is_killed(lab):
    """A real cat: the signal ends it at its second write, without a message."""
    client = play_cat(lab, ignores_sigpipe=False)
    assert client.finish() == -signal.SIGPIPE
    assert client.output() == ""


def test_control_with_sigpipe_ignored_the_program_reports_epipe(lab):
    """The same cat, started by a parent that ignores SIGPIPE: exec() keeps that."""
    client = play_cat(lab, ignores_sigpipe=True)
    assert client.finish() == 1
    assert "cat: " in client.output()


def test_a_pool_hands_out_a_dead_connection(lab):
    """It is writable, and has a peer and no error. The request is sent, and never answered."""
    _, client = play(lab, take_from_pool, "is it writable")
    client.run_to("request is sent")
    assert lab.wire(since="accepted") == [*UNTIL_CLOSED, "client PA", "server R"]
    client.fail_with("RemoteDisconnected")


@pytest.mark.parametrize("look", ["peek", "poll"])
def test_control_a_look_before_reuse_finds_the_end(lab, look):
    """The pool sends nothing on that connection, opens another, and is answered."""
    server, client = play(lab, take_from_pool, look)
    client.run_to("request is sent")
    dead, *_ = lab.segments()
    closing = [*UNTIL_CLOSED, "client FA", "server A"]
    lab.expect_wire(closing, since="accepted", port=dead.source[1])
    assert server.finish() == b"POST"
    assert client.finish() == 204
