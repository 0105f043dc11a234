"""No sysctl changes what an open connection negotiated, nor what its socket was created with.

SACK, timestamps, window scaling and ECN hold only if the SYN offered them and the SYN-ACK accepted
them. Initial buffer sizes and congestion control are copied into a socket when it is created. So a
change of these sysctls reaches only the connections that begin after it. (The exceptions are the
third values of tcp_rmem and tcp_wmem: the kernel reads them whenever a buffer grows, in
tcp_rcv_space_adjust and tcp_sndbuf_expand.) A connection pool keeps the old values, and a benchmark
that uses the pool does not measure the change. The tests "as configured" show what the current
values give a connection.

    client                                     server
    SYN_SENT     ── S ────────────────────▶    SYN_RECV       sackOK, TS val, wscale; E and C: ECN
    ESTABLISHED  ◀─────────────────── SA ──                   the same, if S had it
                 ── A ────────────────────▶    ESTABLISHED
        :        tcp_sack=1, from now on
        :        ── A ────────────────────▶    as before
    SYN_SENT     ── S ────────────────────▶    the next connection has it

Sources: article 004, in which the reuse of a TIME_WAIT depends on timestamps; RFC 9293, section
3.2; RFC 2018, section 2; RFC 7323, sections 2.2 and 3.2; RFC 3168, section 6.1.1. Kernel:
tcp_syn_options, tcp_parse_options, tcp_synack_options; tcp_select_initial_window (scale),
tcp_init_sock and tcp_sndbuf_expand (buffers), secure_tcp_ts_off (clock), tcp_ecn_send_syn,
tcp_assign_congestion_control.
"""

import socket

from harness.explain.profile import host_values
from harness.predict import limits
from harness.stock_roles import listen

SACK, SCALING, ECN = 2, 4, 8  # include/uapi/linux/tcp.h, TCPI_OPT_…
ALL_OPTIONS = SACK | SCALING | ECN
OPTION_SYSCTLS = ("net.ipv4.tcp_sack", "net.ipv4.tcp_window_scaling", "net.ipv4.tcp_ecn")


def call(address):
    """It returns what getsockopt() reports of its connection."""
    connection = socket.socket()
    receive_buffer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    send_buffer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    connection.connect(address)
    yield "connected"
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    congestion = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return {
        "options": info[5],
        "receive scale": info[6] >> 4,  # the second of two bit fields
        "initial receive buffer": receive_buffer,
        "initial send buffer": send_buffer,
        "send buffer": connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        "mss": connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG),
        "congestion": congestion.rstrip(b"\0").decode(),
    }


def connect(lab):
    # At 2, a SYN-ACK without timestamps has no room for the options.
    lab.set_sysctl("net.ipv4.tcp_syncookies", 1)
    lab.set_sysctl("net.core.somaxconn", 4096)
    lab.start(listen, lab.server_address, to="listening")
    return lab.start(call, lab.server_address, to="connected")


def connect_and_then_switch_on(lab):
    """A connection that begins with all options off; then they are switched on."""
    for key in OPTION_SYSCTLS:
        lab.set_sysctl(key, 0)
    client = connect(lab)
    for key in OPTION_SYSCTLS:
        lab.set_sysctl(key, 1)
    return client


def test_a_later_sysctl_does_not_reach_an_open_connection(lab):
    """Its options and its scale are those of its SYN."""
    reported = connect_and_then_switch_on(lab).finish()
    assert reported["options"] & ALL_OPTIONS == 0
    assert reported["receive scale"] == 0
    assert lab.wire()[:3] == ["client S", "server SA", "client A"]


def test_control_a_new_connection_has_the_new_values(lab):
    """With the same sysctls on the same hosts: the SYN decides."""
    connect_and_then_switch_on(lab)
    reported = lab.start(call, lab.server_address).finish()
    assert reported["options"] & ALL_OPTIONS == ALL_OPTIONS
    syn, syn_ack, ack, *_ = lab.segments(since="call: connected")
    assert (syn.all_flags, syn_ack.all_flags, ack.all_flags) == ("SEC", "SAE", "A")


def yes_or_no(value):
    return "yes" if value else "no"


def test_sack_is_agreed_on_as_configured(lab):
    """Observes: net.ipv4.tcp_sack"""
    agreed = connect(lab).finish()["options"] & SACK
    lab.finding("SACK is agreed on", yes_or_no(agreed))
    assert bool(agreed) == (lab.sysctl("net.ipv4.tcp_sack") != "0")


def test_timestamps_are_sent_by_a_clock_as_configured(lab):
    """Observes: net.ipv4.tcp_timestamps. At 1, each pair of addresses has its own random offset."""
    connect(lab)
    syn, syn_ack, *_ = lab.segments()
    expected = limits.timestamps(int(lab.sysctl("net.ipv4.tcp_timestamps")))
    seen = "none"
    if syn.timestamp and syn_ack.timestamp:
        # Both are CLOCK_MONOTONIC.
        ahead_ms = (syn.timestamp[0] - syn.time_ns // 1_000_000 + 1000) % 2**32
        seen = "the machine's uptime" if ahead_ms <= 2000 else "a clock of its own"
    lab.finding("timestamps", seen)
    assert seen == expected


def test_ecn_is_agreed_on_as_configured(lab):
    """Observes: net.ipv4.tcp_ecn. At 2, the default, an end accepts ECN but never asks for it."""
    agreed = connect(lab).finish()["options"] & ECN
    lab.finding("ECN is agreed on", yes_or_no(agreed))
    congestion = lab.sysctl("net.ipv4.tcp_congestion_control")
    assert bool(agreed) == limits.ecn_agreed(int(lab.sysctl("net.ipv4.tcp_ecn")), congestion)


def test_windows_are_scaled_as_configured(lab):
    """Observes: net.ipv4.tcp_window_scaling, net.ipv4.tcp_rmem"""
    reported = connect(lab).finish()
    agreed = reported["options"] & SCALING
    scaling = int(lab.sysctl("net.ipv4.tcp_window_scaling"))
    lab.finding("windows are scaled", yes_or_no(agreed))
    lab.finding("the receive window's scale", reported["receive scale"])
    assert bool(agreed) == bool(scaling)

    _, _, rmem_max = lab.sysctl("net.ipv4.tcp_rmem").split()
    # Some kernels show this one only to the host.
    host_rmem_max = int(host_values({"net.core.rmem_max"}).get("net.core.rmem_max", "0"))
    scale = limits.window_scale(scaling, int(rmem_max), host_rmem_max)
    if host_rmem_max:
        assert reported["receive scale"] == scale
    else:
        assert reported["receive scale"] >= scale


def test_buffers_are_as_configured(lab):
    """Observes: net.ipv4.tcp_rmem, net.ipv4.tcp_wmem"""
    reported = connect(lab).finish()
    _, receive_initial, _ = (int(value) for value in lab.sysctl("net.ipv4.tcp_rmem").split())
    _, send_initial, send_max = (int(value) for value in lab.sysctl("net.ipv4.tcp_wmem").split())
    lab.finding("SO_RCVBUF of a new socket", reported["initial receive buffer"])
    lab.finding("SO_SNDBUF of a new socket", reported["initial send buffer"])
    lab.finding("SO_SNDBUF once connected", reported["send buffer"])
    assert reported["initial receive buffer"] == receive_initial
    assert reported["initial send buffer"] == send_initial
    least, largest = limits.send_buffer(send_initial, send_max, reported["mss"])
    assert least <= reported["send buffer"] <= largest


def test_congestion_control_is_as_configured(lab):
    """Observes: net.ipv4.tcp_congestion_control"""
    congestion = connect(lab).finish()["congestion"]
    lab.finding("congestion control", congestion)
    assert congestion == lab.sysctl("net.ipv4.tcp_congestion_control")
