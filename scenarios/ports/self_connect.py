"""connect() to a closed port of its own host may connect to itself: one socket is both ends.

A client that tries again and again to reach a service of its own host, which is down, may be given
the service's port as its own. Then its SYN comes back to the socket that sent it, in SYN_SENT: a
simultaneous open with itself. The client believes that the service is up, and reads its own request
as the answer. The service cannot start any more: its port is taken, by its client.

    client 45000, and no server                client 45000, the same socket
    SYN_SENT     ── S ────────────────────▶    SYN_RECV
    ESTABLISHED  ◀─────────────────── SA ──    (the same sequence number)
                 ── A ────────────────────▶    ESTABLISHED
                 ── PA (request) ─────────▶    recv() returns the request
    FIN_WAIT1    ── FA ───────────────────▶    CLOSING
    TIME_WAIT    ◀──────────────────── A ──    60 s: the service still cannot start

Sources: RFC 9293, section 3.5 (simultaneous open, figure 7). Kernel: tcp_rcv_synsent_state_process
in net/ipv4/tcp_input.c ("Particularly, it can be connect to self."); __inet_hash_connect, which
does not compare the two ports; inet_bind_conflict.
"""

import socket

from harness.predict import timers
from harness.stock_roles import reset_on_close

RESERVED = "net.ipv4.ip_local_reserved_ports"
PORT, OTHER_PORT = 45000, 45001
ANY_HOST = ""
REQUEST = b"request"


def retry(address, checks=False, closes_by_reset=False):
    """A client that tries until it connects."""
    connection = None
    while not connection:
        try:
            connection = socket.create_connection(address)
        except ConnectionRefusedError:
            yield "refused"
    if checks and connection.getsockname() == connection.getpeername():
        if closes_by_reset:
            reset_on_close(connection)
        connection.close()
        yield "found out"
        return
    yield "connected"
    connection.sendall(REQUEST)
    answer = connection.recv(100)
    yield f"received {answer}"
    connection.close()
    yield "closed"


def serve(address):
    listener = socket.create_server(address)  # it sets SO_REUSEADDR
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"answer to " + connection.recv(100))


def start_service(lab):
    return lab.start(serve, (ANY_HOST, PORT), name="service")


def ports_of_syns(lab):
    return [segment.source[1] for segment in lab.segments() if segment.flags == "S"]


def play(lab, *arguments):
    """The service is down. The client is refused, and then given the service's port as its own."""
    lab.set_ephemeral_ports([OTHER_PORT])
    client = lab.start(retry, lab.client_address(PORT), *arguments, to="refused")
    assert lab.wire() == ["client S", "client RA"]
    lab.set_ephemeral_ports([PORT])
    return client


def test_a_client_that_tries_again_connects_to_itself(lab):
    """One socket has both ends. It has never been a listener: PassiveOpens stays 0."""
    client = play(lab)
    client.run_to("connected")
    syn, syn_ack, ack = lab.segments(since="refused")
    assert [syn.flags, syn_ack.flags, ack.flags] == ["S", "SA", "A"]
    assert syn.source == syn.destination == lab.client_address(PORT)
    assert (syn_ack.seq, syn_ack.ack) == (syn.seq, (syn.seq + 1) % 2**32)
    lab.expect_table(ESTABLISHED=1)
    end = lab.expect_socket("client", PORT, state="ESTABLISHED")
    assert end.local == end.remote
    assert lab.path("client", PORT)[-3:] == ["SYN_SENT", "SYN_RECV", "ESTABLISHED"]
    assert (lab.counter("TcpActiveOpens"), lab.counter("TcpPassiveOpens")) == (2, 0)


def test_its_request_comes_back_as_the_answer(lab):
    """Neither send() nor recv() shows the client that there is no server."""
    client = play(lab)
    client.run_to("connected")
    client.run_to(f"received {REQUEST}")
    lab.expect_wire(["client PA", "client A"], since="connected")


def test_the_service_cannot_start_any_more(lab):
    """Its own client has the port; then TIME_WAIT has it for 60 s. SO_REUSEADDR does not help."""
    client = play(lab)
    client.run_to("connected")
    start_service(lab).fail_with("EADDRINUSE")
    assert lab.holders("client", PORT) == ["retry"]
    answered = client.run_to(f"received {REQUEST}")
    lab.expect_wire(["client PA", "client A"], since="connected")
    client.run_to("closed")
    assert lab.wire(since=answered)[-2:] == ["client FA", "client A"]
    assert lab.path("client", PORT)[-3:] == ["FIN_WAIT1", "CLOSING", "TIME_WAIT"]
    row = lab.expect_socket("client", PORT, state="TIME_WAIT", inode=0)
    assert 0 < row.timer.expires_s <= timers.TIME_WAIT_S
    start_service(lab).fail_with("EADDRINUSE")


def test_a_client_that_finds_out_and_closes_leaves_time_wait(lab):
    """The check alone does not free the port for the service."""
    play(lab, True).run_to("found out")
    lab.expect_states(client="TIME_WAIT", port=PORT)
    start_service(lab).fail_with("EADDRINUSE")


def test_control_a_check_and_a_reset_free_the_port_at_once(lab):
    """getsockname() == getpeername(), then SO_LINGER with 0 s, then close()."""
    play(lab, True, True).run_to("found out")
    assert lab.wire(since="refused") == ["client S", "client SA", "client A", "client RA"]
    assert lab.counter("TcpExtTCPAbortOnData") == 1
    lab.expect_table()
    start_service(lab).run_to("listening")


def test_control_with_a_range_apart_the_client_is_refused(lab):
    """It tries again, and reaches the service once that listens."""
    lab.set_ephemeral_ports([OTHER_PORT])
    client = lab.start(retry, lab.client_address(PORT), to="refused")
    client.run_to("refused")
    assert ports_of_syns(lab) == [OTHER_PORT, OTHER_PORT]
    service = start_service(lab)
    service.run_to("listening")
    service.resume()
    client.run_to("connected")
    client.run_to(f"received {b'answer to ' + REQUEST}")


def test_control_with_the_port_reserved_the_client_is_refused(lab):
    """The only other port of the range is OTHER_PORT; bind() may have the reserved one."""
    lab.set_ephemeral_ports([PORT, OTHER_PORT])
    lab.set_sysctl(RESERVED, PORT)
    client = lab.start(retry, lab.client_address(PORT), to="refused")
    client.run_to("refused")
    assert ports_of_syns(lab) == [OTHER_PORT, OTHER_PORT]
    start_service(lab).run_to("listening")
