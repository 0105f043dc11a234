"""A pulled cable is noticed only by what is sent: by silence, by an ICMP message, or by RST.

No segment is sent when a link goes down, so an idle connection stays ESTABLISHED at both ends. What
is sent then shows what has become of the path. Silence: it is sent again until ETIMEDOUT. A router
that has no route, or whose neighbour does not answer, says so by ICMP: the sender only notes it and
goes on as before, and the timeout ends with the noted error. After a fail-over another host has the
address, but not the connection: it answers RST, and the client fails at once.

    client              router                 server
    ESTABLISHED                   ✗ cable      ESTABLISHED: nothing is sent
                 ── PA ──▶✗                    silence, until ETIMEDOUT
                 ── PA ──▶ "unreachable"       no route (ENETUNREACH), no neighbour (EHOSTUNREACH)
                 ── PA ──────────────────▶     standby, which has the address now
    ECONNRESET   ◀────────────────── R ──      the old server is ESTABLISHED still

A host that has lost its own route (ip link set eth0 down) cannot send: its data waits as if for a
window of 0, with the timer that ss calls persist, and no retransmission is counted. If only the
carrier is lost, as by a cable, it counts retransmissions that never leave. If the link is back in
time, over IPv6 with its address, the connection goes on in either case.

Sources: RFC 1122, 4.2.3.5 and 4.2.3.9; RFC 6069; RFC 9293, 3.10.7.1. Kernel: tcp_write_err
(sk_err_soft), tcp_v4_err, ip_error, arp_error_report; __ip_queue_xmit, inet6_csk_xmit,
inet_sk_rebuild_header; tcp_check_probe_timer, tcp_probe_timer; noop_enqueue, linkwatch_do_dev.
"""

import socket

import pytest

from harness.predict import timers
from harness.stock_roles import rto_us

pytestmark = pytest.mark.network("routed")

DATA = b"data"
USER_TIMEOUT_S = 0.1
USER_TIMEOUT = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(USER_TIMEOUT_S * 1000))
KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 1),
]
RETRANSMISSION = {"retries2": 15, "sack": 1, "early_retrans": 3, "rto_min_us": 200_000}


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    while data := connection.recv(100):
        connection.sendall(data)
    yield "the client has closed"


def ask(address, options=(), later_options=(), connects_again=False):
    """Once before the fault and once after it; it returns the answer."""
    connection = socket.create_connection(address)
    for option in options:
        connection.setsockopt(*option)
    yield "connected"
    connection.sendall(DATA)
    connection.recv(100)
    print(rto_us(connection))
    yield "answered"
    connection.sendall(DATA)
    yield "sent"
    for option in later_options:
        connection.setsockopt(*option)
    try:
        return connection.recv(100)
    except ConnectionResetError:
        if not connects_again:
            raise
        yield "reset"
        connection = socket.create_connection(address)
        connection.sendall(DATA)
        return connection.recv(100)


def wait(address, options):
    """Ask once, and wait for what the server may send later."""
    connection = socket.create_connection(address)
    for option in options:
        connection.setsockopt(*option)
    yield "connected"
    connection.sendall(DATA)
    connection.recv(100)
    yield "answered"
    connection.recv(100)


def connect(lab, role, *arguments):
    """Until the client's first request is answered; both are idle then."""
    for key, value in RETRANSMISSION.items():
        lab.set_sysctl(f"net.ipv4.tcp_{key}", value, optional=True)
    server = lab.start(serve, lab.server_address, on="server", to="listening")
    client = lab.start(role, lab.server_address, *arguments, on="client", to="connected")
    server.run_to("accepted")
    server.resume()
    client.run_to("answered")
    return server, client


def expect_user_timeout(lab, client, icmp=False):
    """ICMP may start the RTO anew, which does not heed TCP_USER_TIMEOUT (tcp_ld_RTO_revert)."""
    rto_s = int(client.output()) / 1e6
    interval = timers.user_timeout(USER_TIMEOUT_S, rto_s, timers.tick_s())
    if icmp:
        interval = timers.Interval(interval.at_least_s, interval.at_most_s + rto_s)
    lab.expect_duration("until recv() fails", client.elapsed_s("answered", "failed"), interval)


def test_an_idle_connection_sees_nothing_at_either_end(lab):
    """Not even with TCP_USER_TIMEOUT, which is about what was sent; and it survives."""
    _, client = connect(lab, ask, [USER_TIMEOUT])
    lab.link_down("server", on="server")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert [lab.socket(end).timer.name for end in ("client", "server")] == ["none", "none"]
    lab.link_up("server", on="server")
    assert lab.wire(since="answered") == []
    assert client.finish() == DATA
    assert lab.lost() == []


def test_what_is_sent_into_silence_is_repeated_until_etimedout(lab):
    """The server's cable. The server sees neither that nor the client's end."""
    _, client = connect(lab, ask, [USER_TIMEOUT])
    lab.link_down("server", on="server")
    client.fail_with("ETIMEDOUT")
    expect_user_timeout(lab, client)
    sent = lab.wire(since="answered")
    assert set(sent) == {"client PA"}
    assert len(sent) == len(lab.lost()) == 1 + lab.counter("TcpRetransSegs") > 1
    lab.expect_states(client="CLOSED", server="ESTABLISHED")
    assert lab.socket("server").timer.name == "none"


def test_without_a_carrier_retransmissions_are_counted_but_none_leaves(lab):
    """The client's own cable, at the router's end: its routes and its address stay."""
    _, client = connect(lab, ask, [USER_TIMEOUT])
    lab.link_down("client", on="router")
    client.fail_with("ETIMEDOUT")
    expect_user_timeout(lab, client)
    assert lab.wire(since="answered") == []
    assert lab.counter("TcpRetransSegs") > 0


@pytest.mark.parametrize(
    ("fault", "error"), [("no route", "ENETUNREACH"), ("no neighbour", "EHOSTUNREACH")]
)
def test_the_routers_unreachable_only_names_the_error(lab, fault, error):
    """No sooner than in silence, but then "No route to host", on an established connection."""
    _, client = connect(lab, ask, [USER_TIMEOUT])
    if fault == "no route":
        lab.link_down("server", on="router")
    else:
        lab.lose_neighbour("server")
    client.fail_with(error)
    expect_user_timeout(lab, client, icmp=True)
    assert lab.counter("TcpRetransSegs") > 0
    lab.expect_states(client="CLOSED", server="ESTABLISHED")


def test_data_for_a_link_that_is_down_waits_unsent(lab):
    """The client's link, set down on the client: no route, so nothing is in flight or repeated."""
    _, client = connect(lab, ask)
    lab.link_down("client", on="client")
    client.run_to("sent")
    client.stay_blocked(in_="recv")
    assert lab.socket("client").timer.name == "zero_window_probe"
    assert lab.socket("client").send_q == len(DATA)
    assert lab.wire(since="answered") == []
    assert lab.counter("TcpRetransSegs") == 0
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    lab.link_up("client", on="client")
    assert client.finish() == DATA


def test_a_first_transmission_without_a_route_is_noted_over_ipv6_only(lab):
    """The client's link is down before it sends: the timeout's error depends on the family."""
    _, client = connect(lab, ask, [USER_TIMEOUT])
    lab.link_down("client", on="client")
    client.fail_with({4: "ETIMEDOUT", 6: "ENETUNREACH"}[lab.family])
    assert lab.wire(since="answered") == []


def test_a_retransmission_without_a_route_is_noted_over_both(lab):
    """Data was in flight when the client's link went down."""
    _, client = connect(lab, ask, [], [USER_TIMEOUT])
    lab.drop(f"{lab.from_host('client')} tcp flags & psh == psh")
    client.run_to("sent")
    lab.link_down("client", on="client")
    before = lab.counter("TcpExtTCPTimeouts")
    lab.expect("a timeout", True, lambda: lab.counter("TcpExtTCPTimeouts") > before)
    client.fail_with("ENETUNREACH")


def test_control_a_link_that_is_back_in_time_goes_on(lab):
    """The same cable, plugged in again: what was lost is repeated, and arrives."""
    _, client = connect(lab, ask)
    lab.link_down("server", on="server")
    client.run_to("sent")
    client.stay_blocked(in_="recv")
    lab.link_up("server", on="server")
    assert client.finish() == DATA
    assert lab.lost()
    assert lab.counter("TcpRetransSegs") > 0


def test_after_a_fail_over_the_next_segment_is_answered_by_rst(lab):
    """The fail-over itself sends nothing; the old server never learns of it."""
    _, client = connect(lab, ask)
    lab.fail_over()
    assert lab.wire(since="answered") == []
    client.run_to("sent")
    assert lab.wire(since="answered") == ["client PA", "server R"]
    lab.expect_states(client="CLOSED", server="ESTABLISHED")
    client.fail_with("ECONNRESET")
    assert lab.counter("TcpOutRsts") == 0


def test_a_fail_over_ends_the_retransmissions(lab):
    """The client hangs until then: the next retransmission meets the standby."""
    _, client = connect(lab, ask)
    lab.link_down("server", on="server")
    client.run_to("sent")
    client.stay_blocked(in_="recv")
    lab.fail_over()
    client.fail_with("ECONNRESET")
    assert lab.wire(since="answered", arrived=True) == ["client PA", "server R"]
    assert lab.counter("TcpExtTCPAbortOnTimeout") == 0


def test_control_a_client_that_connects_again_is_served_by_the_standby(lab):
    """What RST is good for in an orderly fail-over."""
    _, client = connect(lab, ask, [], [], True)
    lab.fail_over()
    standby = lab.start(serve, lab.server_address, name="standby", on="standby", to="listening")
    client.run_to("reset")
    client.resume()
    standby.run_to("accepted")
    standby.resume()
    assert client.finish() == DATA


@pytest.mark.waits(2)
def test_control_keepalive_notices_it_without_sending_data(lab):
    """For an idle client. Into silence: ETIMEDOUT after one probe."""
    _, client = connect(lab, wait, KEEPALIVE)
    lab.link_down("server", on="server")
    expect_keepalive(lab, client, "ETIMEDOUT", timers.keepalive(1, 1, 1, timers.tick_s()))


@pytest.mark.waits(1)
def test_control_keepalive_notices_a_fail_over(lab):
    """The first probe is answered by RST."""
    _, client = connect(lab, wait, KEEPALIVE)
    lab.fail_over()
    expect_keepalive(lab, client, "ECONNRESET", timers.one_timer(1, timers.tick_s()))
    assert lab.wire()[-2:] == ["client A", "server R"]


def expect_keepalive(lab, client, error, interval):
    *_, heard = [each for each in lab.segments() if each.source == lab.server_address]
    lab.expect_lifetime("client", "ESTABLISHED", interval, since=heard)
    client.fail_with(error)
