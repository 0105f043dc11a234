"""A relay that treats a half-close as a close ends both connections, and the answer is lost.

A client that has sent its request and calls shutdown(SHUT_WR) still reads (RFC 9293, section 3.6).
A relay sees only that recv() returns 0 bytes. If it then closes both connections, the server sees
the same FIN as from a relay that forwards the half-close, does its work and answers. As no process
holds the relay's socket any more, the relay's kernel answers with RST. No call fails: the server's
send() succeeds, and the client reads an orderly end before the first byte.

    client           relay             relay            server
    FIN_WAIT1  ── FA ──▶   CLOSE_WAIT
    TIME_WAIT  ◀── FA ──   close()      close()  ── FA ──▶   CLOSE_WAIT: answers
    recv(): 0 bytes                     CLOSED   ◀── PA ──
                                                 ── R ──▶    CLOSED
    or
    FIN_WAIT2  ── FA ──▶   CLOSE_WAIT   shutdown()  ── FA ──▶   CLOSE_WAIT: answers
               ◀── PA ──                FIN_WAIT2   ◀── PA ──
               ◀── FA ──   shutdown()               ◀── FA ──   close()
    TIME_WAIT

The cure is a relay that forwards the end of one direction and keeps the other open. HAProxy 2.6
does so in mode tcp, until "timeout server-fin". In mode http it does not forward the half-close,
and waits for the answer, unless "option abortonclose" is set: then it tears both connections down.
A request that says where it ends needs no half-close.

The relay is the host "server" here, and the server behind it "other server".

Sources: RFC 9293, section 3.6; shutdown(2). Kernel: tcp_fin, tcp_timewait_state_process. HAProxy:
its configuration manual, "option abortonclose", "timeout server-fin" and "Session state at
disconnection".
"""

import select
import socket

from harness.inside.installed import find_program

FRONT, BACK = 40001, 40002  # the client's port, and the relay's on its way to the server
REQUEST = b"POST /sum HTTP/1.1\r\nHost: server\r\nContent-Length: 3\r\n\r\n1 2"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n3"
HAPROXY = """
global
    log stdout format raw local0
listen relay
    bind {host}:{port}
    mode {mode}
    log global
    option {mode}log
    timeout connect 1h
    timeout client 1h
    timeout server 1h
    {option}
    server behind {behind}:{port} source {host}:{back}
"""


def serve(address, reads_to_the_end):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    request = b""
    while len(request) < len(REQUEST):
        request += connection.recv(4096)
    if reads_to_the_end:
        assert connection.recv(1) == b""
    yield "request is read"
    connection.sendall(ANSWER)
    yield "answered"


def ask(address, half_closes):
    connection = socket.create_connection(address, source_address=("", FRONT))
    connection.sendall(REQUEST)
    yield "sent"
    if half_closes:
        connection.shutdown(socket.SHUT_WR)
    yield "waits"
    answer = b""
    while data := connection.recv(4096):
        answer += data
    return answer


def relay(address, behind, forwards_half_close):
    listener = socket.create_server(address)
    yield "listening"
    front, _ = listener.accept()
    back = socket.create_connection(behind, source_address=(address[0], BACK))
    yield "connected"
    other = {front: back, back: front}
    readable = [front, back]
    while readable:
        ready, _, _ = select.select(readable, [], [])
        for connection in ready:
            if data := connection.recv(65536):
                other[connection].sendall(data)
            elif forwards_half_close:
                other[connection].shutdown(socket.SHUT_WR)
                readable.remove(connection)
            else:
                readable = []
    front.close()
    back.close()
    yield "closed"


def play(lab, forwards_half_close, half_closes=True):
    """Until the request has passed the relay and the client, if it half-closes, has done so."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    lab.protect_time_wait_from_late_acks()
    behind = lab.other_server_address
    server = lab.start(serve, behind, half_closes, to="listening")
    between = lab.start(relay, lab.server_address, behind, forwards_half_close, to="listening")
    client = lab.start(ask, lab.server_address, half_closes, to="sent")
    between.run_to("connected")
    between.resume()
    client.run_to("waits")
    server.run_to("request is read")
    return client, between, server


def test_the_relay_closes_both_connections_and_the_answer_is_lost(lab):
    """The server has done the work, and no call fails at either end."""
    client, between, server = play(lab, forwards_half_close=False)
    between.run_to("closed")
    lab.expect_states(client="TIME_WAIT", server="CLOSED", port=FRONT)
    lab.expect_socket("server", BACK, state="FIN_WAIT2", inode=0)
    lab.expect_socket("other server", BACK, state="CLOSE_WAIT")
    assert client.finish() == b""
    server.run_to("answered")
    assert lab.wire(port=BACK)[-2:] == ["other server PA", "server R"]
    server.finish()
    assert lab.state("other server", BACK) == "CLOSED"


def test_control_a_relay_that_forwards_the_half_close(lab):
    """Both connections are half closed, the same way, and the answer passes."""
    client, between, server = play(lab, forwards_half_close=True)
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT", port=FRONT)
    lab.expect_socket("server", BACK, state="FIN_WAIT2")
    lab.expect_socket("other server", BACK, state="CLOSE_WAIT")
    assert lab.holders("server", FRONT) == lab.holders("server", BACK) == ["relay"]
    server.finish()
    assert client.finish() == ANSWER
    between.run_to("closed")
    assert "R" not in "".join(lab.wire())


def test_control_a_request_that_says_where_it_ends(lab):
    """The client does not half-close, so the first end that the relay sees is the server's."""
    client, between, server = play(lab, forwards_half_close=False, half_closes=False)
    server.finish()
    assert client.finish() == ANSWER
    between.run_to("closed")
    assert "R" not in "".join(lab.wire())


def play_haproxy(lab, mode, option=""):
    """As play(), with HAProxy between: the server has the request, and the client half-closes."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    (host, port), (behind, _) = lab.server_address, lab.other_server_address
    forwards_half_close = mode == "tcp"
    server = lab.start(serve, lab.other_server_address, forwards_half_close, to="listening")
    values = {"host": host, "port": port, "behind": behind, "back": BACK}
    path = lab.write_file("haproxy.cfg", HAPROXY.format(mode=mode, option=option, **values))
    haproxy = lab.run_program([find_program("haproxy"), "-db", "-f", path])
    lab.expect_table(LISTEN=2)
    client = lab.start(ask, lab.server_address, True, to="sent")
    if forwards_half_close:
        client.run_to("waits")
        server.run_to("request is read")
    else:
        server.run_to("request is read")
        client.run_to("waits")
    return client, haproxy, server


def test_haproxy_with_abortonclose_tears_both_down(lab):
    """Log state CH: the client has aborted. The client gets a 400, the server an RST."""
    client, haproxy, server = play_haproxy(lab, "http", "option abortonclose")
    haproxy.expect_output(" CH")
    assert client.finish().startswith(b"HTTP/1.1 400")
    lab.expect_states(other_server="CLOSED", port=BACK)
    assert lab.wire(port=BACK)[-1] == "server RA"
    server.fail_with("ECONNRESET")


def test_control_haproxy_in_mode_http_waits_for_the_answer(lab):
    """Without the option; it keeps the half-close to itself."""
    client, _, server = play_haproxy(lab, "http")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT", port=FRONT)
    assert lab.state("server", BACK) == lab.state("other server", BACK) == "ESTABLISHED"
    server.finish()
    assert client.finish().startswith(b"HTTP/1.1 200")


def test_control_haproxy_in_mode_tcp_forwards_the_half_close(lab):
    """Both connections are half closed, whatever abortonclose says, and the answer passes."""
    client, _, server = play_haproxy(lab, "tcp", "option abortonclose")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT", port=FRONT)
    lab.expect_socket("server", BACK, state="FIN_WAIT2")
    lab.expect_socket("other server", BACK, state="CLOSE_WAIT")
    server.finish()
    assert client.finish() == ANSWER


def test_haproxy_in_mode_tcp_gives_up_after_server_fin(lab):
    """Log state sD: the server is too slow for this timeout, which begins with the half-close."""
    client, haproxy, server = play_haproxy(lab, "tcp", "timeout server-fin 100ms")
    haproxy.expect_output(" sD")
    assert client.finish() == b""
    lab.expect_states(other_server="CLOSED", port=BACK)
    assert "server FA" in lab.wire(port=BACK)
    assert lab.wire(port=BACK)[-1] == "server RA"
    server.fail_with("EPIPE")  # not ECONNRESET, as FIN came before
