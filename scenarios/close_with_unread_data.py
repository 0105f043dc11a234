"""close() with unread data sends RST in place of FIN, and no TIME_WAIT remains.
"""

import socket

REQUEST = b"GET / HTTP/1.1\r\n\r\n"


def serve(address, reads_request):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    if reads_request:
        connection.recv(len(REQUEST))
    yield "ready to close"
    connection.close()
    yield "closed"


def request(address):
    connection = socket.create_connection(address)
    connection.sendall(REQUEST)
    yield "sent"
    connection.recv(1)


def play(lab, reads_request):
    server = lab.start(serve, lab.server_address, reads_request)
    client = lab.start(request, lab.server_address)
    server.run_to("listening")
    client.run_to("sent")
    server.run_to("ready to close")
    server.run_to("closed")
    return client


def test_unread_data_turns_close_into_a_reset(lab):
    client = play(lab, reads_request=False)
    assert lab.wire(since="ready to close") == ["server RA"]
    lab.expect_states(server="CLOSED", client="CLOSED")
    assert lab.counter("TcpExtTCPAbortOnClose") == 1
    client.fail_with("ECONNRESET")


def test_control(lab):
    client = play(lab, reads_request=True)
    lab.expect_states(server="FIN_WAIT2", client="CLOSE_WAIT")
    assert lab.wire(since="ready to close") == ["server FA", "client A"]
    client.finish()
