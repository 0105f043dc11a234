"""Sysctls decide how many ports a client has towards one server, and when TIME_WAIT frees one.

connect() without bind() chooses from ip_local_port_range, without ip_local_reserved_ports. If the
range has an odd number of ports, each search leaves one out, so connect() may fail although one
port is free. The end that closes first leaves the port in TIME_WAIT for 60 s. There are at most
tcp_max_tw_buckets of them; the next one is CLOSED at once, and nothing keeps old segments out.
tcp_tw_reuse lets connect() take over such a port, if the old connection had timestamps and the
TIME_WAIT is older than tcp_tw_reuse_delay; at 2, the kernel's default, on loopback addresses only.

    client, its only port                      server
    TIME_WAIT    ◀─────────────────── FA ──    LAST_ACK
                 ── A ────────────────────▶    CLOSED
    connect():   EADDRNOTAVAIL, no segment
        :        tcp_tw_reuse_delay
    SYN_SENT     ── S ────────────────────▶    with tcp_tw_reuse=1
    or TIME_WAIT ◀──────────────────── R ──    tcp_rfc1337=0: CLOSED, and the port is free

Sources: article 004; RFC 9293, section 3.6.1; RFC 6191; RFC 1337. Kernel: __inet_hash_connect,
tcp_twsk_unique, inet_twsk_alloc and tcp_time_wait (TCPTimeWaitOverflow), tcp_timewait_state_process
(an RST).
"""

import errno
import socket
import time
from dataclasses import replace

import pytest

from harness.predict import limits, timers

RANGE = "net.ipv4.ip_local_port_range"
RESERVED = "net.ipv4.ip_local_reserved_ports"
REUSE = "net.ipv4.tcp_tw_reuse"
DELAY = "net.ipv4.tcp_tw_reuse_delay"
TIMESTAMPS = "net.ipv4.tcp_timestamps"
RFC1337 = "net.ipv4.tcp_rfc1337"
BUCKETS = "net.ipv4.tcp_max_tw_buckets"
MOST = 1000


def serve(address, in_steps=False):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.recv(1)  # until the client's FIN
        if in_steps:
            yield "ready to close"
        connection.close()


def use_ports(address, most):
    """One connection after the other, each closed first here; returns how many there were."""
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
    """Try to connect for `for_s` seconds; returns whether there was a port."""
    yield "ready"
    began, connected = time.monotonic(), False
    while not connected and time.monotonic() - began < for_s:
        connected = socket.socket().connect_ex(address) == 0
    return connected


def set_sysctls(lab, values, observed=None):
    """Set the values, and what every story here needs; the observed key keeps what it has."""
    # An ACK that is late, from another CPU (enqueue_to_backlog), finds the server CLOSED; at 0 the
    # RST that answers it would end the TIME_WAIT (RFC 1337).
    needed = {RFC1337: 1, BUCKETS: 65536, REUSE: 0}
    if RANGE in values:
        needed[RESERVED] = ""
    for key, value in (needed | values).items():
        if key != observed:
            lab.set_sysctl(key, value, optional=True)


def leave_time_wait(lab, address):
    lab.start(serve, address, to="listening").resume()
    lab.start(use_ports, address, 1).finish()


@pytest.mark.parametrize("loopback", [False, True], ids=["off loopback", "on loopback"])
def test_a_time_wait_is_taken_over_as_configured(lab, loopback):
    """Observes: net.ipv4.tcp_tw_reuse, net.ipv4.tcp_timestamps"""
    set_sysctls(lab, {RANGE: "45000 45000", DELAY: 1}, observed=REUSE)
    address = lab.loopback_address if loopback else lab.server_address
    leave_time_wait(lab, address)
    assert lab.sockstat("TCP tw") == 1
    taken = lab.start(take_over, address, 0.05 if lab.sysctl(DELAY, default="") else 1.1).finish()
    name = f"a TIME_WAIT {'on' if loopback else 'off'} loopback is taken over"
    lab.finding(name, "yes" if taken else "no")
    reuse, timestamps = int(lab.sysctl(REUSE)), int(lab.sysctl(TIMESTAMPS))
    assert taken == limits.takes_time_wait_over(reuse, timestamps, loopback=loopback)
    assert lab.counter("TcpExtTWRecycled") == taken


@pytest.mark.waits(1)
def test_a_time_wait_is_taken_over_when_it_is_old_enough(lab):
    """Observes: net.ipv4.tcp_tw_reuse_delay"""
    set_sysctls(lab, {RANGE: "45000 45000", REUSE: 1, TIMESTAMPS: 1})
    delay_ms = lab.sysctl(DELAY, default="")
    interval = timers.time_wait_taken_over(int(delay_ms) if delay_ms else None)
    name = "a TIME_WAIT's age when it is taken over"
    lab.skip_if_longer_than_max_wait(name, interval)
    third = lab.start(take_over, lab.server_address, interval.at_most_s + 1, to="ready")
    leave_time_wait(lab, lab.server_address)
    assert third.finish(interval.at_most_s + 5)
    *_, fin, _ = lab.segments(until="use_ports: enough")
    syn, *_ = lab.segments(since="use_ports: finished")
    lab.expect_duration(name, lab.gap_s(fin, syn), interval)


def test_no_more_time_waits_than_configured(lab):
    """Observes: net.ipv4.tcp_max_tw_buckets"""
    name = "TIME_WAITs at most"
    most = int(lab.sysctl(BUCKETS))
    if not 0 <= most <= MOST:
        lab.not_measured(name, most if most >= 0 else "no limit", f"more than {MOST} sockets")
    set_sysctls(lab, {RANGE: "50000 59999"}, observed=BUCKETS)
    lab.start(serve, lab.server_address, to="listening").resume()
    lab.start(use_ports, lab.server_address, most + 3).finish()
    left = limits.time_waits(most + 3, most)
    lab.finding(name, lab.sockstat("TCP tw"))
    assert lab.sockstat("TCP tw") == left
    assert lab.counter("TcpExtTCPTimeWaitOverflow") == most + 3 - left


def test_a_reset_ends_a_time_wait_or_not_as_configured(lab):
    """Observes: net.ipv4.tcp_rfc1337. Proves: 004-8"""
    set_sysctls(lab, {RANGE: "45000 45000"}, observed=RFC1337)
    server = lab.start(serve, lab.server_address, True, to="listening")
    client = lab.start(use_ports, lab.server_address, 1)
    client.resume()
    server.run_to("ready to close")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    server.resume()
    lab.expect_states(client="TIME_WAIT")
    of_server = [each for each in lab.segments() if each.source == lab.server_address]
    fin = next(each for each in of_server if "F" in each.flags)
    lab.provoke(replace(fin, flags="R", seq=(fin.seq + 1) % 2**32))
    state = lab.state("client")
    lab.finding("a TIME_WAIT after a RST", state)
    # The ACK of the client's FIN may come before or after the step.
    end = ["server FA", "client A", "server R"]
    assert lab.wire(since="ready to close") in (end, ["server A", *end])
    assert state == ("TIME_WAIT" if lab.sysctl(RFC1337) != "0" else "CLOSED")


def test_connect_has_as_many_ports_as_configured(lab):
    """Observes: net.ipv4.ip_local_port_range, net.ipv4.ip_local_reserved_ports. Proves: 004-3"""
    low, high = map(int, lab.sysctl(RANGE).split())
    taken = limits.port_set(lab.sysctl(RESERVED)) | {lab.server_address[1]}
    least, most = limits.connect_ports(low, high, taken)
    set_sysctls(lab, {})
    lab.start(serve, lab.server_address, to="listening").resume()
    client = lab.start(use_ports, lab.server_address, most + 1 if most <= MOST else 1)
    client.run_to("EADDRNOTAVAIL" if most <= MOST else "enough")
    used = client.finish()
    ports = {row.local[1] for row in lab.sockets() if row.state == "TIME_WAIT"}
    assert len(ports) == used
    assert ports <= set(range(low, high + 1)) - taken
    name = "ports towards one server"
    if most > MOST:
        lab.not_measured(name, most, f"more than {MOST} sockets")
    lab.finding(name, used if least == most else f"{least} or {most}")
    assert least <= used <= most


def test_control_towards_another_server_the_same_ports_are_free(lab):
    """Proves: 004-3"""
    set_sysctls(lab, {RANGE: "45000 45003"})
    lab.start(serve, lab.server_address, name="one", to="listening").resume()
    assert lab.start(use_ports, lab.server_address, 5, to="EADDRNOTAVAIL").finish() == 4
    lab.start(serve, lab.other_server_address, name="other", to="listening").resume()
    assert lab.start(use_ports, lab.other_server_address, 5, to="EADDRNOTAVAIL").finish() == 4
