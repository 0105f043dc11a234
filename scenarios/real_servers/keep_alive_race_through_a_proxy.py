"""HAProxy answers 502 to a client whose request crossed the FIN of an idle server connection.

HAProxy keeps connections to servers for later requests. If the server closes one, and its FIN is
still on its way when HAProxy sends a request on it, RST answers that request
(keep_alive_race.py). What the client gets, if HAProxy may not send the request again:

- a client's first request, on a connection that an earlier client has left ("http-reuse always"):
  502, and SH-- in the log: the server ended it while HAProxy was waiting for the headers;
- a later request of a client, on the server connection that it had before: HAProxy closes the
  connection to the client without an answer or a log line, so that the client retries it.

By default ("http-reuse safe") a client's first request always goes over a new connection.
"retry-on empty-response" sends a request again on a new connection; the server may have executed
it, so it is turned off for what is not idempotent.

    client, over a UNIX socket      client's side: HAProxy                        server
    GET ─────────────────────▶      ESTABLISHED     ◀╌╌╌╌╌╌╌╌╌╌╌╌ FA ──     idle: close()
                                    ESTABLISHED  ── PA ───────────────▶     FIN_WAIT1
    ◀───────────────────── 502      CLOSED       ◀───────────────── R ──    CLOSED

Sources: RFC 9110, section 9.2.2; RFC 9112, section 9.3.1. Kernel: tcp_rcv_state_process in
net/ipv4/tcp_input.c. HAProxy: http_wait_for_response in http_ana.c; its manual: http-reuse,
retry-on, http-request disable-l7-retry, session state at disconnection.
"""

import itertools
import socket

import pytest

from harness.inside.installed import find_program

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
RETRY = "retry-on conn-failure empty-response"
EXCEPT_POST = f"{RETRY}\n    http-request disable-l7-retry if METH_POST"
HAPROXY = """
global
    log stdout format raw local0
defaults
    mode http
    log global
    timeout connect 1h
    timeout client 1h
    timeout server 1h
listen proxy
    bind unix@{folder}/proxy
    log-format "%HM %ST %tsc"
    {options}
    server victim {host}:{port}
backend ready
    option log-health-checks
    server nobody unix@{folder}/nobody check inter 1h
"""


def serve(address):
    """After each answer, the connection has been idle for too long."""
    executed = 0
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        if connection.recv(1000):
            executed += 1
            yield f"executed {executed}"
            connection.sendall(ANSWER)
            yield "idle for too long"
        connection.close()
        yield "closed"


def ask(path, method="GET", times=1):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    for _ in range(times):
        connection.sendall(f"{method} / HTTP/1.1\r\nHost: victim\r\n\r\n".encode())
        status = connection.recv(1000).partition(b"\r\n")[0]
        yield "answered" if status else "not answered"
    return status.decode()


def start_haproxy(lab, *options):
    """Its first health check, of a server that is not there, is logged once it listens."""
    host, port = lab.server_address
    values = {"folder": lab.folder(), "host": host, "port": port}
    path = lab.write_file("haproxy.cfg", HAPROXY.format(options="\n    ".join(options), **values))
    haproxy = lab.run_program([find_program("haproxy"), "-db", "-f", path])
    haproxy.expect_output("Health check for server ready/nobody failed")
    return haproxy, f"{values['folder']}/proxy"


def play(lab, *options, fin="on its way", times=1):
    """Until the server has answered one client, and closed the connection that HAProxy keeps."""
    lab.set_sysctl("net.ipv4.tcp_orphan_retries", 8)  # at 1, FIN_WAIT1 ends after 1.6 s
    server = lab.start(serve, lab.server_address, to="listening")
    haproxy, path = start_haproxy(lab, *options)
    client = lab.start(ask, path, "GET", times, name="first client")
    client.resume()
    server.run_to("executed 1")
    server.run_to("idle for too long")
    client.run_to("answered")
    haproxy.expect_output("GET 200 ----")
    lab.expect_socket("server", send_q=0)  # or a delayed ACK might come after FIN
    if fin == "on its way":
        lab.drop(f"tcp sport {lab.server_address[1]} tcp flags & fin == fin")
    server.run_to("closed")
    return server, haproxy, client, path


def seen(lab):
    """On a busy host FIN is retransmitted, every 200 ms."""
    return [segment for segment, _ in itertools.groupby(lab.wire(since="first client: answered"))]


@pytest.mark.parametrize("retry", ["", "retry-on conn-failure"], ids=["as it is", "conn-failure"])
def test_haproxy_answers_502_and_logs_sh(lab, retry):
    """retry-on conn-failure, the default, is for connections that could not be opened."""
    server, haproxy, _, path = play(lab, "http-reuse always", retry)
    lab.expect_states(client="ESTABLISHED", server="FIN_WAIT1")
    client = lab.start(ask, path, name="second client")
    assert client.finish() == "HTTP/1.1 502 Bad Gateway"
    haproxy.expect_output("GET 502 SH--")
    assert seen(lab) == ["server FA", "client PA", "server R"]
    server.stay_blocked(in_="accept")  # and has not executed the request


def test_control_haproxy_sees_a_fin_that_has_arrived(lab):
    """It watches the connections that it keeps: this one is not used again."""
    server, haproxy, _, path = play(lab, "http-reuse always", fin="arrives")
    lab.expect_states(client="CLOSED")
    client = lab.start(ask, path, name="second client")
    client.resume()
    server.run_to("executed 2")
    server.resume()
    assert client.finish() == "HTTP/1.1 200 OK"
    assert "502" not in haproxy.output()


@pytest.mark.parametrize(
    ("options", "crosses"),
    [(["http-reuse safe"], False), (["http-reuse always", RETRY], True)],
    ids=["http-reuse safe", "retry-on empty-response"],
)
def test_control_either_option_gets_the_client_its_answer(lab, options, crosses):
    """A new connection for a client's first request; or for a request that RST has answered."""
    server, haproxy, _, path = play(lab, *options)
    client = lab.start(ask, path, name="second client")
    client.resume()
    server.run_to("executed 2")
    server.resume()
    assert client.finish() == "HTTP/1.1 200 OK"
    assert "502" not in haproxy.output()
    assert ("server R" in seen(lab)) == crosses


def test_a_clients_second_request_ends_without_an_answer(lab):
    """Even with http-reuse safe. HAProxy closes, so that the client retries, and logs nothing."""
    server, haproxy, client, _ = play(lab, "http-reuse safe", times=2)
    client.run_to("not answered")
    assert seen(lab) == ["server FA", "client PA", "server R"]
    assert haproxy.output().count("GET") == 1
    server.stay_blocked(in_="accept")


def test_a_post_that_must_not_be_repeated_still_gets_502(lab):
    """disable-l7-retry: HAProxy cannot know either whether the request was executed."""
    server, haproxy, _, path = play(lab, "http-reuse always", EXCEPT_POST)
    client = lab.start(ask, path, "POST", name="second client")
    assert client.finish() == "HTTP/1.1 502 Bad Gateway"
    haproxy.expect_output("POST 502 SH--")
    assert seen(lab) == ["server FA", "client PA", "server R"]
    server.stay_blocked(in_="accept")


def test_control_a_get_is_repeated_where_a_post_is_not(lab):
    """With the same options."""
    server, _, _, path = play(lab, "http-reuse always", EXCEPT_POST)
    client = lab.start(ask, path, name="second client")
    client.resume()
    server.run_to("executed 2")
    server.resume()
    assert client.finish() == "HTTP/1.1 200 OK"
