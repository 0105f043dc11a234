"""The end that closes first pays with a port, not with a file descriptor: TIME_WAIT keeps the port.

On the client, a TIME_WAIT keeps the port for 60 s towards that one server address and port, so two
of them use up two ephemeral ports. On the server, it gives way to a SYN with a newer timestamp or
sequence number. With tcp_tw_reuse, connect() may take over a TIME_WAIT of the client's own, once
tcp_tw_reuse_delay has passed, but only if timestamps tell new segments from old ones.

    client, its last free port                 server
    FIN_WAIT1    ── FA ───────────────────▶    CLOSE_WAIT
    FIN_WAIT2    ◀──────────────────── A ──
    TIME_WAIT    ◀─────────────────── FA ──    LAST_ACK
                 ── A ────────────────────▶    CLOSED
    connect(): EADDRNOTAVAIL, no segment

    client                                     server, which had closed first
    SYN_SENT     ── S ────────────────────▶    TIME_WAIT, then SYN_RECV: its sequence numbers
                                               begin 65,537 above the old ones
    ESTABLISHED  ◀─────────────────── SA ──    (or A, to a SYN that is not newer)

Sources: article 004; RFC 9293, section 3.10.7.4; RFC 6191; RFC 7323, section 5. Kernel:
__inet_check_established, tcp_twsk_unique (client), tcp_timewait_state_process (server),
secure_tcp_seq (initial sequence numbers).
"""

import errno
import socket

import pytest

from harness.predict.timers import initial_numbers_by_clock

TWO_PORTS = (45000, 45001)
# Initial sequence numbers follow a clock of 64 ns. After this many bytes, that of the next
# connection is below the last one's sequence numbers for 6.4 s.
UPLOAD = 96 << 20
# From the initial sequence number of the old connection to that of the new one: SYN, FIN, and then
# 65535 + 2.
ABOVE_THE_OLD = 65539


def serve(address, closes_first=False, upload=0):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        if closes_first:
            connection.recv(upload, socket.MSG_WAITALL)
        else:
            connection.recv(1)  # until the client's FIN
        connection.shutdown(socket.SHUT_WR)
        yield "half closed"
        connection.close()
        yield "closed"


def two_port_client(address, closes_first=True, upload=0):
    """The article's; play() leaves it two ports. It tries again for as long as there is none."""
    connection = None
    while not connection:
        try:
            connection = socket.create_connection(address)
        except OSError as error:
            yield errno.errorcode[error.errno]
    yield "connected"
    connection.sendall(bytes(upload))
    if not closes_first:
        connection.recv(1)  # until the server's FIN
    connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    connection.close()
    yield "closed"


def serve_requests(address):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        while connection.recv(1024):
            connection.sendall(b"answer")


def client_with_a_pool(address):
    """It keeps its connection open for the next request."""
    connection = socket.create_connection(address)
    for _ in range(3):
        connection.sendall(b"request")
        connection.recv(1024)
    yield "three answers"


def play(lab, address, first_to_close, upload=0, ports=TWO_PORTS):
    """One connection after the other, one for each port; one end waits for the other's FIN."""
    lab.set_ephemeral_ports(ports)
    lab.protect_time_wait_from_late_acks()
    server = lab.start(serve, address, first_to_close == "server", upload, to="listening")
    for _ in ports:
        closes_first = first_to_close == "client"
        client = lab.start(two_port_client, address, closes_first, upload, to="connected")
        client.resume()
        server.run_to("half closed")
        # Before close(): an orphan can lose the server's FIN (tcp_rcv_state_process, "Bad case").
        client.run_to("half closed")
        server.run_to("closed")
        client.finish()


def set_reuse(lab, mode, delay_ms):
    """The delay in effect; 0 on a kernel without the sysctl, which waits for a second or less."""
    lab.set_sysctl("net.ipv4.tcp_tw_reuse", mode)
    if not lab.sysctl("net.ipv4.tcp_tw_reuse_delay", default=""):
        return 0
    lab.set_sysctl("net.ipv4.tcp_tw_reuse_delay", delay_ms)
    return delay_ms


def test_two_time_waits_use_up_two_ports_towards_one_server(lab):
    """Proves: 004-3"""
    play(lab, lab.server_address, first_to_close="client")
    assert [lab.state("client", port) for port in TWO_PORTS] == ["TIME_WAIT", "TIME_WAIT"]
    lab.start(two_port_client, lab.server_address).run_to("EADDRNOTAVAIL")
    assert lab.wire(since="two_port_client 2: finished") == []
    for elsewhere in (lab.other_server_address, (lab.server_address[0], 9999)):
        lab.start(serve, elsewhere).run_to("listening")
        lab.start(two_port_client, elsewhere).run_to("connected")


def test_control_a_server_that_closes_first_leaves_both_ports_free(lab):
    """Proves: 004-4, and 004-3 by the cure."""
    play(lab, lab.server_address, first_to_close="server")
    lab.start(two_port_client, lab.server_address).run_to("connected")
    assert lab.wire(since="two_port_client 2: finished") == ["client S", "server SA", "client A"]


def test_control_a_connection_that_is_kept_needs_one_port(lab):
    """Proves: 004-3, by the cure that needs no sysctl: a pool of connections, or keep-alive."""
    lab.set_ephemeral_ports([45000])
    lab.start(serve_requests, lab.server_address, to="listening").resume()
    lab.start(client_with_a_pool, lab.server_address).run_to("three answers")
    assert lab.wire().count("client S") == 1
    assert lab.wire().count("client PA") == 3
    assert lab.sockstat("TCP tw") == 0


def test_neither_fin_wait2_nor_time_wait_needs_an_fd(lab):
    """Proves: 004-1. tcp_fin_timeout is 30 s here, to tell FIN_WAIT2's timer from TIME_WAIT's."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 30)
    server = lab.start(serve, lab.server_address, to="listening")
    lab.start(two_port_client, lab.server_address).run_to("closed")
    fin_wait2 = lab.expect_socket("client", state="FIN_WAIT2", inode=0)
    server.run_to("closed")
    time_wait = lab.expect_socket("client", state="TIME_WAIT", inode=0)
    assert fin_wait2.timer.name == time_wait.timer.name == "time_wait"
    assert 20 < fin_wait2.timer.expires_s <= 30 < 50 < time_wait.timer.expires_s <= 60
    states = ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]
    assert lab.path("client") == states


def test_control_before_close_fin_wait2_has_an_fd_and_no_timer(lab):
    """Proves: 004-1. Even then TIME_WAIT has no fd: the process's fd belongs to a CLOSED socket."""
    server = lab.start(serve, lab.server_address, to="listening")
    lab.start(two_port_client, lab.server_address).run_to("half closed")
    fin_wait2 = lab.expect_socket("client", state="FIN_WAIT2")
    assert lab.holders("client") == ["two_port_client"]
    assert fin_wait2.timer.name == "none"
    server.run_to("closed")
    lab.expect_socket("client", state="TIME_WAIT", inode=0)


@pytest.mark.parametrize(
    ("timestamps", "upload", "flags", "above"),
    [(1, UPLOAD, "SA", ABOVE_THE_OLD), (0, 0, "SA", ABOVE_THE_OLD), (0, UPLOAD, "A", 2)],
    ids=["timestamp alone", "sequence number alone", "neither"],
)
def test_time_wait_steps_aside_for_a_syn_with_a_newer(lab, timestamps, upload, flags, above):
    """Proves: 004-4"""
    lab.set_sysctl("net.ipv4.tcp_timestamps", timestamps)
    play(lab, lab.server_address, "server", upload, ports=[45000])
    # If the answer is A, the client sends R, which at 0 ends the TIME_WAIT; its next SYN connects.
    lab.set_sysctl("net.ipv4.tcp_rfc1337", 0)
    lab.start(two_port_client, lab.server_address).run_to("connected")
    old_syn, old_syn_ack, _ = lab.segments(until="two_port_client: connected")
    new_syn, answer, *_ = lab.segments(since="two_port_client: finished")
    assert ((new_syn.seq - old_syn.seq) % 2**32 < upload) == (upload > 0)
    assert answer.flags == flags
    grown = (answer.seq - old_syn_ack.seq) % 2**32
    # Linux 6.10 and later take the number from TIME_WAIT. A kernel with tcp_tw_reuse_delay (6.14)
    # is one of them; without it, an older kernel may take the number from its clock.
    between_ends = new_syn.time_ns - old_syn_ack.time_ns, answer.time_ns - old_syn.time_ns
    by_clock = initial_numbers_by_clock(*between_ends)
    may_be_older = flags == "SA" and not lab.sysctl("net.ipv4.tcp_tw_reuse_delay", default="")
    assert grown == above or (may_be_older and grown in by_clock)


def test_reuse_takes_a_time_wait_over_once_the_delay_is_over(lab):
    """Proves: 004-5"""
    play(lab, lab.server_address, first_to_close="client")
    third = lab.start(two_port_client, lab.server_address)
    if set_reuse(lab, 1, delay_ms=60000):
        third.run_to("EADDRNOTAVAIL")
    delay_s = set_reuse(lab, 1, delay_ms=20) / 1000
    third.run_to("connected")
    new_syn, _, _ = lab.segments(since="two_port_client 2: finished")
    old_syn, *others = lab.segments(until="two_port_client 2: finished", port=new_syn.source[1])
    of_server = [segment for segment in others if segment.source == lab.server_address]
    fin = next(segment for segment in of_server if segment.flags == "FA")
    assert lab.gap_s(fin, new_syn) > delay_s
    assert (new_syn.seq - old_syn.seq) % 2**32 == ABOVE_THE_OLD
    assert lab.counter("TcpExtTWRecycled") == 1


@pytest.mark.parametrize(
    ("mode", "timestamps", "at"),
    [(2, 1, "loopback_address"), (1, 0, "other_server_address")],
    ids=["2-1-loopback", "1-0-other server"],
)
def test_control_reuse_needs_timestamps_and_at_2_loopback(lab, mode, timestamps, at):
    """Proves: 004-5. The TIME_WAITs towards `at` are newer: the others are older than the delay."""
    newer = getattr(lab, at)
    lab.set_sysctl("net.ipv4.tcp_timestamps", timestamps)
    play(lab, lab.server_address, first_to_close="client")
    lab.set_sysctl("net.ipv4.tcp_timestamps", 1)
    play(lab, newer, first_to_close="client")
    set_reuse(lab, mode, delay_ms=1)
    lab.start(two_port_client, newer).run_to("connected")
    lab.start(two_port_client, lab.server_address).run_to("EADDRNOTAVAIL")
    assert lab.counter("TcpExtTWRecycled") == 1
