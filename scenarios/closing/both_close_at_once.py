"""If both ends close at once, their FINs cross: both go through CLOSING, and both keep TIME_WAIT.

FIN_WAIT1 expects the ACK of its FIN. If the peer's FIN comes first, it cannot acknowledge a FIN
that had not arrived when it was sent, so the state is CLOSING: the peer's FIN is there, but the ACK
of this end's own FIN is not (tcp_fin). That ACK leads to TIME_WAIT. So neither end is the one that
closed first, and both wait for 60 s. CLOSING lasts for a round trip; it stays if that ACK is lost.
If only one FIN is late, or lost, only its sender meets CLOSING.

    client                                      server
    FIN_WAIT1    ── FA ──╲        ╱── FA ──     FIN_WAIT1
    CLOSING      ◀────────╲──────╱                 ACK of the server's FIN: on its way
                           ╲────────────────▶   CLOSING
                 ── A ───╲        ╱─── A ──
    TIME_WAIT    ◀────────╲──────╱
                           ╲────────────────▶   TIME_WAIT

SYNs can cross as well: two sockets that connect() to each other without any listener become one
connection, by way of SYN_RECV at both ends.

Here nothing arrives by itself while segments cross: what the kernel sends is dropped, and each
segment is then delivered by hand. Its copy has no DF bit, by which the rule distinguishes them.

Sources: RFC 9293, sections 3.5, 3.6 (case 3) and 3.10.7.4. Kernel: tcp_fin, tcp_rcv_state_process,
tcp_rcv_synsent_state_process in net/ipv4/tcp_input.c.
"""

import socket

PORT = 40001
BY_THE_KERNEL = "tcp sport > 0 meta mark 0"


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.close()
    yield "closed"


def call(address):
    connection = socket.create_connection(address, source_address=("", PORT))
    yield "connected"
    connection.close()
    yield "closed"


def connect_to_each_other(own_address, peers_address, listens=False):
    connection = socket.socket()
    connection.bind(own_address)
    yield "bound"
    if listens:
        connection.listen()
        yield "listening"
        connection, _ = connection.accept()
    else:
        connection.connect(peers_address)
    yield "connected"
    connection.sendall(b"hello")
    return connection.recv(5, socket.MSG_WAITALL)


def deliver(lab, kind, since=None):
    """The first such segment that was dropped; a later one may acknowledge what has come since."""
    found = zip(lab.segments(since), lab.wire(since), strict=False)
    lab.provoke(next(segment for segment, name in found if name == kind))


def play(lab):
    """Until both are connected."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, to="connected")
    server.run_to("accepted")
    return server, client


def repeat_for_minutes(lab):
    """A busy host may take seconds to deliver a segment by hand. New sockets take these over."""
    lab.set_sysctl("net.ipv4.tcp_rto_max_ms", 120_000, optional=True)
    lab.set_sysctl("net.ipv4.tcp_syn_retries", 6)
    lab.set_sysctl("net.ipv4.tcp_orphan_retries", 8)


def test_fins_that_cross_leave_time_wait_at_both_ends(lab):
    """One segment after the other."""
    repeat_for_minutes(lab)
    server, client = play(lab)
    lab.drop(BY_THE_KERNEL)
    client.run_to("closed")
    server.run_to("closed")
    lab.expect_states(client="FIN_WAIT1", server="FIN_WAIT1")

    deliver(lab, "client FA")
    lab.expect_states(client="FIN_WAIT1", server="CLOSING")
    deliver(lab, "server FA")
    lab.expect_states(client="CLOSING", server="CLOSING")
    deliver(lab, "server A", since="serve: closed")
    lab.expect_states(client="TIME_WAIT", server="CLOSING")
    deliver(lab, "client A", since="serve: closed")
    lab.expect_states(client="TIME_WAIT", server="TIME_WAIT")


def test_control_a_fin_that_arrives_first_leaves_one_time_wait(lab):
    """CLOSE_WAIT and LAST_ACK instead of CLOSING; the end that closed second keeps nothing."""
    server, client = play(lab)
    client.run_to("closed")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    server.run_to("closed")
    lab.expect_states(client="TIME_WAIT", server="CLOSED")
    assert "CLOSING" not in lab.path("client") + lab.path("server")


def test_a_lost_fin_brings_closing_to_its_sender_alone(lab):
    """The peer closes meanwhile. Once FIN is retransmitted, after 200 ms, both are in TIME_WAIT."""
    lab.set_sysctl("net.ipv4.tcp_orphan_retries", 8)  # at 1, FIN_WAIT1 ends after 1.6 s
    server, client = play(lab)
    lab.drop(f"tcp sport {PORT} tcp flags & fin == fin")
    client.run_to("closed")
    server.run_to("closed")
    lab.expect_states(client="CLOSING", server="FIN_WAIT2")
    lab.restore()
    lab.expect_states(client="TIME_WAIT", server="TIME_WAIT")


def start_both(lab, listens):
    ends = lab.server_address, lab.client_address(PORT)
    server = lab.start(connect_to_each_other, *ends, listens, name="server", to="bound")
    client = lab.start(connect_to_each_other, *reversed(ends), name="client", to="bound")
    return server, client


def test_syns_that_cross_open_one_connection(lab):
    """There is no listener. Both ends are SYN_SENT, then SYN_RECV."""
    repeat_for_minutes(lab)
    server, client = start_both(lab, listens=False)
    lab.drop(BY_THE_KERNEL)
    client.stay_blocked(in_="connect")
    server.stay_blocked(in_="connect")
    lab.expect_states(client="SYN_SENT", server="SYN_SENT")

    deliver(lab, "client S")
    lab.expect_states(client="SYN_SENT", server="SYN_RECV")
    deliver(lab, "server S")
    lab.expect_states(client="SYN_RECV", server="SYN_RECV")
    lab.restore()
    deliver(lab, "client SA")
    deliver(lab, "server SA")
    client.run_to("connected")
    server.run_to("connected")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    client.resume()
    assert server.finish() == b"hello"
    assert client.finish() == b"hello"
    assert not any(row.state == "LISTEN" for row in lab.sockets())


def test_a_syn_that_does_not_cross_is_refused(lab):
    """It finds a socket that is bound, and has not called connect() yet."""
    _, client = start_both(lab, listens=False)
    client.fail_with("ECONNREFUSED")
    assert lab.wire() == ["client S", "server RA"]


def test_control_a_listener_answers_a_syn_at_once(lab):
    """The usual case: SYN_SENT at one end only."""
    server, client = start_both(lab, listens=True)
    server.run_to("listening")
    client.run_to("connected")
    server.run_to("connected")
    assert lab.wire() == ["client S", "server SA", "client A"]
    assert lab.path("server") == ["SYN_RECV", "ESTABLISHED"]
