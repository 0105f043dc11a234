"""How many ports a client has towards one server, and when a TIME_WAIT gives one back, as the sysctls in force say.

connect() without a bind() chooses from ip_local_port_range, less ip_local_reserved_ports; of an odd range each search
leaves one out, so it may fail where one port is free. Who closes first leaves each port in TIME_WAIT for 60 s, up to
tcp_max_tw_buckets of them (one more is CLOSED at once, and nothing keeps old segments out). tcp_tw_reuse lets connect()
take such a port over, once it is older than tcp_tw_reuse_delay and only with timestamps; at 2, the kernel's default, on
loopback addresses alone.

    client, its only port                      server
    TIME_WAIT    ◀─────────────────── FA ──    LAST_ACK
                 ── A ────────────────────▶    CLOSED
    connect():   EADDRNOTAVAIL, no segment
        :        tcp_tw_reuse_delay
    SYN_SENT     ── S ────────────────────▶    with tcp_tw_reuse=1
    or TIME_WAIT ◀──────────────────── R ──    tcp_rfc1337=0: CLOSED, and the port is free

Sources: article 004; RFC 9293, section 3.6.1; RFC 6191; RFC 1337. Kernel: __inet_hash_connect, tcp_twsk_unique,
inet_twsk_alloc and tcp_time_wait (TCPTimeWaitOverflow), tcp_timewait_state_process (a RST).
"""

import errno
import socket
import time
from dataclasses import replace

import pytest

from harness.predict import limits, timers

RANGE, RESERVED = "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"
REUSE, DELAY, TIMESTAMPS = "net.ipv4.tcp_tw_reuse", "net.ipv4.tcp_tw_reuse_delay", "net.ipv4.tcp_timestamps"
RFC1337, BUCKETS = "net.ipv4.tcp_rfc1337", "net.ipv4.tcp_max_tw_buckets"
LOOPBACK = "127.0.0.2"
MOST = 1000


def serve(address, in_steps=False):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.recv(1)  # the client's end
        if in_steps:
            yield "ready to close"
        connection.close()


def use_ports(address, most):
    """One connection after the other, each closed here first; how many, until there is no port for the next."""
    for used in range(most):
        try:
            connection = socket.create_connection(address)
        except OSError as error:
            yield errno.errorcode[error.errno]
            return used
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        connection.close()
    yield "enough"
    return most


def take_over(address, for_s):
    """Whether there is a port for another connection, at the latest after a while."""
    yield "ready"
    began, connected = time.monotonic(), False
    while not connected and time.monotonic() - began < for_s:
        connected = socket.socket().connect_ex(address) == 0
    return connected


def pin(lab, values, but=()):
    """What a story needs besides the keys that it observes."""
    # At 0 an ACK that comes late from another CPU (enqueue_to_backlog) would cost the TIME_WAIT: RFC 1337.
    all_ports = {RESERVED: ""} if RANGE in values else {}
    for key, value in ({RFC1337: 1, BUCKETS: 65536, REUSE: 0} | all_ports | values).items():
        if key not in but:
            lab.set_sysctl(key, value, where_it_exists=True)


def leave_time_wait(lab, address):
    lab.start(serve, address, to="listening").resume()
    lab.start(use_ports, address, 1).finish()


@pytest.mark.parametrize("host", [None, LOOPBACK], ids=["off loopback", "on loopback"])
def test_a_time_wait_is_taken_over_as_configured(lab, host):
    """Observes: net.ipv4.tcp_tw_reuse, net.ipv4.tcp_timestamps"""
    pin(lab, {RANGE: "45000 45000", DELAY: 1}, but=[REUSE])
    address = (host or lab.server_address[0], lab.server_address[1])
    leave_time_wait(lab, address)
    assert lab.sockstat("TCP tw") == 1
    taken = lab.start(take_over, address, 0.05 if lab.sysctl(DELAY, default="") else 1.1).finish()
    lab.finding(f"a TIME_WAIT {'on' if host else 'off'} loopback is taken over", "yes" if taken else "no")
    reuse, timestamps = int(lab.sysctl(REUSE)), int(lab.sysctl(TIMESTAMPS))
    assert taken == limits.takes_time_wait_over(reuse, timestamps, loopback=bool(host))
    assert lab.counter("TcpExtTWRecycled") == taken


@pytest.mark.waits(1)
def test_a_time_wait_is_taken_over_when_it_is_old_enough(lab):
    """Observes: net.ipv4.tcp_tw_reuse_delay"""
    pin(lab, {RANGE: "45000 45000", REUSE: 1, TIMESTAMPS: 1})
    delay_ms = lab.sysctl(DELAY, default="")
    name = "a TIME_WAIT's age when it is taken over"
    interval = lab.worth_waiting(name, timers.time_wait_taken_over(int(delay_ms) if delay_ms else None))
    third = lab.start(take_over, lab.server_address, interval.at_most_s + 1, to="ready")
    leave_time_wait(lab, lab.server_address)
    assert third.finish(interval.at_most_s + 5)
    *_, fin, _ = lab.segments(until="use_ports: enough")
    syn, *_ = lab.segments(since="use_ports: finished")
    lab.expect_duration(name, (syn.time_ns - fin.time_ns) / 1e9, interval)


def test_no_more_time_waits_than_configured(lab):
    """Observes: net.ipv4.tcp_max_tw_buckets"""
    most, name = int(lab.sysctl(BUCKETS)), "TIME_WAITs at most"
    if not 0 <= most <= MOST:
        lab.not_measured(name, most if most >= 0 else "no limit", f"more than {MOST} sockets")
    pin(lab, {RANGE: "50000 59999"}, but=[BUCKETS])
    lab.start(serve, lab.server_address, to="listening").resume()
    lab.start(use_ports, lab.server_address, most + 3).finish()
    left = limits.time_waits(most + 3, most)
    lab.finding(name, lab.sockstat("TCP tw"))
    assert (lab.sockstat("TCP tw"), lab.counter("TcpExtTCPTimeWaitOverflow")) == (left, most + 3 - left)


def test_a_reset_ends_a_time_wait_or_not_as_configured(lab):
    """Observes: net.ipv4.tcp_rfc1337. Proves: 004-8"""
    pin(lab, {RANGE: "45000 45000"}, but=[RFC1337])
    server = lab.start(serve, lab.server_address, True, to="listening")
    client = lab.start(use_ports, lab.server_address, 1)
    client.resume()
    server.run_to("ready to close")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    server.resume()
    lab.expect_states(client="TIME_WAIT")
    fin, *_ = (each for each in lab.segments() if each.source == lab.server_address and "F" in each.flags)
    lab.provoke(replace(fin, flags="R", seq=(fin.seq + 1) % 2**32))
    lab.finding("a TIME_WAIT after a RST", state := lab.state("client"))
    ending = ["server FA", "client A", "server R"]  # after the client's FIN is acknowledged, or it comes late
    assert lab.wire(since="ready to close") in (ending, ["server A", *ending])
    assert state == ("TIME_WAIT" if lab.sysctl(RFC1337) != "0" else "CLOSED")


def test_connect_has_as_many_ports_as_configured(lab):
    """Observes: net.ipv4.ip_local_port_range, net.ipv4.ip_local_reserved_ports. Proves: 004-3"""
    low, high = map(int, lab.sysctl(RANGE).split())
    taken = limits.port_set(lab.sysctl(RESERVED)) | {lab.server_address[1]}
    (least, most), name = limits.connect_ports(low, high, taken), "ports towards one server"
    pin(lab, {})
    lab.start(serve, lab.server_address, to="listening").resume()
    client = lab.start(use_ports, lab.server_address, most + 1 if most <= MOST else 1)
    client.run_to("EADDRNOTAVAIL" if most <= MOST else "enough")
    used = client.finish()
    ports = {row.local[1] for row in lab.sockets() if row.state == "TIME_WAIT"}
    assert len(ports) == used
    assert ports <= set(range(low, high + 1)) - taken
    if most > MOST:
        lab.not_measured(name, most, f"more than {MOST} sockets")
    lab.finding(name, used if least == most else f"{least} or {most}")
    assert least <= used <= most


def test_control_towards_another_server_the_same_ports_are_free(lab):
    """Proves: 004-3"""
    pin(lab, {RANGE: "45000 45003"})
    for server, name in ((lab.server_address, "one"), (lab.other_server_address, "other")):
        lab.start(serve, server, name=name, to="listening").resume()
        assert lab.start(use_ports, server, 5, to="EADDRNOTAVAIL").finish() == 4
