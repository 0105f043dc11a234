"""nginx resets its own answer if lingering_close is off and it cannot read the request to its end.

nginx reads a body that is too large while it answers 413, whatever lingering_close is set to, for
lingering_time at most (ngx_http_discarded_request_body_handler). So a client that is still sending
finishes, and reads the answer. A request whose headers are too large has no end that nginx knows:
it answers 400 after the first 8 KB. By default it then shuts down, reads on and closes later
(ngx_http_set_lingering_close). With lingering_close off it closes at once, and as the rest of the
request is unread, its kernel sends RST (response_lost_to_reset.py).

    client                                     server (nginx)
                 ── PA 60 KB of headers ──▶    reads 9 KB
                 ◀─────────────── PA 400 ──
    CLOSE_WAIT   ◀─────────────────── FA ──    lingering_close on: shutdown(), and reads the rest
    or
    CLOSED       ◀─────────────────── RA ──    lingering_close off: close()
    recv(): 400, ECONNRESET

Sources: RFC 9112, section 9.6; nginx's documentation, lingering_close. Kernel: __tcp_close. nginx:
the functions above, ngx_http_finalize_connection (src/http/ngx_http_request.c).
"""

import socket

from harness.inside.installed import find_program

BODY_BYTES = 8 << 20  # more than both kernels' buffers hold, so send() waits
UPLOAD = f"POST / HTTP/1.1\r\nHost: server\r\nContent-Length: {BODY_BYTES}\r\n\r\n".encode()
TOO_LARGE_HEADERS = b"GET / HTTP/1.1\r\nCookie: " + b"a" * 60_000 + b"\r\n\r\n"
NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address};
        client_max_body_size 1m;
        large_client_header_buffers 4 8k;
        lingering_close {lingering_close};
        lingering_timeout 1h;
    }}
}}
"""


def request(address, first, rest_bytes=0):
    """Send the first part, and the rest in the next step. What it reads: the status, the end."""
    connection = socket.create_connection(address)
    connection.sendall(first)
    yield "first part is sent"
    if rest_bytes:
        connection.sendall(bytes(rest_bytes))
    answer, end = b"", "end of stream"
    try:
        while data := connection.recv(65536):
            answer += data
    except ConnectionResetError:
        end = "ECONNRESET"
    yield "answer is read"
    return answer[9:12], answer[-9:].strip(), end


def start_nginx(lab, lingering_close):
    lab.protect_time_wait_from_late_acks()
    host, port = lab.server_address
    address = f"[{host}]:{port}" if lab.family == 6 else f"{host}:{port}"
    values = {"folder": lab.folder(), "address": address}
    config = lab.write_file("nginx.conf", NGINX.format(lingering_close=lingering_close, **values))
    nginx = lab.run_program([find_program("nginx", "nginx-light"), "-c", config])
    lab.expect_table(LISTEN=1)
    return nginx


def play_too_large_headers(lab, lingering_close):
    """nginx is stopped until all of the request has arrived."""
    nginx = start_nginx(lab, lingering_close)
    nginx.stop()
    client = lab.start(request, lab.server_address, TOO_LARGE_HEADERS, to="first part is sent")
    nginx.resume_process()
    client.run_to("answer is read")
    return client


def test_with_lingering_close_off_nginx_resets_its_answer(lab):
    """This client is waiting for the answer, and reads it; then comes the error."""
    client = play_too_large_headers(lab, "off")
    assert lab.wire()[-1] == "server RA"
    lab.expect_states(client="CLOSED", server="CLOSED")
    assert lab.counter("TcpExtTCPAbortOnClose") == 1
    assert client.finish() == (b"400", b"</html>", "ECONNRESET")


def test_control_by_default_nginx_lingers(lab):
    """The same request: the connection is half closed while nginx reads the rest."""
    client = play_too_large_headers(lab, "on")
    lab.expect_states(client="CLOSE_WAIT", server="FIN_WAIT2")
    assert lab.holders("server") == ["nginx"]
    assert client.finish() == (b"400", b"</html>", "end of stream")
    assert "R" not in "".join(lab.wire())
    lab.expect_states(client="CLOSED", server="TIME_WAIT")
    assert lab.counter("TcpExtTCPAbortOnClose") == 0


def test_control_nginx_reads_a_body_that_is_too_large(lab):
    """The answer has arrived before the client sends 8 MB more, and nginx does not close."""
    start_nginx(lab, "off")
    arguments = (UPLOAD + bytes(10_000), BODY_BYTES - 10_000)
    client = lab.start(request, lab.server_address, *arguments, to="first part is sent")
    lab.expect("the answer", True, lambda: lab.socket("client").recv_q > 0)
    assert lab.state("server") == "ESTABLISHED"
    assert client.finish() == (b"413", b"</html>", "end of stream")
    assert "R" not in "".join(lab.wire())
