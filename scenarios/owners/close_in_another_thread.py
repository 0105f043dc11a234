"""close() in one thread neither wakes another one that is in recv() nor sends FIN.

close() gives back the descriptor's number; the connection ends with the last reference to the open
file. A system call that is under way has one (fdget), so a thread that sleeps in recv() or accept()
keeps the socket alive, and nothing wakes it. No process has a descriptor for it any more: ss -p
shows no owner, but ss -e shows an inode. If data comes, recv() returns it, and only then does FIN
go out. The next recv() of that thread uses a number that may belong to another connection by then.
shutdown() acts on the connection itself: it sends FIN, and wakes recv(), and accept() on a
listener.

    client                                     server, thread 1           thread 2
    ESTABLISHED                                ESTABLISHED: recv()
                                                                          close()
                     (no segment)              ESTABLISHED: recv()
                 ── PA ───────────────────▶    recv() returns
    CLOSE_WAIT   ◀─────────────────── FA ──    FIN_WAIT1
    or
    CLOSE_WAIT   ◀─────────────────── FA ──    recv(): 0 bytes            shutdown()

Sources: close(2), "Multithreaded processes and close()"; RFC 9293, section 3.6. Kernel: fdget and
fput in fs/file.c and fs/file_table.c, sock_close; inet_shutdown in net/ipv4/af_inet.c.
"""

import errno
import os
import socket
import threading

from harness.evidence import blocked
from harness.stock_roles import reset_on_close


def serve(address, how):
    """One thread reads, and the main thread closes."""
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    heard = []
    reader = threading.Thread(target=lambda: heard.append(connection.recv(100)))
    reader.start()
    yield "reading"
    if how == "shutdown, then close":
        connection.shutdown(socket.SHUT_RDWR)
    elif how == "linger 0, then close":
        reset_on_close(connection)
    connection.close()
    yield "closed"
    reader.join()
    return heard[0]


def read_by_number(address):
    """As a program in C would: the reader knows the number alone."""
    listener = socket.create_server(address)
    yield "listening"
    number = listener.accept()[0].detach()
    heard = []
    reader = threading.Thread(target=lambda: heard.extend(os.read(number, 100) for _ in range(2)))
    reader.start()
    yield "reading"
    os.close(number)
    yield "closed"
    other, _ = listener.accept()
    yield "accepted another"
    reader.join()
    return heard, other.fileno() == number


def accept_in_a_thread(address, how):
    listener = socket.create_server(address)
    came = []

    def accept():
        try:
            listener.accept()
            came.append("accepted")
        except OSError as error:
            came.append(errno.errorcode[error.errno])

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    yield "accepting"
    if how == "shutdown, then close":
        listener.shutdown(socket.SHUT_RD)
    listener.close()
    yield "closed"
    acceptor.join()
    return came[0]


def call(address, *says):
    connection = socket.create_connection(address)
    yield "connected"
    for word in says:
        connection.sendall(word)
        yield "sent"
    return connection.recv(1)


def expect_thread_in(lab, server, call):
    """The one thread besides the main one sleeps in this system call."""

    def look():
        threads = {int(task) for task in os.listdir(f"/proc/{server.pid}/task")} - {server.pid}
        return [blocked.blocked_in(thread) for thread in threads]

    lab.expect(f"the call in which {server.name}'s other thread sleeps", [call], look)


def play(lab, how, *says):
    """Until one thread has closed what the other reads."""
    server = lab.start(serve, lab.server_address, how, to="listening")
    client = lab.start(call, lab.server_address, *says, to="connected")
    reading = server.run_to("reading")
    expect_thread_in(lab, server, "recvfrom")
    server.run_to("closed")
    return server, client, reading


def test_close_wakes_no_reader_and_sends_nothing(lab):
    """The connection has no owner any more, but it has an inode."""
    server, client, reading = play(lab, "close")
    expect_thread_in(lab, server, "recvfrom")
    client.stay_blocked(in_="recv")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert lab.holders("server") == []
    assert lab.socket("server").inode != 0
    assert lab.wire(since=reading) == []


def test_fin_is_sent_once_data_has_woken_the_reader(lab):
    """The reader gets what came after close(); as it leaves recv(), the connection ends."""
    server, client, reading = play(lab, "close", b"late")
    client.run_to("sent")
    assert server.finish() == b"late"
    assert client.finish() == b""
    wire = lab.wire(since=reading)
    assert wire[0] == "client PA"
    assert "server FA" in wire
    assert "server RA" not in wire


def test_with_linger_0_it_is_rst_that_is_sent_then(lab):
    """And not by close(), either."""
    server, client, reading = play(lab, "linger 0, then close", b"late")
    client.run_to("sent")
    assert server.finish() == b"late"
    client.fail_with("ECONNRESET")
    wire = lab.wire(since=reading)
    assert wire[0] == "client PA"
    assert wire[-1] == "server RA"


def test_the_next_read_may_be_from_another_connection(lab):
    """The number is given to the next connection, and the old reader takes its data."""
    server = lab.start(read_by_number, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, b"late", to="connected")
    server.run_to("reading")
    expect_thread_in(lab, server, "read")
    server.run_to("closed")
    other = lab.start(call, lab.server_address, b"secret", name="other", to="connected")
    server.run_to("accepted another")
    client.run_to("sent")
    other.run_to("sent")
    assert server.finish() == ([b"late", b"secret"], True)


def test_control_shutdown_wakes_the_reader_and_sends_fin(lab):
    """The cure: shutdown(), then close()."""
    server, client, reading = play(lab, "shutdown, then close")
    assert lab.wire(since=reading)[:1] == ["server FA"]
    assert server.finish() == b""
    assert client.finish() == b""


def test_a_listener_closed_in_another_thread_still_listens(lab):
    """One more connection is accepted, and only then is the port free."""
    server = lab.start(accept_in_a_thread, lab.server_address, "close", to="accepting")
    expect_thread_in(lab, server, "accept4")
    server.run_to("closed")
    lab.expect_listener_holders([])
    expect_thread_in(lab, server, "accept4")
    lab.expect_table(LISTEN=1)
    client = lab.start(call, lab.server_address, to="connected")
    assert server.finish() == "accepted"
    assert client.finish() == b""
    lab.start(call, lab.server_address, name="next").fail_with("ECONNREFUSED")


def test_control_shutdown_wakes_accept(lab):
    """With EINVAL, and connect() is refused at once."""
    server = lab.start(
        accept_in_a_thread, lab.server_address, "shutdown, then close", to="accepting"
    )
    expect_thread_in(lab, server, "accept4")
    server.run_to("closed")
    lab.start(call, lab.server_address).fail_with("ECONNREFUSED")
    assert server.finish() == "EINVAL"
