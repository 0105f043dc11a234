"""After close() no process waits for the peer: the kernel limits each state, each in its own way.

In FIN_WAIT1 the kernel retransmits the FIN until the time that tcp_orphan_retries stands for is
over; like tcp_retries2 it sets a time, not a number of retransmissions. FIN_WAIT2 has nothing to
retransmit: it ends after tcp_fin_timeout. TIME_WAIT ends after 60 s, whatever is set. A socket that
a process still holds stays in FIN_WAIT2 for as long as the process keeps it open: no sysctl limits
it. These tests read the values in effect, and expect what follows from them.

Two sysctls have special values. tcp_orphan_retries 0 means 8, or no retransmission once the RTO is
at its maximum. And tcp_fin_timeout is at least 3.5 RTO; if it is above 60 s, FIN_WAIT2 lasts twice
as long as the part above 60 s.

    client                                       server
    FIN_WAIT1    ── FA, FA, … ──────────────▶    CLOSE_WAIT
    CLOSED       lost ◀───────────── A, A, … ──              tcp_orphan_retries
    or
    FIN_WAIT2    ◀────────────────────── A ──
    CLOSED                                                   tcp_fin_timeout
    or
    TIME_WAIT    ◀───────────────────── FA ──    LAST_ACK
    CLOSED                                                   60 s

Sources: article 004; RFC 9293, 3.6 (close) and 3.6.1 (TIME-WAIT). Kernel: tcp_orphan_retries,
tcp_write_timeout; __tcp_close, tcp_fin_time, tcp_keepalive_timer; tcp_time_wait.
"""

import socket
import time

import pytest

from harness.predict import timers
from harness.stock_roles import rto_us

PORT = 40001
SCHEDULE = {  # of retransmissions, apart from what this file is about
    "tcp_sack": 1,
    "tcp_early_retrans": 3,
    "tcp_thin_linear_timeouts": 0,
    "tcp_rto_min_us": 200_000,
    "tcp_max_tw_buckets": 65536,  # an orphan's FIN_WAIT2 is a timewait socket, too
}


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.close()
    yield "closed"


def call(address, port, half_closes=False):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    if half_closes:
        connection.shutdown(socket.SHUT_WR)
        yield "half closed"
    print(rto_us(connection))
    yield "ready to close"
    connection.close()


def play(lab, half_closes):
    for key, value in SCHEDULE.items():
        lab.set_sysctl(f"net.ipv4.{key}", value, optional=True)
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, PORT, half_closes, to="connected")
    server.run_to("accepted")
    return server, client


def play_to_fin_wait2(lab):
    server, client = play(lab, half_closes=True)
    client.run_to("half closed")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    return server, client, client.run_to("ready to close")


def rto_s(client):
    return int(client.output()) / 1e6


@pytest.mark.waits(1)
def test_an_orphans_fin_wait2_ends_when_configured(lab):
    """Proves: 004-10, what tcp_fin_timeout does limit. Observes: net.ipv4.tcp_fin_timeout."""
    _, client, ready = play_to_fin_wait2(lab)
    client.finish()
    fin_timeout = int(lab.sysctl("net.ipv4.tcp_fin_timeout"))
    interval = timers.fin_wait2(fin_timeout, timers.tick_s(), rto_s(client))
    closed = lab.timeline.find("call: finished")
    lab.expect_lifetime("client", "FIN_WAIT2", interval, since=ready, begun_by=closed)
    assert lab.wire(since="ready to close") == []
    assert lab.state("server") == "CLOSE_WAIT"


def test_control_nothing_limits_a_fin_wait2_that_a_process_has(lab):
    """Proves: 004-10, by the process that still holds the socket: no timer, whatever is set."""
    play_to_fin_wait2(lab)
    assert lab.expect_socket("client", state="FIN_WAIT2").timer.name == "none"


@pytest.mark.waits(2)
def test_an_orphans_fin_wait1_ends_when_configured(lab):
    """Proves: 004-9, its end. Observes: net.ipv4.tcp_orphan_retries, tcp_rto_max_ms."""
    _, client = play(lab, half_closes=False)
    client.run_to("ready to close")
    retries = int(lab.sysctl("net.ipv4.tcp_orphan_retries"))
    others = lab.rto_max_s(), timers.tick_s()
    shortest = timers.fin_wait1_orphan(retries, timers.RTO_MIN_S, *others)
    lab.skip_if_longer_than_max_wait("the client's FIN_WAIT1 lasts", shortest)
    interval = timers.fin_wait1_orphan(retries, rto_s(client), *others)
    lab.drop(f"{lab.from_host('server')} tcp dport {PORT}")
    client.finish()
    fin, *_ = lab.segments(since="ready to close")
    lab.expect_lifetime("client", "FIN_WAIT1", interval, since=fin)
    assert set(lab.wire(since="ready to close")) == {"client FA", "server A"}
    assert lab.state("server") == "CLOSE_WAIT"


def test_time_wait_takes_60_s_whatever_is_set(lab):
    """Proves: 004-10. Observes: net.ipv4.tcp_fin_timeout, which has no effect here."""
    server, *_ = play_to_fin_wait2(lab)
    server.run_to("closed")
    timer = lab.expect_socket("client", state="TIME_WAIT").timer
    fin, *_ = lab.segments(since="ready to close")
    passed_s = (time.monotonic_ns() - fin.time_ns) / 1e9
    assert timer.name == "time_wait"
    assert timer.expires_s <= timers.TIME_WAIT_S <= timer.expires_s + passed_s + timers.tick_s()
    lab.finding("TIME_WAIT is set for", f"{timers.TIME_WAIT_S:g} s")
