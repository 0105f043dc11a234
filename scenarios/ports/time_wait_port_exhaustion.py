"""Who closes first pays with a port, never with an fd: two TIME_WAITs use up two ephemeral ports.

At the client's end a TIME_WAIT keeps the port for 60 s, towards that one server address and port. At the server's end
it steps aside for a SYN with a newer timestamp or sequence number. tcp_tw_reuse lets connect() push aside its own too,
after tcp_tw_reuse_delay, and only where timestamps tell new segments from old.

    client, its last free port                 server
    FIN_WAIT1    ── FA ───────────────────▶    CLOSE_WAIT
    FIN_WAIT2    ◀──────────────────── A ──
    TIME_WAIT    ◀─────────────────── FA ──    LAST_ACK
                 ── A ────────────────────▶    CLOSED
    connect(): EADDRNOTAVAIL, no segment       TIME_WAIT, where the server had closed first
    SYN_SENT     ── S ────────────────────▶    SYN_RECV, its numbers 65,537 above the old ones
    ESTABLISHED  ◀─────────────────── SA ──    (or A, to a SYN that is not newer)

Sources: article 004; RFC 9293, section 3.10.7.4; RFC 6191; RFC 7323, section 5. Kernel: __inet_check_established,
tcp_twsk_unique (client), tcp_timewait_state_process (server), secure_tcp_seq (initial numbers).
"""

import errno
import socket

import pytest

from harness.predict.timers import initial_numbers_by_clock

UPLOAD = 96 << 20  # initial numbers follow a clock of 64 ns, so the next one falls behind these bytes for 6.4 s
ABOVE_THE_OLD = 65539  # from the initial number of the old connection to that of the new: SYN, FIN, then 65535 + 2


def serve(address, reads=1):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.recv(reads, socket.MSG_WAITALL)  # 0 bytes: at once; 1, where nothing is sent: at the client's FIN
        connection.shutdown(socket.SHUT_WR)
        yield "half closed"
        connection.close()
        yield "closed"


def two_port_client(address, reads=0, sends=0):  # the article's; play() leaves it two ports
    connection = None
    while not connection:
        try:
            connection = socket.create_connection(address)
        except OSError as error:
            yield errno.errorcode[error.errno]
    yield "connected"
    connection.sendall(bytes(sends))
    connection.recv(reads)
    connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    connection.close()
    yield "closed"


def play(lab, address, first_to_close, upload=0, ports=(45000, 45001)):
    """One connection after the other, as many as the client has ports. Who waits for a FIN closes second."""
    client_reads, server_reads = (0, 1) if first_to_close == "client" else (1, upload)
    lab.set_ephemeral_ports(ports)
    # At 0 an ACK that comes late from another CPU (enqueue_to_backlog) would cost the TIME_WAIT: RFC 1337.
    lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)
    server = lab.start(serve, address, server_reads, to="listening")
    for _ in ports:
        client = lab.start(two_port_client, address, client_reads, upload, to="connected")
        client.resume()
        server.run_to("half closed")
        client.run_to("half closed")  # an orphan can lose this FIN ("Bad case" in tcp_rcv_state_process)
        server.run_to("closed")
        client.finish()


def set_reuse(lab, mode, delay_ms):
    """The delay in force; 0 where the kernel has no sysctl for it: it then waits a second, or less."""
    lab.set_sysctl("net.ipv4.tcp_tw_reuse", mode)
    if not lab.sysctl("net.ipv4.tcp_tw_reuse_delay", default=""):
        return 0
    lab.set_sysctl("net.ipv4.tcp_tw_reuse_delay", delay_ms)
    return delay_ms


def test_neither_fin_wait2_nor_time_wait_needs_an_fd(lab):
    """Proves: 004-1. An orphan's FIN_WAIT2 may take 30 s here, so that its timer is not mistaken for TIME_WAIT's."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 30)
    server = lab.start(serve, lab.server_address, to="listening")
    lab.start(two_port_client, lab.server_address).run_to("closed")
    fin_wait2 = lab.expect_socket("client", state="FIN_WAIT2", inode=0)
    server.run_to("closed")
    time_wait = lab.expect_socket("client", state="TIME_WAIT", inode=0)
    assert fin_wait2.timer.name == time_wait.timer.name == "time_wait"
    assert 20 < fin_wait2.timer.expires_s <= 30 < 50 < time_wait.timer.expires_s <= 60
    assert lab.path("client") == ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]


def test_control_before_close_fin_wait2_has_an_fd_and_no_timer(lab):
    """Proves: 004-1. TIME_WAIT has none even then: the process keeps an fd of a socket that is CLOSED."""
    server = lab.start(serve, lab.server_address, to="listening")
    lab.start(two_port_client, lab.server_address).run_to("half closed")
    fin_wait2 = lab.expect_socket("client", state="FIN_WAIT2")
    assert (lab.holders("client"), fin_wait2.timer.name) == (["two_port_client"], "none")
    server.run_to("closed")
    lab.expect_socket("client", state="TIME_WAIT", inode=0)


def test_two_time_waits_use_up_two_ports_towards_one_server(lab):
    """Proves: 004-3"""
    play(lab, lab.server_address, first_to_close="client")
    assert [lab.state("client", port) for port in (45000, 45001)] == ["TIME_WAIT"] * 2
    lab.start(two_port_client, lab.server_address).run_to("EADDRNOTAVAIL")
    assert lab.wire(since="two_port_client 2: finished") == []
    for elsewhere in (lab.other_server_address, ("192.0.2.2", 9999)):
        lab.start(serve, elsewhere).run_to("listening")
        lab.start(two_port_client, elsewhere).run_to("connected")


def test_control_a_server_that_closes_first_leaves_both_ports_free(lab):
    """Proves: 004-4, and 004-3 by the cure."""
    play(lab, lab.server_address, first_to_close="server")
    lab.start(two_port_client, lab.server_address).run_to("connected")
    assert lab.wire(since="two_port_client 2: finished") == ["client S", "server SA", "client A"]


@pytest.mark.parametrize(
    ("timestamps", "upload", "flags", "above"),
    [(1, UPLOAD, "SA", ABOVE_THE_OLD), (0, 0, "SA", ABOVE_THE_OLD), (0, UPLOAD, "A", 2)],
    ids=["timestamp alone", "sequence number alone", "neither"],
)
def test_time_wait_steps_aside_for_a_syn_with_a_newer(lab, timestamps, upload, flags, above):
    """Proves: 004-4"""
    lab.set_sysctl("net.ipv4.tcp_timestamps", timestamps)
    play(lab, lab.server_address, "server", upload, ports=[45000])
    lab.set_sysctl("net.ipv4.tcp_rfc1337", 0)  # an answer A makes the client send R, and its next SYN connects
    lab.start(two_port_client, lab.server_address).run_to("connected")
    old_syn, old_syn_ack, _ = lab.segments(until="two_port_client: connected")
    new_syn, answer, *_ = lab.segments(since="two_port_client: finished")
    assert ((new_syn.seq - old_syn.seq) % 2**32 < upload) == (upload > 0)
    by_clock = initial_numbers_by_clock(new_syn.time_ns - old_syn_ack.time_ns, answer.time_ns - old_syn.time_ns)
    assert answer.flags == flags
    grown = (answer.seq - old_syn_ack.seq) % 2**32
    # A kernel with tcp_tw_reuse_delay (6.14) takes it from TIME_WAIT (6.10); without, it may be one that does not.
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
    fin = next(segment for segment in others if (segment.source, segment.flags) == (lab.server_address, "FA"))
    assert (new_syn.time_ns - fin.time_ns) / 1e9 > delay_s
    assert (new_syn.seq - old_syn.seq) % 2**32 == ABOVE_THE_OLD
    assert lab.counter("TcpExtTWRecycled") == 1


@pytest.mark.parametrize(("mode", "timestamps", "host"), [(2, 1, "127.0.0.2"), (1, 0, "192.0.2.3")])
def test_control_reuse_needs_timestamps_and_at_2_loopback(lab, mode, timestamps, host):
    """Proves: 004-5. The TIME_WAITs elsewhere are newer: when they give way, the delay is over for the others too."""
    lab.set_sysctl("net.ipv4.tcp_timestamps", timestamps)
    play(lab, lab.server_address, first_to_close="client")
    lab.set_sysctl("net.ipv4.tcp_timestamps", 1)
    play(lab, (host, 9999), first_to_close="client")
    set_reuse(lab, mode, delay_ms=1)
    lab.start(two_port_client, (host, 9999)).run_to("connected")
    lab.start(two_port_client, lab.server_address).run_to("EADDRNOTAVAIL")
    assert lab.counter("TcpExtTWRecycled") == 1
