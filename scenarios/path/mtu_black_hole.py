"""Small answers arrive and the first large one hangs, if a firewall drops "packet too big".

A sender learns the smallest MTU on the path from routers: they drop a packet that is too big for
the next link, and say so by ICMP. If a firewall drops that message, the sender repeats segments of
the same size, which never arrive. The handshake and small requests work, because they are small.

    client                  router                 server
    ESTABLISHED                                    ESTABLISHED, has sent a small answer
                     MTU 1400 ✗◀─────── A 1448 ──  large answer
                     "too big" ──✗ firewall
    recv() blocks            ✗◀──────── A 1448 ──  timeouts, until ETIMEDOUT

Cures: let the message through; let the router lower the MSS in the SYNs that it forwards; or
tcp_mtu_probing=1, after some timeouts. At 2 an end that connects begins with tcp_base_mss, but an
end that accepts begins with segments as large as ever: its MSS is set before probing is
(tcp_v4_syn_recv_sock, and later tcp_init_transfer, tcp_mtup_init).

Sources: RFC 1191, section 6.4; RFC 8201; RFC 2923, section 2.1; RFC 4821. Kernel: ip_forward
(ip_exceeds_mtu), ip6_forward; tcp_v4_mtu_reduced; tcp_mtu_probing, tcp_write_timeout.
"""

import socket

import pytest

pytestmark = pytest.mark.network("routed")

MTU = 1400
SMALL, LARGE = 10, 20_000
HEADERS = {4: 20 + 20 + 12, 6: 40 + 20 + 12}  # by family: IP, TCP, its timestamps
TOO_BIG = {4: "icmp code frag-needed", 6: "icmpv6 type packet-too-big"}
CLAMP = "tcp flags syn tcp option maxseg size set rt mtu"
PROBING, BASE_MSS = "net.ipv4.tcp_mtu_probing", 1024


def serve(address, sizes):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    for size in sizes:
        connection.recv(1)
        connection.sendall(bytes(size))
    connection.recv(1)
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)


def read(address, sizes):
    connection = socket.create_connection(address)
    yield "connected"
    for size in sizes:
        connection.sendall(b"?")
        connection.recv(size, socket.MSG_WAITALL)
        yield f"{size} bytes read"


def receive(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    return len(connection.recv(LARGE, socket.MSG_WAITALL))


def upload(address):
    connection = socket.create_connection(address)
    connection.sendall(bytes(LARGE))
    yield "sent"


def play(lab, *, messages_pass=False, clamps=False):
    """Until the client has read a small answer; the server's next one is large."""
    lab.set_mtu("client", MTU)
    if not messages_pass:
        lab.drop(TOO_BIG[lab.family])
    if clamps:
        lab.forward_rule(CLAMP)
    server = lab.start(serve, lab.server_address, [SMALL, LARGE], on="server", to="listening")
    client = lab.start(read, lab.server_address, [SMALL, LARGE], on="client", to="connected")
    server.run_to("accepted")
    server.resume()
    client.run_to("10 bytes read")
    return server, client


def largest(lab):
    """The MSS of the link, less the timestamps: what a sender uses that knows only its own link."""
    return 1500 - HEADERS[lab.family]


def data_sizes(segments):
    return [each.length for each in segments if each.length]


def wait_for_timeouts(lab, count):
    lab.expect("timeouts", True, lambda: lab.counter("TcpExtTCPTimeouts") >= count)


def test_a_large_answer_is_sent_again_and_never_arrives(lab):
    """The server repeats it at the same size; nothing tells either end."""
    _, client = play(lab)
    client.stay_blocked(in_="recv")
    wait_for_timeouts(lab, 1)
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert lab.socket("server").send_q == LARGE
    assert lab.socket("server").timer.name == "retransmit"
    lost = data_sizes(lab.lost())
    assert set(lost[-2:]) == {largest(lab)}
    assert "server PA" not in lab.wire(since="10 bytes read", arrived=True)
    assert lab.icmp_errors() == []


def test_control_the_routers_message_makes_the_segments_smaller(lab):
    """The first cure. The large ones are lost, but the message comes at once: no timeout."""
    server, client = play(lab, messages_pass=True)
    client.finish()
    assert data_sizes(lab.lost())
    assert {error.mtu for error in lab.icmp_errors()} == {MTU}
    assert lab.counter("TcpExtTCPTimeouts") == 0
    assert server.finish() == MTU - HEADERS[lab.family]


def test_control_a_router_that_lowers_the_mss_loses_nothing(lab):
    """The second cure, where the message cannot pass."""
    server, client = play(lab, clamps=True)
    client.finish()
    assert lab.lost() == []
    assert server.finish() == MTU - HEADERS[lab.family]


@pytest.mark.waits(1.4)
@pytest.mark.parametrize(("probing", "tried"), [(1, BASE_MSS), (2, BASE_MSS // 2)])
def test_control_probing_gets_an_answer_through_after_timeouts(lab, probing, tried):
    """The third cure: for tcp_retries1 timeouts it still hangs, at 2 as well."""
    lab.set_sysctl(PROBING, probing)
    lab.set_sysctl("net.ipv4.tcp_base_mss", BASE_MSS)
    lab.set_sysctl("net.ipv4.tcp_retries1", 1)
    _, client = play(lab)
    client.run_to("20000 bytes read", within_s=10)
    assert lab.counter("TcpExtTCPTimeouts") > 1
    *_, latest_lost = data_sizes(lab.lost())
    assert latest_lost == largest(lab)
    first_arrived, *_ = data_sizes(
        each
        for each in lab.segments(since="10 bytes read", arrived=True)
        if each.source == lab.server_address
    )
    assert first_arrived == tried


@pytest.mark.parametrize(("probing", "arrives"), [(1, False), (2, True)])
def test_probing_from_the_beginning_helps_the_end_that_connects(lab, probing, arrives):
    """An upload, with the small MTU towards the server."""
    lab.set_sysctl(PROBING, probing)
    lab.set_mtu("server", MTU)
    lab.drop(TOO_BIG[lab.family])
    server = lab.start(receive, lab.server_address, on="server", to="listening")
    lab.start(upload, lab.server_address, on="client", to="sent")
    if arrives:
        assert server.finish() == LARGE
        assert lab.counter("TcpExtTCPTimeouts") == 0
    else:
        wait_for_timeouts(lab, 1)
        assert lab.socket("client").send_q == LARGE
