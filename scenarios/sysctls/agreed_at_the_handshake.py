"""What two ends have agreed on in SYN and SYN-ACK, no sysctl changes later; nor what a socket was born with.

SACK, timestamps, window scaling and ECN hold only where the SYN offered them and the SYN-ACK took them up; the size
that its buffers begin with, and congestion control, are a socket's from its birth. A sysctl that is changed reaches the
connections that begin after it (but for the third values of tcp_rmem and tcp_wmem, which are asked for whenever a
buffer grows: tcp_rcv_space_adjust, tcp_sndbuf_expand). A pool of connections lives on under the old values, and whoever
measures the change there measures nothing. The first tests say what the values in force give a connection.

    client                                     server
    SYN_SENT     ── S ────────────────────▶    SYN_RECV       sackOK, TS val, wscale; E and C: ECN
    ESTABLISHED  ◀─────────────────── SA ──                   the same, where S had it
                 ── A ────────────────────▶    ESTABLISHED
        :        tcp_sack=1, from now on
        :        ── A ────────────────────▶    as it was
    SYN_SENT     ── S ────────────────────▶    the next connection has it

Sources: article 004, whose reuse of a TIME_WAIT hangs on timestamps; RFC 9293, section 3.2; RFC 2018, section 2; RFC
7323, sections 2.2 and 3.2; RFC 3168, section 6.1.1. Kernel: tcp_syn_options, tcp_parse_options, tcp_synack_options;
tcp_select_initial_window (scale), tcp_init_sock and tcp_sndbuf_expand (buffers), secure_tcp_ts_off (clock),
tcp_ecn_send_syn, tcp_assign_congestion_control.
"""

import socket

from harness.explain.profile import host_values
from harness.predict import limits

SACK, SCALING, ECN = 2, 4, 8  # include/uapi/linux/tcp.h, TCPI_OPT_…
OFF = {"net.ipv4.tcp_sack": 0, "net.ipv4.tcp_window_scaling": 0, "net.ipv4.tcp_ecn": 0}


def listen(address):
    listener = socket.create_server(address)
    yield "listening"
    listener.accept()


def call(address):
    """What getsockopt() says of its one connection."""
    connection = socket.socket()
    at_birth = [connection.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_RCVBUF, socket.SO_SNDBUF)]
    connection.connect(address)
    yield "connected"
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    return {
        "options": info[5],
        "scale": info[6] >> 4,  # the second of two bit fields: of what it receives
        "buffers": at_birth,
        "send buffer": connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        "mss": connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG),
        "congestion": connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode(),
    }


def connect(lab):
    lab.set_sysctl("net.ipv4.tcp_syncookies", 1)  # at 2 a SYN-ACK without timestamps has no room for options
    lab.set_sysctl("net.core.somaxconn", 4096)
    lab.start(listen, lab.server_address, to="listening")
    return lab.start(call, lab.server_address, to="connected")


def numbers(lab, key):
    return [int(each) for each in lab.sysctl(key).split()]


def yes(value):
    return "yes" if value else "no"


def test_sack_is_agreed_on_as_configured(lab):
    """Observes: net.ipv4.tcp_sack"""
    agreed = connect(lab).finish()["options"] & SACK
    lab.finding("SACK is agreed on", yes(agreed))
    assert bool(agreed) == (lab.sysctl("net.ipv4.tcp_sack") != "0")


def test_timestamps_are_sent_by_a_clock_as_configured(lab):
    """Observes: net.ipv4.tcp_timestamps. At 1, each pair of addresses has an offset of its own."""
    connect(lab)
    syn, syn_ack, *_ = lab.segments()
    sent = limits.timestamps(int(lab.sysctl("net.ipv4.tcp_timestamps")))
    seen = "none"
    if syn.timestamp and syn_ack.timestamp:
        ahead_ms = (syn.timestamp[0] - syn.time_ns // 1_000_000 + 1000) % 2**32  # both are CLOCK_MONOTONIC
        seen = "the machine's uptime" if ahead_ms <= 2000 else "a clock of its own"
    lab.finding("timestamps", seen)
    assert seen == sent


def test_ecn_is_agreed_on_as_configured(lab):
    """Observes: net.ipv4.tcp_ecn. The kernel's 2 accepts it and asks nobody, so two of its kind never use it."""
    agreed = connect(lab).finish()["options"] & ECN
    lab.finding("ECN is agreed on", yes(agreed))
    congestion = lab.sysctl("net.ipv4.tcp_congestion_control")
    assert bool(agreed) == limits.ecn_agreed(int(lab.sysctl("net.ipv4.tcp_ecn")), congestion)


def test_windows_are_scaled_as_configured(lab):
    """Observes: net.ipv4.tcp_window_scaling, net.ipv4.tcp_rmem"""
    told = connect(lab).finish()
    scaling, (_, _, most) = int(lab.sysctl("net.ipv4.tcp_window_scaling")), numbers(lab, "net.ipv4.tcp_rmem")
    lab.finding("windows are scaled", yes(told["options"] & SCALING))
    lab.finding("the receive window's scale", told["scale"])
    assert bool(told["options"] & SCALING) == bool(scaling)
    host_wide = host_values({"net.core.rmem_max"}).get(
        "net.core.rmem_max", "0"
    )  # some kernels show it to the host alone
    expected = limits.window_scale(scaling, most, int(host_wide))
    assert told["scale"] == expected if host_wide != "0" else told["scale"] >= expected


def test_buffers_are_as_configured(lab):
    """Observes: net.ipv4.tcp_rmem, net.ipv4.tcp_wmem"""
    told = connect(lab).finish()
    (_, receives, _), (_, sends, most) = numbers(lab, "net.ipv4.tcp_rmem"), numbers(lab, "net.ipv4.tcp_wmem")
    lab.finding("SO_RCVBUF of a new socket", told["buffers"][0])
    lab.finding("SO_SNDBUF of a new socket", told["buffers"][1])
    lab.finding("SO_SNDBUF once connected", told["send buffer"])
    assert told["buffers"] == [receives, sends]
    least, largest = limits.send_buffer(sends, most, told["mss"])
    assert least <= told["send buffer"] <= largest


def test_congestion_control_is_as_configured(lab):
    """Observes: net.ipv4.tcp_congestion_control"""
    congestion = connect(lab).finish()["congestion"]
    lab.finding("congestion control", congestion)
    assert congestion == lab.sysctl("net.ipv4.tcp_congestion_control")


def play(lab):
    """A connection that begins while nothing is offered, and then everything is switched on."""
    for key, value in OFF.items():
        lab.set_sysctl(key, value)
    client = connect(lab)
    for key in OFF:
        lab.set_sysctl(key, 1)
    return client


def test_a_sysctl_that_changes_later_does_not_reach_an_open_connection(lab):
    """Its options and its scale are those of its SYN."""
    told = play(lab).finish()
    assert (told["options"] & (SACK | SCALING | ECN), told["scale"]) == (0, 0)
    assert lab.wire()[:3] == ["client S", "server SA", "client A"]


def test_control_a_connection_that_begins_after_the_change_has_it(lab):
    """The same sysctls, the same two hosts: it is the SYN that counts."""
    play(lab)
    told = lab.start(call, lab.server_address).finish()
    assert told["options"] & (SACK | SCALING | ECN) == SACK | SCALING | ECN
    assert [segment.all_flags for segment in lab.segments(since="call: connected")[:3]] == ["SEC", "SAE", "A"]
