"""A server that answers early and closes with the request unread destroys its own answer with RST.

The server has read the headers, answers 413 (or 401), and calls close(). The part of the body that
has arrived is unread, so close() sends RST instead of FIN (close_with_unread_data.py), and discards
what the client's kernel has not received of the answer. What has arrived stays readable, with
ECONNRESET after it: a client that reads in time gets more. A client that is still sending gets the
error from send(), and most clients do not read after that. If a segment of the answer is lost on
its way, nothing retransmits it.

    client                                     server
    send()       ── PA headers, body ─────▶    reads the headers
                 ◀─────────────── PA 413 ──    send()
    CLOSED       ◀─────────────────── RA ──    CLOSED: close(), and the body is unread
    send(): ECONNRESET
    or
    CLOSE_WAIT   ◀─────────── PA 413, FA ──    FIN_WAIT2: shutdown(), and reads on
                 ── PA body, FA ──────────▶    recv(): the end, or a limit is reached: close()
    recv(): 413

The cure is the lingering close of RFC 9112, section 9.6: shut down, read to the end or to a limit
of bytes and seconds, and then close. With "Expect: 100-continue", a client does not send the body
before it has an answer. (What nginx does: nginx_lingering_close.py.)

Sources: RFC 9112, section 9.6; RFC 9110, section 10.1.1. Kernel: __tcp_close, tcp_recvmsg_locked
(net/ipv4/tcp.c), tcp_validate_incoming.
"""

import http.client
import socket
import time

BODY_BYTES = 8 << 20  # more than both kernels' buffers hold, so send() waits
PAGE_BYTES = 100_000
HEAD = f"POST / HTTP/1.1\r\nHost: server\r\nContent-Length: {BODY_BYTES}\r\n".encode()


def linger(connection, limit_bytes, limit_s):
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + limit_s
    while limit_bytes > 0 and (left_s := deadline - time.monotonic()) > 0:
        connection.settimeout(left_s)
        try:
            data = connection.recv(65536)
        except TimeoutError:
            break
        if not data:
            break
        limit_bytes -= len(data)
    connection.close()


def serve(address, page_bytes=0, limits=None):
    """With limits, it lingers; without, it closes at once."""
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    headers = b""
    while b"\r\n\r\n" not in headers:
        headers += connection.recv(1024)
    answer = f"HTTP/1.1 413 Content Too Large\r\nContent-Length: {page_bytes}\r\n\r\n".encode()
    connection.sendall(answer + bytes(page_bytes))
    yield "answered"
    if limits:
        linger(connection, *limits)
    else:
        connection.close()
    yield "closed"


def send_a_part(address, first_bytes):
    """A client that pauses in the body. What it read: the status, bytes of the page, the end."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PAGE_BYTES // 4)
    connection.connect(address)
    connection.sendall(HEAD + b"\r\n" + bytes(first_bytes))
    yield "part is sent"
    received, end = b"", "end of stream"
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        end = "ECONNRESET"
    return received[9:12], len(received.partition(b"\r\n\r\n")[2]), end


def ask_first(address):
    """It would send the body after "100 Continue"."""
    connection = socket.create_connection(address)
    connection.sendall(HEAD + b"Expect: 100-continue\r\n\r\n")
    yield "headers are sent"
    return connection.recv(4096)[9:12]


def upload(address, reads_after_failure=False):
    connection = http.client.HTTPConnection(*address)
    yield "ready"
    try:
        connection.request("POST", "/", bytes(BODY_BYTES))
    except ConnectionError:
        if not reads_after_failure:
            raise
    yield "uploaded"
    return connection.getresponse().status


def play_paused(lab, page_bytes, limits=None, first_bytes=10_000):
    """The client has sent a part of the body, more than the server reads before it answers."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    lab.set_sysctl("net.ipv4.tcp_notsent_lowat", 2**32 - 1)  # otherwise send() waits for room
    lab.protect_time_wait_from_late_acks()
    server = lab.start(serve, lab.server_address, page_bytes, limits, to="listening")
    client = lab.start(send_a_part, lab.server_address, first_bytes, to="part is sent")
    return server, client


def test_the_reset_takes_back_what_has_not_arrived(lab):
    """A client that reads only now gets what its kernel had received, and then the error."""
    server, client = play_paused(lab, PAGE_BYTES)
    server.run_to("answered")
    lab.expect_timer("server", "zero_window_probe")
    arrived, unsent = lab.socket("client").recv_q, lab.socket("server").send_q
    server.run_to("closed")
    assert lab.wire()[-1] == "server RA"
    assert "F" not in "".join(lab.wire())
    lab.expect_states(client="CLOSED", server="CLOSED")
    assert lab.counter("TcpExtTCPAbortOnClose") == 1
    status, page_bytes, end = client.finish()
    assert (status, end) == (b"413", "ECONNRESET")
    assert PAGE_BYTES - unsent == page_bytes < arrived


def test_a_client_that_reads_before_the_reset_gets_it_all(lab):
    """The same answer. Still the end of it is ECONNRESET."""
    server, client = play_paused(lab, PAGE_BYTES)
    client.stay_blocked(in_="recv")
    server.run_to("answered")
    lab.expect_socket("server", send_q=0)
    server.run_to("closed")
    assert lab.wire()[-1] == "server RA"
    assert client.finish() == (b"413", PAGE_BYTES, "ECONNRESET")


def play_uploading(lab, limits=None, reads_after_failure=False):
    """The client is in send() when the server answers."""
    server = lab.start(serve, lab.server_address, 0, limits, to="listening")
    client = lab.start(upload, lab.server_address, reads_after_failure, to="ready")
    client.stay_blocked(in_="send")
    server.run_to("answered")
    assert lab.socket("client").recv_q > 0
    return server, client


def test_a_client_still_in_send_never_sees_the_answer(lab):
    """It has arrived, and is not read: http.client raises the error of send()."""
    server, client = play_uploading(lab)
    server.run_to("closed")
    client.fail_with("ECONNRESET")


def test_control_a_client_that_reads_after_the_failure_sees_it(lab):
    """The client's own cure, where the answer has arrived before the reset."""
    server, client = play_uploading(lab, reads_after_failure=True)
    server.run_to("closed")
    assert client.finish() == 413


def lose_the_answer(lab, limits):
    server, client = play_paused(lab, 0, limits)
    client.stay_blocked(in_="recv")
    lab.drop(f"tcp sport {lab.server_address[1]} meta length > 90")  # only the answer is so long
    return server, client


def test_an_answer_that_is_lost_on_its_way_is_never_repeated(lab):
    """Its RST gets a challenge ACK, as the answer before it is missing; RST answers that."""
    server, client = lose_the_answer(lab, None)
    server.run_to("closed")
    assert lab.wire()[-3:] == ["server RA", "client A", "server R"]
    assert client.finish() == (b"", 0, "ECONNRESET")


def test_control_a_lingering_close_repeats_it(lab):
    """The connection is still there, so the kernel sends the answer again."""
    server, client = lose_the_answer(lab, (1 << 30, 60))
    server.run_to("answered")
    server.stay_blocked(in_="poll")  # recv() with a timeout
    lab.restore()
    assert client.finish() == (b"413", 0, "end of stream")
    server.run_to("closed")
    lab.expect_states(client="CLOSED", server="TIME_WAIT")


def test_control_a_lingering_close_delivers_the_answer(lab):
    """The server shuts down and reads: the client can finish its upload, and reads 413."""
    server, client = play_uploading(lab, limits=(1 << 30, 60))
    server.resume()
    assert client.finish() == 413
    server.run_to("closed")
    assert "R" not in "".join(lab.wire())
    assert lab.counter("TcpExtTCPAbortOnClose") == 0


def test_beyond_its_limit_of_bytes_a_lingering_close_resets(lab):
    """Otherwise one client could hold the server for as long as it sends."""
    server, client = play_uploading(lab, limits=(10_000, 60))
    server.run_to("closed")
    client.fail_with("EPIPE")  # not ECONNRESET, as FIN came before
    assert lab.counter("TcpExtTCPAbortOnClose") == 1


def test_control_a_silent_client_holds_it_for_its_seconds_only(lab):
    """Nothing is unread then, so close() sends nothing after the FIN."""
    server, _ = play_paused(lab, 0, limits=(1 << 30, 0.05), first_bytes=0)
    server.run_to("closed")
    assert server.elapsed_s("answered", "closed") >= 0.05
    lab.expect_socket("server", state="FIN_WAIT2", inode=0)
    assert "R" not in "".join(lab.wire())


def test_control_with_expect_the_body_is_never_sent(lab):
    """So nothing is unread, and close() sends FIN."""
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(ask_first, lab.server_address, to="headers are sent")
    server.run_to("closed")
    assert client.finish() == b"413"
    assert "R" not in "".join(lab.wire())
    assert lab.counter("TcpExtTCPAbortOnClose") == 0
