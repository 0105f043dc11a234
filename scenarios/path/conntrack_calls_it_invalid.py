"""One segment outside conntrack's window passes a DNAT untranslated, and resets the connection.

A client reaches a server through a service address, which a router translates (DNAT). Conntrack
translates the answers back, but not what it calls INVALID: a segment that does not fit into the
windows that it has seen. Unless a rule drops it, it arrives from the server's own address. The
client's host knows no such connection and answers with RST, with exactly the number that the
server expects.

    client                  router                 server
    ESTABLISHED to the router's address            ESTABLISHED
                 ◀── from the server ── PA ──      not in the window
    no such connection
                 ── R ──▶            ── R ──▶      CLOSED: recv() ECONNRESET
    ESTABLISHED: it has received nothing
    send()       ── PA ──▶           ── PA ──▶
    ECONNRESET   ◀── from the router ──  R ──

The segment is made by hand, as in Kubernetes' regression test (regression-issue-74839). That one
lies 100,000 bytes before the stream, and is harmless today: since 6e250dcbff1d ("netfilter:
conntrack: ignore overly delayed tcp packets") conntrack translates what is too old, such as a late
retransmission, and since cf97769c761a what is ahead of the window by no more than one window.

Cures: drop what is INVALID, or nf_conntrack_tcp_be_liberal=1.

Sources: kubernetes issue 74839; RFC 5961, section 3.2; RFC 9293, section 3.10.7.1. Kernel:
nf_conntrack_tcp_packet, tcp_in_window, nf_tcp_log_invalid; tcp_v4_send_reset,
tcp_validate_incoming.
"""

import socket
from dataclasses import replace

import pytest

pytestmark = pytest.mark.network("routed")

ANSWER_BYTES = 100
DOWNLOAD_BYTES = 16 << 20  # more than both sockets' buffers take
FAR_AHEAD = 16 << 20  # more than two windows of any size
TOO_OLD = -100_000
DROP_INVALID = "ct state invalid drop"
LIBERAL = "net.netfilter.nf_conntrack_tcp_be_liberal"


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    while connection.recv(1):
        connection.sendall(bytes(ANSWER_BYTES))


def ask(address, asks_again=True):
    connection = socket.create_connection(address)
    yield "connected"
    connection.sendall(b"?")
    connection.recv(ANSWER_BYTES, socket.MSG_WAITALL)
    yield "answered"
    yield "idle"
    if asks_again:
        connection.sendall(b"?")
    return len(connection.recv(ANSWER_BYTES, socket.MSG_WAITALL))


def upload(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.sendall(bytes(DOWNLOAD_BYTES))


def download(address):
    connection = socket.create_connection(address)
    yield "connected"
    while connection.recv(ANSWER_BYTES):
        pass


def play(lab, *, asks_again=True, liberal=False, rule=""):
    """Until the client has an answer, and the server its acknowledgement."""
    service = lab.dnat(lab.server_address)
    lab.set_sysctl(LIBERAL, int(liberal), on="router")
    if rule:
        lab.forward_rule(rule)
    server = lab.start(serve, lab.server_address, on="server", to="listening")
    client = lab.start(ask, service, asks_again, on="client", to="connected")
    server.run_to("accepted")
    server.resume()
    client.run_to("answered")
    lab.expect_socket("server", send_q=0)
    client.run_to("idle")
    return server, client


def send_made_up(lab, *, ahead=0, acked=0):
    """The latest data of the server again, with other numbers."""
    *_, latest = [each for each in lab.segments() if each.length]
    seq, ack = (latest.seq + ahead) % 2**32, (latest.ack + acked) % 2**32
    lab.provoke(replace(latest, seq=seq, ack=ack), payload=bytes(ANSWER_BYTES))


def assert_untranslated(lab):
    """The segment and its answer, RST, arrive as they were sent."""
    assert lab.wire(since="idle")[:2] == ["server PA", "client R"]
    assert lab.wire(since="idle", arrived=True)[:2] == ["server PA", "client R"]
    made_up, reset, *_ = lab.segments(since="idle", arrived=True)
    assert (reset.source, reset.destination) == (made_up.destination, lab.server_address)
    assert reset.seq == made_up.ack


def assert_goes_on(lab, client):
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert client.finish() == ANSWER_BYTES
    assert lab.counter("TcpEstabResets") == 0


def test_a_segment_out_of_the_window_resets_both_ends(lab):
    """The server at once; the client with its next request, as it has not received anything."""
    server, client = play(lab)
    send_made_up(lab, ahead=FAR_AHEAD)
    assert_untranslated(lab)
    lab.expect_states(client="ESTABLISHED", server="CLOSED")
    server.fail_with("ECONNRESET")
    client.fail_with("ECONNRESET")
    assert lab.wire(since="serve: failed") == ["client PA", "server R"]
    assert lab.wire(since="serve: failed", arrived=True) == ["client PA", "router R"]
    assert [lab.counter("TcpOutRsts", on=host) for host in ("client", "server")] == [1, 1]
    assert [lab.counter("TcpEstabResets", on=host) for host in ("client", "server")] == [1, 1]


def test_a_client_that_only_reads_is_never_told(lab):
    """Its connection stays ESTABLISHED without a timer: a download that hangs."""
    server, client = play(lab, asks_again=False)
    send_made_up(lab, ahead=FAR_AHEAD)
    server.fail_with("ECONNRESET")
    client.stay_blocked(in_="recv")
    assert_untranslated(lab)
    lab.expect_states(client="ESTABLISHED", server="CLOSED")
    assert lab.socket("client").timer.name == "none"


def test_a_download_ends_with_connection_reset_by_peer(lab):
    """curl: (56). The client's next ACK, at the latest a window update, is answered by RST."""
    service = lab.dnat(lab.server_address)
    server = lab.start(upload, lab.server_address, on="server", to="listening")
    client = lab.start(download, service, on="client", to="connected")
    server.run_to("accepted")
    server.stay_blocked(in_="send")
    send_made_up(lab, ahead=FAR_AHEAD)
    server.fail_with("ECONNRESET")
    client.fail_with("ECONNRESET")
    arrived = lab.wire(arrived=True)
    after_the_reset = arrived[arrived.index("client R") + 1 :]
    assert {"client A", "router R"} <= set(after_the_reset)  # a loss probe may be there, too


def test_control_a_segment_in_the_window_is_translated(lab):
    """An exact repetition, as after a lost ACK: the client acknowledges it again."""
    _, client = play(lab)
    send_made_up(lab)
    assert lab.wire(since="idle", arrived=True) == ["router PA", "client A"]
    assert_goes_on(lab, client)


def test_control_a_router_that_drops_invalid_segments(lab):
    """The first cure: what the router drops, nobody answers."""
    _, client = play(lab, rule=DROP_INVALID)
    send_made_up(lab, ahead=FAR_AHEAD)
    assert lab.wire(since="idle") == ["server PA"]
    assert lab.lost() == lab.segments(since="idle")
    assert_goes_on(lab, client)


def test_control_a_liberal_conntrack_translates_it(lab):
    """The second cure: the client's own connection rejects the segment, and answers with an ACK."""
    _, client = play(lab, liberal=True)
    send_made_up(lab, ahead=FAR_AHEAD)
    assert lab.wire(since="idle", arrived=True) == ["router PA", "client A"]
    assert lab.counter("TcpExtTCPDSACKOldSent") == 0  # which says that it was no repetition
    assert_goes_on(lab, client)


def test_a_segment_that_is_too_old_is_translated_since_6e250dcbff1d(lab):
    """The one of Kubernetes' regression test, which shows nothing on a later kernel."""
    server, client = play(lab)
    send_made_up(lab, ahead=TOO_OLD)
    if lab.wire(since="idle", arrived=True) == ["router PA", "client A"]:
        assert_goes_on(lab, client)
    else:
        assert_untranslated(lab)
        server.fail_with("ECONNRESET")


@pytest.mark.parametrize(
    ("ahead", "acked", "challenged"), [(FAR_AHEAD, -1, []), (0, 1, ["server A"])]
)
def test_control_a_reset_with_another_number_ends_nothing(lab, ahead, acked, challenged):
    """RFC 5961: it must be exact, so downloads are hit: there the server's ack stays the same.

    What acknowledges more than conntrack has seen is INVALID as well, but its RST is challenged.
    """
    _, client = play(lab)
    send_made_up(lab, ahead=ahead, acked=acked)
    assert_untranslated(lab)
    assert lab.wire(since="idle")[2:] == challenged
    assert lab.counter("TcpExtTCPChallengeACK") == len(challenged)
    assert_goes_on(lab, client)
