"""If the last segments of a burst are lost, only a timer notices, and it may take 200 ms.

The ACKs of the segments behind a lost one report it at once. Behind the last segment there is
nothing, so the sender waits: for the tail loss probe (TLP), or else for its RTO, 200 ms and the
round trip. The probe retransmits the last segment. If others are outstanding as well, it comes
after two round trips and 2 ms. If there is only one, its ACK may just be delayed: so the kernel
adds the minimum RTO, and the probe comes about as late as a timeout would.

    client                                     server
    ESTABLISHED  ── PA ──────────────▶ lost    ESTABLISHED
                 ── PA ───────────────────▶    a probe, after 200 ms + 2 round trips
    or
                 ── PA ───────────────────▶
                 lost ◀─────────────── A ──    so two segments are outstanding
                 ── PA ──────────────▶ lost
                 ── PA, the last ─────────▶    a probe, after 2 ms + 2 round trips
    or
                 ── PA ──────────────▶ lost    tcp_early_retrans = 0
                 ── PA ───────────────────▶    a timeout, after 200 ms + the round trip

If the segments arrived, and only their ACK was lost, the answer to the probe shows it (DSACK).

Sources: RFC 8985, section 7 (TLP); RFC 6298; RFC 2883 (DSACK). Kernel: tcp_schedule_loss_probe,
tcp_send_loss_probe, tcp_process_tlp_ack; tcp_rto_min, __tcp_set_rto.
"""

import socket
import struct

import pytest

from harness.inside.installed import find_program
from harness.predict import timers

PORT = 40001
SEGMENT, SMALLER = 1000, 500  # bytes
DATA, ACKS = f"tcp sport {PORT} meta length > {SEGMENT}", f"tcp dport {PORT} tcp flags == ack"
PROBE_MARGIN_S = 0.002  # include/net/tcp.h, TCP_TIMEOUT_MIN_US
RTO_MIN = "net.ipv4.tcp_rto_min_us"
SHORT_RTO_MIN_S, RTO_MIN_BY_ROUTE = 0.02, "20ms"


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    while connection.recv(65536):
        pass


def send(address, sizes):
    """It prints its RTO and its smoothed round-trip time, both in microseconds."""
    connection = socket.socket()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT + 12)
    connection.bind(("", PORT))
    connection.connect(address)
    yield "connected"
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 72)
    print(*struct.unpack_from("8xI56xI", info))
    for size in sizes:
        connection.sendall(bytes(size))
    yield "sent"
    connection.sendall(bytes(1))
    yield "sent more"


def play(lab, *sizes, lost=(DATA,), early_retrans=3):
    """The client writes these sizes in turn; the first packet that matches each of `lost` is lost.

    Returns once all is acknowledged and read: the client, its RTO and SRTT (s), and the data
    segments sent.
    """
    for key, value in (("early_retrans", early_retrans), ("sack", 1), ("dsack", 1)):
        lab.set_sysctl(f"net.ipv4.tcp_{key}", value)
    lab.set_sysctl("net.ipv4.tcp_timestamps", 1)
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(send, lab.server_address, sizes)
    server.resume()
    for match in lost:
        lab.drop(f"{match} limit rate 1/hour burst 1 packets")
    client.run_to("sent")
    lab.expect_socket("client", state="ESTABLISHED", send_q=0)
    lab.expect_socket("server", state="ESTABLISHED", recv_q=0)
    rto_s, srtt_s = (int(word) / 1e6 for word in client.output().split())
    sent = [each for each in lab.segments() if each.length]
    return client, rto_s, srtt_s, sent


def probe(srtt_s, margin_s, rto_s):
    """After two round trips and a margin, but no later than a timeout."""
    return timers.one_timer(min(2 * srtt_s + margin_s, rto_s), timers.tick_s())


def expect_repaired(lab, *, probes, timeouts):
    assert lab.counter("TcpExtTCPLossProbes") == probes
    assert lab.counter("TcpExtTCPTimeouts") == timeouts


def test_one_lost_segment_is_probed_as_late_as_a_timeout(lab):
    """200 ms, on a path of microseconds. The next ACK shows that the probe repaired a loss."""
    lab.set_sysctl(RTO_MIN, 200_000, optional=True)
    client, rto_s, srtt_s, (lost, repeated) = play(lab, SEGMENT)
    expected = probe(srtt_s, timers.RTO_MIN_S, rto_s)
    lab.expect_duration("the probe of one segment", lab.gap_s(lost, repeated), expected)
    assert (repeated.seq, repeated.length) == (lost.seq, SEGMENT)
    assert lab.wire(since="connected") == ["client PA", "client PA", "server A"]
    expect_repaired(lab, probes=1, timeouts=0)
    assert lab.counter("TcpExtTCPLossProbeRecovery") == 0
    client.run_to("sent more")
    assert lab.counter("TcpExtTCPLossProbeRecovery") == 1


def test_with_two_outstanding_the_probe_comes_after_two_round_trips(lab):
    """The ACK of the first was lost; the probe retransmits the last, and its ACK is for both."""
    client, rto_s, srtt_s, sent = play(lab, SMALLER, SEGMENT, lost=(ACKS, DATA))
    assert [each.length for each in sent] == [SMALLER, SEGMENT, SEGMENT]
    _, lost, repeated = sent
    expected = probe(srtt_s, PROBE_MARGIN_S, rto_s)
    lab.expect_duration("the probe of two segments", lab.gap_s(lost, repeated), expected)
    assert repeated.seq == lost.seq
    expect_repaired(lab, probes=1, timeouts=0)
    client.run_to("sent more")
    assert lab.counter("TcpExtTCPLossProbeRecovery") == 1


@pytest.mark.parametrize(
    ("sizes", "lost"),
    [((SEGMENT,), (DATA,)), ((SMALLER, SEGMENT), (ACKS, DATA))],
    ids=["one outstanding", "two outstanding"],
)
def test_without_probes_a_timeout_repairs_the_tail(lab, sizes, lost):
    """tcp_early_retrans = 0: the RTO, however many are outstanding; it retransmits the first."""
    lab.set_sysctl(RTO_MIN, 200_000, optional=True)
    _, rto_s, _, sent = play(lab, *sizes, lost=lost, early_retrans=0)
    first, repeated = sent[0], sent[len(sizes)]
    assert rto_s >= timers.RTO_MIN_S
    rto = timers.one_timer(rto_s, timers.tick_s())
    lab.expect_duration("the timeout", lab.gap_s(first, repeated), rto)
    assert repeated.seq == first.seq
    assert lab.counter("TcpExtTCPLossProbes") == 0
    # RACK repairs the second one, or a timeout of its own does: if the ACK of the retransmitted
    # first one comes sooner than any before, it counts as the original's (tcp_rack_advance).
    assert 1 <= lab.counter("TcpExtTCPTimeouts") <= len(sizes)


def test_dsack_says_that_the_probe_was_not_needed(lab):
    """Only the ACK of two segments was lost, which were one packet; the second arrives twice."""
    client, rto_s, srtt_s, segments = play(lab, 2 * SEGMENT, lost=(ACKS,))
    assert [each.length for each in segments] == [2 * SEGMENT, SEGMENT]
    sent, repeated = segments
    expected = probe(srtt_s, PROBE_MARGIN_S, rto_s)
    lab.expect_duration("the needless probe", lab.gap_s(sent, repeated), expected)
    expect_repaired(lab, probes=1, timeouts=0)
    assert lab.counter("TcpExtTCPDSACKOldSent") == lab.counter("TcpExtTCPDSACKRecv") == 1
    client.run_to("sent more")
    assert lab.counter("TcpExtTCPLossProbeRecovery") == 0


def test_control_a_loss_in_the_middle_waits_for_no_timer(lab):
    """Four writes, and the first is lost: the SACKs of the others repair it, without any probe."""
    lab.set_sysctl(RTO_MIN, 200_000, optional=True)
    # Two SACKs may be enough. Then a probe may retransmit the last segment: its ACK may be delayed.
    _, _, _, sent = play(lab, *[SEGMENT] * 4, early_retrans=0)
    assert sorted(each.length for each in sent) == [SEGMENT] * 5
    assert sum(each.seq == sent[0].seq for each in sent) == 2
    expect_repaired(lab, probes=0, timeouts=0)
    assert lab.counter("TcpExtTCPFastRetrans") == 1


def set_rto_min_by_sysctl(lab):
    lab.require_sysctl(RTO_MIN, since="Linux 6.11")
    lab.set_sysctl(RTO_MIN, round(SHORT_RTO_MIN_S * 1e6))


def set_rto_min_by_route(lab):
    (host, _), (own, _) = lab.server_address, lab.client_address(PORT)
    route = f"route replace local {host} dev lo table local src {own} rto_min {RTO_MIN_BY_ROUTE}"
    assert lab.run_program([find_program("ip", "iproute2"), *route.split()]).finish() == 0


@pytest.mark.parametrize("set_rto_min", [set_rto_min_by_sysctl, set_rto_min_by_route])
@pytest.mark.parametrize("early_retrans", [0, 3])
def test_control_a_smaller_rto_min_shortens_both(lab, set_rto_min, early_retrans):
    """The timeout and the probe of one segment."""
    set_rto_min(lab)
    _, rto_s, srtt_s, (lost, repeated) = play(lab, SEGMENT, early_retrans=early_retrans)
    assert SHORT_RTO_MIN_S <= rto_s < timers.RTO_MIN_S
    margin_s = SHORT_RTO_MIN_S if early_retrans else rto_s
    expected = probe(srtt_s, margin_s, rto_s)
    lab.expect_duration("until it is repeated", lab.gap_s(lost, repeated), expected)
    expect_repaired(lab, probes=early_retrans // 3, timeouts=1 - early_retrans // 3)
