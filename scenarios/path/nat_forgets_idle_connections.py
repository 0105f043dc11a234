"""A router with NAT forgets a connection that is idle for too long, and neither end learns of it.

The router has a mapping for each connection: the client's port, and the port that the server sees.
Each segment renews it. If none comes for nf_conntrack_tcp_timeout_established, the mapping is gone,
and the router sends no message. The next segment is invalid (nf_conntrack_tcp_loose=0, tcp_new):

    client                  router                 server
    ESTABLISHED             mapping                ESTABLISHED
                            no mapping: idle for too long
    send()       ── PA ──✗  firewall: drop         ESTABLISHED, without a timer
    ETIMEDOUT
    or
    send()       ── PA ──✗  firewall: reject       ESTABLISHED, without a timer
    ECONNRESET   ◀── R ───
    or, if the server speaks first
    ESTABLISHED          its own address: no socket  ◀── PA ──  send()
    without a timer                                ─── R ──▶  ECONNRESET

By default (loose=1) Linux tracks the connection again. It goes on if the new mapping has the old
port; if not, the server answers with RST.

Cures: keepalive with both TCP_KEEPIDLE and TCP_KEEPINTVL below the limit, because after an answered
probe the next one is sent a TCP_KEEPINTVL later; an application's own ping; a longer limit.
TCP_USER_TIMEOUT only shortens the wait. Keepalive at the server frees it of its end.

At a limit of 0 s the router forgets a connection once it is established: then no story waits.

Sources: RFC 5382, REQ-5: the limit of a NAT must not be less than 2 hours 4 minutes. But Azure's
load balancer drops silently after 4 minutes by default (its documentation, "TCP reset and idle
timeout"), AWS Network Firewall after 350 s (FlowTimeouts). RFC 1122, 4.2.3.6. Kernel:
nf_conntrack_tcp_packet and tcp_new, nf_ct_is_expired; get_unique_tuple; tcp_keepalive_timer.
"""

import select
import socket
import time

import pytest

from harness.predict import timers
from harness.stock_roles import rto_us

pytestmark = pytest.mark.network("routed")

LIMIT = "net.netfilter.nf_conntrack_tcp_timeout_established"
LOOSE = "net.netfilter.nf_conntrack_tcp_loose"
LOSS_PROBE = "net.ipv4.tcp_early_retrans"  # 0: timeouts only
INVALID = "ct state invalid"
PORTS_IN_TURN = "meta l4proto tcp masquerade to :numgen inc mod 2 map { 0 : 50001, 1 : 50002 }"
IDLE_1_S = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1),
]
EVERY_SECOND = [*IDLE_1_S, (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)]
USER_TIMEOUT = [(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 300)]
RETRIES, PING_S, USER_TIMEOUT_S = 1, 0.7, 0.3
WITHIN_S = 5  # for what a timer of a second or two does
FORGETS_AT_ONCE, LIMIT_S, KEPT_S, LONG_S = 0, 1, 2, 60


def serve(address, options=()):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    for option in options:
        connection.setsockopt(*option)
    yield "accepted"
    while data := connection.recv(1):
        connection.sendall(data)


def ask(address, options=()):
    connection = socket.create_connection(address)
    for option in options:
        connection.setsockopt(*option)
    print(rto_us(connection))
    yield "connected"
    connection.sendall(b"?")
    yield "asked"
    connection.recv(1)
    yield "answered"


def publish(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.sendall(b"!")
    yield "published"
    connection.recv(1)


def subscribe(address):
    connection = socket.create_connection(address)
    yield "connected"
    connection.recv(1)


def ask_after_pings(address, pings):
    """It sends a ping each time that nothing has come for PING_S."""
    connection = socket.create_connection(address)
    yield "connected"
    for _ in range(pings):
        select.select([connection], [], [], PING_S)
        connection.sendall(b"p")
        connection.recv(1)
    yield "pings answered"
    connection.sendall(b"?")
    return connection.recv(1)


def play(lab, limit_s, firewall=None, nat="masquerade", server=(serve,), client=(ask,)):
    """Until both ends are connected. `server` and `client`: a role and its arguments."""
    lab.nat("srcnat", f"{lab.from_host('client')} {nat}")
    lab.set_sysctl(LOOSE, 0 if firewall else 1, on="router")
    lab.set_sysctl(LIMIT, limit_s, on="router")
    if firewall:
        firewall(lab)
    serving, *its_options = server
    asking, *others = client
    at_server = lab.start(serving, lab.server_address, *its_options, on="server", to="listening")
    at_client = lab.start(asking, lab.server_address, *others, on="client", to="connected")
    at_server.run_to("accepted")
    return at_server, at_client


def silent(lab):
    lab.drop(INVALID)


def rejecting(lab):
    lab.reject(INVALID, with_="tcp reset")


def probes_sent(lab):
    return lab.wire(since="accepted").count("client A")


def expect_only_the_client_knows(lab):
    """The server's end has no timer that would ever end it."""
    lab.expect_states(client="CLOSED", server="ESTABLISHED")
    assert lab.socket("server").timer.name == "none"


@pytest.mark.waits(2.7)
def test_the_request_after_the_silence_is_dropped_in_silence(lab):
    """The client retransmits until ETIMEDOUT; the server's end stays."""
    lab.set_sysctl("net.ipv4.tcp_retries2", RETRIES, on="client")
    lab.set_sysctl(LOSS_PROBE, 0, on="client")
    _, client = play(lab, LIMIT_S, silent)
    *_, third_ack = lab.segments()
    lab.expect("the router's mappings", [], lab.conntrack, within_s=WITHIN_S)
    kept_s = (time.monotonic_ns() - third_ack.time_ns) / 1e9
    tick_s = timers.tick_s()
    lab.expect_duration("the mapping lasts", kept_s, timers.Interval(LIMIT_S - tick_s, LIMIT_S))
    client.fail_with("ETIMEDOUT", within_s=WITHIN_S)
    rto_s = int(client.output()) / 1e6
    expected = timers.unacknowledged_data(RETRIES, rto_s, lab.rto_max_s(), tick_s, loss_probe=False)
    lab.expect_duration("until ETIMEDOUT", client.elapsed_s("connected", "failed"), expected)
    assert set(lab.wire(since="accepted")) == {"client PA"}
    assert lab.wire(since="accepted", arrived=True) == []
    expect_only_the_client_knows(lab)


def test_a_firewall_that_rejects_answers_with_reset(lab):
    """The client knows at once; the server as little as before."""
    _, client = play(lab, FORGETS_AT_ONCE, rejecting)
    client.run_to("asked")
    assert lab.wire(since="accepted") == ["client PA", "server R"]
    assert lab.wire(since="accepted", arrived=True) == ["server R"]  # in the server's name
    assert lab.counter("TcpOutRsts", on="server") == 0
    client.fail_with("ECONNRESET")
    expect_only_the_client_knows(lab)


def test_by_default_linux_tracks_the_connection_again(lab):
    """If the new mapping has the old port, which it keeps if it is free, both ends go on."""
    server, client = play(lab, FORGETS_AT_ONCE)
    assert lab.conntrack() == []
    lab.set_sysctl(LIMIT, LONG_S, on="router")
    server.resume()
    client.run_to("answered")
    [mapping] = lab.conntrack()
    assert mapping.answers_to == lab.socket("server").remote


def test_with_another_port_the_server_answers_with_reset(lab):
    """The server knows no connection with that port."""
    _, client = play(lab, FORGETS_AT_ONCE, nat=PORTS_IN_TURN)
    lab.set_sysctl(LIMIT, LONG_S, on="router")
    client.run_to("asked")
    assert lab.wire(since="accepted") == ["client PA", "server R"]
    assert lab.counter("TcpOutRsts", on="server") == 1
    *_, reset = lab.segments()
    assert reset.destination != lab.socket("server").remote
    client.fail_with("ECONNRESET")
    expect_only_the_client_knows(lab)


def test_what_the_server_sends_is_reset_by_the_router(lab):
    """Without a mapping it is for the router itself; the client waits, without any timer."""
    server, client = play(lab, FORGETS_AT_ONCE, server=(publish,), client=(subscribe,))
    client.stay_blocked(in_="recv")
    server.run_to("published")
    assert lab.wire(since="accepted") == ["server PA", "router R"]
    server.fail_with("ECONNRESET")
    lab.expect_states(client="ESTABLISHED", server="CLOSED")
    assert lab.socket("client").timer.name == "none"


def test_what_the_server_sends_is_dropped_by_a_silent_firewall(lab):
    """It drops the router's RST, too: the server retransmits, and the client waits."""
    server, client = play(lab, FORGETS_AT_ONCE, silent, server=(publish,), client=(subscribe,))
    client.stay_blocked(in_="recv")
    server.run_to("published")
    lab.expect_timer("server", "retransmit")
    assert lab.wire(since="accepted", arrived=True) == []
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert lab.socket("client").timer.name == "none"


@pytest.mark.waits(1)
def test_a_keepalive_interval_above_the_limit_comes_too_late(lab):
    """TCP_KEEPIDLE is the wait for the first probe, TCP_KEEPINTVL for the next: 75 s by default."""
    lab.set_sysctl("net.ipv4.tcp_keepalive_intvl", 75)
    play(lab, LONG_S, client=(ask, IDLE_1_S))
    lab.expect_wire(["client A", "server A"], since="accepted")
    [mapping] = lab.conntrack()
    next_probe = lab.socket("client").timer
    assert next_probe.name == "keepalive"
    assert mapping.expires_s <= LONG_S < next_probe.expires_s


def test_control_within_the_limit_the_answer_comes(lab):
    """The same for a longer limit. The server knows the client by an address of the router."""
    server, client = play(lab, LONG_S, silent)
    server.resume()
    client.run_to("answered")
    [mapping] = lab.conntrack()
    assert mapping.source == lab.socket("client").local
    assert mapping.answers_to == lab.socket("server").remote != mapping.source


@pytest.mark.waits(2)
def test_control_keepalive_below_the_limit_renews_the_mapping(lab):
    """Two probes, each answered; then the connection is as old as the limit, and still works."""
    server, client = play(lab, KEPT_S, silent, client=(ask, EVERY_SECOND))
    *_, third_ack = lab.segments()
    server.resume()
    lab.expect("two probes", True, lambda: probes_sent(lab) >= 2, within_s=WITHIN_S)
    *_, second_probe = [each for each in lab.segments() if each.destination == lab.server_address]
    assert lab.gap_s(third_ack, second_probe) >= KEPT_S
    client.run_to("answered")
    assert lab.lost() == []


@pytest.mark.waits(2.1)
def test_control_an_applications_ping_renews_it_as_well(lab):
    """Three pings; they also show that the server's program answers."""
    server, client = play(lab, KEPT_S, silent, client=(ask_after_pings, 3))
    server.resume()
    client.run_to("pings answered", within_s=WITHIN_S)
    assert client.elapsed_s("connected", "pings answered") >= KEPT_S
    assert client.finish() == b"?"
    assert lab.lost() == []


@pytest.mark.waits(1)
def test_control_keepalive_frees_the_server_of_its_end(lab):
    """It sends nothing by itself. Its probe is for the router, which answers with RST."""
    server, _ = play(lab, FORGETS_AT_ONCE, server=(serve, IDLE_1_S))
    server.fail_with("ECONNRESET", within_s=WITHIN_S)
    assert lab.wire(since="accepted") == ["server A", "router R"]
    lab.expect_states(client="ESTABLISHED", server="CLOSED")


def test_control_with_user_timeout_the_client_knows_early(lab):
    """Not after tcp_retries2, by default a quarter of an hour."""
    lab.set_sysctl(LOSS_PROBE, 0, on="client")
    _, client = play(lab, FORGETS_AT_ONCE, silent, client=(ask, USER_TIMEOUT))
    client.fail_with("ETIMEDOUT")
    rto_s = int(client.output()) / 1e6
    expected = timers.user_timeout(USER_TIMEOUT_S, rto_s, timers.tick_s(), loss_probe=False)
    lab.expect_duration("until ETIMEDOUT", client.elapsed_s("connected", "failed"), expected)
    assert set(lab.wire(since="accepted")) == {"client PA"}
    expect_only_the_client_knows(lab)
