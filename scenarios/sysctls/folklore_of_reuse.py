"""Three pieces of common advice about tcp_tw_reuse, and what this kernel does instead.

It is for connect() alone. A TIME_WAIT of the same host gives way to a new connection if timestamps
distinguish old segments from new ones, and after tcp_tw_reuse_delay (1000 ms by default:
ip-sysctl.rst). It does nothing for a server's TIME_WAITs: a newer SYN takes them over at any
setting, and bind() ignores them with SO_REUSEADDR, not with tcp_tw_reuse.

    client, closed first                         server
    TIME_WAIT    ◀────────────────────── FA ──   LAST_ACK
                 ── A ───────────────────────▶   CLOSED
    connect(): EADDRNOTAVAIL, no segment         until the delay is over, or no timestamps
    SYN_SENT     ── S ───────────────────────▶   after the delay
    or, closed first by the server
    CLOSED       ── A ───────────────────────▶   TIME_WAIT: bind() fails with EADDRINUSE

Sources: article 004; RFC 6191; RFC 7323, section 5. Kernel: tcp_twsk_unique,
__inet_check_established (connect()); inet_bind_conflict (bind()). For a port range that runs out,
see time_wait_port_exhaustion.py.
"""

import errno
import socket

from harness.lessons.docstrings import advice
from harness.stock_roles import close_first

PORT = 40001
THREE_PORTS = (40001, 40002, 40003)
DELAY = "net.ipv4.tcp_tw_reuse_delay"


def call(address):
    """It calls connect() again after each error."""
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


def bind_again(address, reuse_address):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse_address)
    listener.bind(address)
    yield "bound"


def start_server(lab, address=None):
    lab.protect_time_wait_from_late_acks()
    return lab.start(close_first, address or lab.server_address, to="listening")


def leave_time_wait_at_the_client(lab, address=None):
    """Both ends close one connection, the client first."""
    server = start_server(lab, address)
    lab.set_ephemeral_ports([PORT])
    client = lab.start(call, address or lab.server_address, to="connected")
    server.run_to("accepted")
    client.run_to("half closed")
    server.run_to("closed")
    client.finish()


def leave_three_time_waits_at_the_server(lab):
    """Both ends close three connections, the server first; then its listener is gone."""
    server = start_server(lab)
    for port in THREE_PORTS:
        lab.set_ephemeral_ports([port])
        client = lab.start(call, lab.server_address, to="connected")
        server.run_to("accepted")
        server.run_to("half closed")
        client.run_to("half closed")
        server.run_to("closed")
        client.finish()
    server.kill()


def allow_reuse(lab, delay_ms, timestamps=1):
    lab.require_sysctl(DELAY, since="Linux 6.14")
    lab.set_sysctl("net.ipv4.tcp_timestamps", timestamps)
    lab.set_sysctl("net.ipv4.tcp_tw_reuse", 1)
    lab.set_sysctl(DELAY, delay_ms)


def test_tw_reuse_does_nothing_for_the_end_that_listens(lab):
    """Said: tcp_tw_reuse helps a server.

    Shown: false: its TIME_WAITs stay, and bind() fails with EADDRINUSE.
    """
    allow_reuse(lab, delay_ms=1)
    leave_three_time_waits_at_the_server(lab)
    lab.start(bind_again, lab.server_address, 0).fail_with("EADDRINUSE")
    lab.expect_table(TIME_WAIT=3)

    # The sysctl works: it helps the end that connects.
    leave_time_wait_at_the_client(lab, lab.other_server_address)
    lab.start(call, lab.other_server_address).run_to("connected")
    assert lab.counter("TcpExtTWRecycled") == 1
    lab.finding(*advice(test_tw_reuse_does_nothing_for_the_end_that_listens.__doc__))


def test_control_so_reuseaddr_is_what_helps_a_server(lab):
    """With it, bind() ignores the same TIME_WAITs."""
    leave_three_time_waits_at_the_server(lab)
    lab.start(bind_again, lab.server_address, 1).run_to("bound")
    lab.expect_table(TIME_WAIT=3)


def test_tw_reuse_without_timestamps_reuses_nothing(lab):
    """Said: tcp_tw_reuse works with timestamps off.

    Shown: false: connect() still fails with EADDRNOTAVAIL.

    Proves: 004-5. The second TIME_WAIT, with timestamps, is the newer one: when it gives way, the
    delay is over for the first as well.
    """
    allow_reuse(lab, delay_ms=1, timestamps=0)
    leave_time_wait_at_the_client(lab)
    lab.set_sysctl("net.ipv4.tcp_timestamps", 1)
    leave_time_wait_at_the_client(lab, lab.other_server_address)
    lab.start(call, lab.other_server_address).run_to("connected")
    lab.start(call, lab.server_address).run_to("EADDRNOTAVAIL")
    assert lab.counter("TcpExtTWRecycled") == 1
    lab.finding(*advice(test_tw_reuse_without_timestamps_reuses_nothing.__doc__))


def test_reuse_waits_for_its_delay(lab):
    """Said: with tcp_tw_reuse=1 a port is free at once.

    Shown: false: only after tcp_tw_reuse_delay, 1 s by default.

    Proves: 004-5
    """
    allow_reuse(lab, delay_ms=60000)
    leave_time_wait_at_the_client(lab)
    client = lab.start(call, lab.server_address)
    client.run_to("EADDRNOTAVAIL")
    assert lab.counter("TcpExtTWRecycled") == 0
    lab.set_sysctl(DELAY, 1)
    client.run_to("connected")
    lab.finding(*advice(test_reuse_waits_for_its_delay.__doc__))


def test_control_reuse_after_its_delay_connects_with_timestamps(lab):
    """Proves: 004-5, and what tcp_tw_reuse is for."""
    allow_reuse(lab, delay_ms=1)
    leave_time_wait_at_the_client(lab)
    lab.start(call, lab.server_address).run_to("connected")
    assert lab.counter("TcpExtTWRecycled") == 1
