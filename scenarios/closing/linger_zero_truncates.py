"""With SO_LINGER 0, close() discards what was not yet sent, and the reader gets ECONNRESET.

send() only hands its bytes to the kernel. Here most of them wait there for a window, as the server
does not read. A plain close() leaves that to the kernel: it sends the rest, and then FIN. With
SO_LINGER on and 0 seconds, close() empties the send queue and sends RST (__tcp_close,
tcp_disconnect), and no call of the sender fails. The reader still gets what has arrived
(tcp_recvmsg looks at its queue first), then ECONNRESET instead of the end: even if no byte is
missing, it cannot know that.

The option is often set to avoid TIME_WAIT. It does avoid it, and this is the price. Accepted
connections inherit the option from their listener.

    client                                       server
    ESTABLISHED  ── A, PA ──────────────────▶    does not read
                 ◀──────────── A, window 0 ──
    CLOSED       ── RA ─────────────────────▶    CLOSED: close() with SO_LINGER 0
                                                 recv(): what has arrived, then ECONNRESET
    or
    FIN_WAIT1    ◀────────────────────── A ──    ESTABLISHED: close(), and then the server reads
                 ── PA, FPA ────────────────▶    CLOSE_WAIT
    TIME_WAIT    ◀───────────────────── FA ──    recv(): everything, then the end

With a time above 0, SO_LINGER makes close() wait until the FIN is acknowledged or that time is
over. Only shutdown() and reading to the end show that the peer has read everything and closed.

Sources: RFC 9293, section 3.10.5 (ABORT); socket(7). Kernel: net/ipv4/tcp.c, sk_stream_wait_close
(net/core/stream.c), sk_clone_lock (net/core/sock.c).
"""

import socket
import struct

SIZE = 100_000
OFF, ZERO, LONG = (struct.pack("ii", *each) for each in ((0, 0), (1, 0), (1, 3600)))


def read_to_the_end(connection):
    received, end = 0, "end of stream"
    try:
        while data := connection.recv(65536):
            received += len(data)
    except ConnectionResetError:
        end = "ECONNRESET"
    yield "read"
    return received, end


def listen(address, linger=OFF):
    listener = socket.create_server(address)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SIZE // 4)  # the kernel doubles it
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    return listener


def receive(address):
    listener = listen(address)
    yield "listening"
    connection, _ = listener.accept()
    return (yield from read_to_the_end(connection))


def upload(address, size, linger, shuts_down=False):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.connect(address)
    connection.sendall(bytes(size))
    yield "sent"
    if shuts_down:
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    connection.close()
    yield "closed"


def answer(address, linger):
    listener = listen(address, linger)
    yield "listening"
    connection, _ = listener.accept()
    connection.sendall(bytes(SIZE))
    yield "sent"
    connection.close()
    yield "closed"


def download(address):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SIZE // 4)
    connection.connect(address)
    yield "connected"
    return (yield from read_to_the_end(connection))


def pin_sysctls(lab):
    lab.set_sysctl("net.ipv4.tcp_notsent_lowat", 2**32 - 1)  # otherwise send() waits for room
    lab.set_sysctl("net.ipv4.tcp_orphan_retries", 8)  # with 1, an orphan gives up after 1.5 s
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    lab.protect_time_wait_from_late_acks()


def play(lab, linger, size=SIZE, shuts_down=False):
    """Until the client has sent everything, by what send() returned; the server has not read."""
    pin_sysctls(lab)
    server = lab.start(receive, lab.server_address, to="listening")
    client = lab.start(upload, lab.server_address, size, linger, shuts_down, to="sent")
    if size == SIZE:
        lab.expect_timer("client", "zero_window_probe")  # from now on, the queues do not change
    return server, client


def test_close_discards_what_was_not_yet_sent(lab):
    """What has arrived can be read; the rest is gone, and so is the connection."""
    server, client = play(lab, ZERO)
    unsent, arrived = lab.socket("client").send_q, lab.socket("server").recv_q
    assert (arrived + unsent, 0 < unsent < SIZE) == (SIZE, True)
    client.run_to("closed")
    assert lab.wire()[-1] == "client RA"
    assert "F" not in "".join(lab.wire())
    lab.expect_states(client="CLOSED", server="CLOSED")
    assert lab.path("client") == ["SYN_SENT", "ESTABLISHED", "CLOSED"]
    assert lab.counter("TcpExtTCPAbortOnData") == 1
    assert server.finish() == (arrived, "ECONNRESET")
    client.finish()


def test_control_a_plain_close_sends_the_rest_and_then_fin(lab):
    """The kernel does, without a process: FIN_WAIT1 until the server reads, and then TIME_WAIT."""
    server, client = play(lab, OFF)
    unsent = lab.socket("client").send_q
    client.finish()
    lab.expect_socket("client", state="FIN_WAIT1", inode=0, send_q=unsent + 1)  # with FIN
    server.run_to("read")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    assert server.finish() == (SIZE, "end of stream")
    lab.expect_states(client="TIME_WAIT", server="CLOSED")
    assert "R" not in "".join(lab.wire())
    assert lab.counter("TcpExtTCPAbortOnData") == 0


def test_even_if_all_has_arrived_the_reader_sees_no_end(lab):
    """Nothing is lost; but this reader and one that lacks most of the data see the same error."""
    server, client = play(lab, ZERO, size=5)
    lab.expect_socket("server", state="ESTABLISHED", recv_q=5)
    lab.expect_socket("client", state="ESTABLISHED", send_q=0)
    client.run_to("closed")
    assert lab.wire()[-1] == "client RA"
    assert server.finish() == (5, "ECONNRESET")


def play_inherited(lab, linger):
    pin_sysctls(lab)
    server = lab.start(answer, lab.server_address, linger, to="listening")
    client = lab.start(download, lab.server_address, to="connected")
    server.run_to("sent")
    lab.expect_timer("server", "zero_window_probe")
    arrived = lab.socket("client").recv_q
    server.run_to("closed")
    return client.finish(), arrived


def test_accepted_connections_inherit_it_from_the_listener(lab):
    """A server that sets it on its listener truncates its answers."""
    received, arrived = play_inherited(lab, ZERO)
    assert received == (arrived, "ECONNRESET")
    assert 0 < arrived < SIZE
    lab.expect_states(client="CLOSED", server="CLOSED")


def test_control_without_it_the_answer_is_whole(lab):
    """The same server, and the same client."""
    received, arrived = play_inherited(lab, OFF)
    assert received == (SIZE, "end of stream")
    assert 0 < arrived < SIZE
    lab.expect_states(client="CLOSED", server="TIME_WAIT")


def test_control_with_a_time_above_0_close_waits_for_the_reader(lab):
    """It blocks the sender, and returns once the FIN is acknowledged."""
    server, client = play(lab, LONG)
    client.stay_blocked(in_="close")
    assert lab.state("client") == "FIN_WAIT1"
    server.run_to("read")
    client.run_to("closed")
    assert server.finish() == (SIZE, "end of stream")
    lab.expect_states(client="TIME_WAIT", server="CLOSED")


def test_control_shutdown_and_reading_to_the_end_lose_nothing(lab):
    """After both FINs there is nothing left to discard, even with SO_LINGER 0. TIME_WAIT stays."""
    server, client = play(lab, ZERO, shuts_down=True)
    client.stay_blocked(in_="recv")
    assert server.finish() == (SIZE, "end of stream")
    client.run_to("closed")
    lab.expect_states(client="TIME_WAIT", server="CLOSED")
    assert "R" not in "".join(lab.wire())
