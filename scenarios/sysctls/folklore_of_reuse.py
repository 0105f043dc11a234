"""Advice about tcp_tw_reuse that everybody knows, each with what this kernel does.

It is for connect() alone: its own TIME_WAIT gives way to a new connection, where timestamps tell old segments from new,
and after tcp_tw_reuse_delay (1000 ms by default: ip-sysctl.rst). A server's TIME_WAITs it does not concern: a newer SYN
takes them over at any setting, and bind() passes over them with SO_REUSEADDR, not with tcp_tw_reuse.

    client, closed first                         server
    TIME_WAIT    ◀────────────────────── FA ──   LAST_ACK
                 ── A ───────────────────────▶   CLOSED
    connect(): EADDRNOTAVAIL, no segment         before the delay is over; without timestamps, always
    SYN_SENT     ── S ───────────────────────▶   after it
    or, closed first by the server
    CLOSED       ── A ───────────────────────▶   TIME_WAIT: bind() fails with EADDRINUSE

Sources: article 004; RFC 6191; RFC 7323, section 5. Kernel: tcp_twsk_unique, __inet_check_established (connect());
inet_bind_conflict (bind()). How the port range runs out is in time_wait_port_exhaustion.py.
"""

import errno
import socket

from harness.errors import LabUnavailable
from harness.lessons.docstrings import advice

PORTS = (40001, 40002, 40003)
DELAY = "net.ipv4.tcp_tw_reuse_delay"


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        connection.shutdown(socket.SHUT_WR)
        yield "half closed"
        connection.recv(1)
        connection.close()
        yield "closed"


def call(address):
    connection = None
    while not connection:
        try:
            connection = socket.create_connection(address)
        except OSError as error:
            yield errno.errorcode[error.errno]
    yield "connected"
    connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    connection.recv(1)


def bind_again(address, reuse):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    listener.bind(address)
    yield "bound"


def play(lab, first_to_close, address=None, ports=PORTS[:1]):
    """Connections from these ports, one after the other, closed by both: each leaves its TIME_WAIT where FIN began."""
    lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)  # a late ACK (enqueue_to_backlog) must not cost a TIME_WAIT
    server = lab.start(serve, address or lab.server_address, to="listening")
    for port in ports:
        lab.set_ephemeral_ports([port])
        client = lab.start(call, address or lab.server_address, to="connected")
        server.run_to("accepted")
        order = (client, server) if first_to_close == "client" else (server, client)
        for end in order:
            end.run_to("half closed")
        server.run_to("closed")
        client.finish()
    return server


def allow_reuse(lab, delay_ms, timestamps=1):
    if not lab.sysctl(DELAY, default=""):
        raise LabUnavailable(f"this kernel has no {DELAY}", "play this on Linux 6.14 or later")
    lab.set_sysctl("net.ipv4.tcp_timestamps", timestamps)
    lab.set_sysctl("net.ipv4.tcp_tw_reuse", 1)
    lab.set_sysctl(DELAY, delay_ms)


def test_tw_reuse_does_nothing_for_the_end_that_listens(lab):
    """Said: tcp_tw_reuse helps a server. Shown: false: its TIME_WAITs stay, and bind() fails with EADDRINUSE."""
    allow_reuse(lab, delay_ms=1)
    play(lab, "server", ports=PORTS).kill()
    lab.start(bind_again, lab.server_address, 0).fail_with("EADDRINUSE")
    lab.expect_table(TIME_WAIT=3)
    play(lab, "client", lab.other_server_address)
    lab.start(call, lab.other_server_address).run_to("connected")
    assert lab.counter("TcpExtTWRecycled") == 1  # so the sysctl is in force: it helps the end that connects
    lab.finding(*advice(test_tw_reuse_does_nothing_for_the_end_that_listens.__doc__))


def test_control_so_reuseaddr_is_what_helps_a_server(lab):
    """With it, bind() passes over the same TIME_WAITs."""
    play(lab, "server", ports=PORTS).kill()
    lab.start(bind_again, lab.server_address, 1).run_to("bound")
    lab.expect_table(TIME_WAIT=3)


def test_tw_reuse_without_timestamps_reuses_nothing(lab):
    """Said: tcp_tw_reuse does its work with timestamps off. Shown: false: connect() still fails with EADDRNOTAVAIL.

    Proves: 004-5. The TIME_WAIT elsewhere is newer: when it gives way, the delay is over for the other too.
    """
    allow_reuse(lab, delay_ms=1, timestamps=0)
    play(lab, "client")
    lab.set_sysctl("net.ipv4.tcp_timestamps", 1)
    play(lab, "client", lab.other_server_address)
    lab.start(call, lab.other_server_address).run_to("connected")
    lab.start(call, lab.server_address).run_to("EADDRNOTAVAIL")
    assert lab.counter("TcpExtTWRecycled") == 1
    lab.finding(*advice(test_tw_reuse_without_timestamps_reuses_nothing.__doc__))


def test_reuse_waits_for_its_delay(lab):
    """Said: with tcp_tw_reuse=1 a port is free at once. Shown: false: only after tcp_tw_reuse_delay, 1 s by default.

    Proves: 004-5
    """
    allow_reuse(lab, delay_ms=60000)
    play(lab, "client")
    client = lab.start(call, lab.server_address)
    client.run_to("EADDRNOTAVAIL")
    assert lab.counter("TcpExtTWRecycled") == 0
    lab.set_sysctl(DELAY, 1)
    client.run_to("connected")
    lab.finding(*advice(test_reuse_waits_for_its_delay.__doc__))


def test_control_reuse_helps_a_client_with_timestamps_once_the_delay_is_over(lab):
    """Proves: 004-5, and what tcp_tw_reuse is for."""
    allow_reuse(lab, delay_ms=1)
    play(lab, "client")
    lab.start(call, lab.server_address).run_to("connected")
    assert lab.counter("TcpExtTWRecycled") == 1
