"""connect() hangs, or the answer does: five causes that look alike to the client, and what tells each from the others.

One look at both ends, at the listener's queue, at what the server's process does and at the counters is enough while
it hangs. Seen from the client alone, the first and the third differ in nothing, and the second only in its patience.

    client                                     server
    SYN_SENT     ── S ───────────────────▶     full accept queue: the kernel drops it, and counts
                 ── S ───────────────────▶     a mine: CLOSE_WAIT answers with a challenge; the R to that is lost
                 ── S ─────────╳               a dropped SYN: nothing there has heard of it
    ESTABLISHED  ◀────────── SA, ── A ───▶     a stopped server: the kernel shakes hands for it
    (no port)                                  an exhausted port range: not a segment is sent

Sources: article 001; RFC 9293, section 3.10.7; RFC 5961, section 4. Kernel: tcp_conn_request (the full queue),
tcp_send_challenge_ack, tcp_write_timeout (ETIMEDOUT), __inet_hash_connect (EADDRNOTAVAIL).
"""

import errno
import socket
from itertools import combinations
from typing import NamedTuple

import pytest

from harness.predict import timers

PORT = 40001
QUICK_RETRY_S = timers.quick_syn_retry_s(timers.tick_s())
COUNTERS = ("ListenOverflows", "ListenDrops", "TCPChallengeACK")


class Symptoms(NamedTuple):
    """The first five are seen while it hangs; then all segments, and how connect() ended."""

    client: str
    server: str
    accept_queue: str
    process: str
    counters: str
    wire: str
    connect: str


HEALTHY = ("0 of 1", "sleeps in accept4()", "")  # what a server shows that has nothing to do with it
SYMPTOMS = {
    "full accept queue": Symptoms(
        "SYN_SENT", "CLOSED", "2 of 1", "sleeps in recvfrom()", "ListenOverflows ListenDrops", "S S", "ETIMEDOUT"
    ),
    "mine, RST lost": Symptoms(
        "SYN_SENT", "CLOSE_WAIT", "0 of 1", "sleeps in accept4()", "TCPChallengeACK", "S A R S", "ETIMEDOUT"
    ),
    "dropped SYN": Symptoms("SYN_SENT", "CLOSED", *HEALTHY, "S S", "ETIMEDOUT"),
    "stopped server": Symptoms("ESTABLISHED", "ESTABLISHED", "1 of 1", "is stopped", "", "S SA A", "connected"),
    "exhausted port range": Symptoms("TIME_WAIT", "CLOSED", *HEALTHY, "", "EADDRNOTAVAIL"),
    "nothing": Symptoms("ESTABLISHED", "ESTABLISHED", "0 of 1", "sleeps in recvfrom()", "", "S SA A", "connected"),
}


def single_process_server(address, closes):
    """One connection after the other; where it does not close, it leaves mines behind."""
    listener = socket.create_server(address, backlog=1)
    leaked = []
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.recv(1)
        if closes:
            connection.close()
        else:
            leaked.append(connection)


def client(address, port):
    connection = socket.socket()
    if port:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind(("", port))
    yield "calling"
    error = connection.connect_ex(address)
    return errno.errorcode[error] if error else connection.recv(1)


def come_and_go(lab, server, port):
    """A connection that its client closes; the server has seen it when this returns."""
    first = lab.start(client, lab.server_address, port, name="first client", to="calling")
    first.stay_blocked(in_="recv")
    server.stay_blocked(in_="recv")
    first.kill()
    server.stay_blocked(in_="accept")


def prepare(lab, cause):
    """The fault, and a server that has come to rest with it."""
    server = lab.start(single_process_server, lab.server_address, cause != "mine, RST lost", to="listening")
    server.stay_blocked(in_="accept")
    match cause:
        case "full accept queue":
            for port in (40002, 40003, 40004):  # one is served, and says nothing; backlog + 1 wait
                other = lab.start(client, lab.server_address, port, name=f"client {port}", to="calling")
                other.stay_blocked(in_="recv")
            server.stay_blocked(in_="recv")
        case "mine, RST lost":
            come_and_go(lab, server, PORT)
            lab.drop(f"tcp sport {PORT} tcp flags & rst == rst")
        case "dropped SYN":
            lab.drop("tcp flags & (syn | ack) == syn")
        case "stopped server":
            server.stop()
        case "exhausted port range":
            # At 0 an ACK that comes late from another CPU (enqueue_to_backlog) would cost the TIME_WAIT: RFC 1337.
            lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)
            lab.set_ephemeral_ports([50000])
            come_and_go(lab, server, None)
    return server


def look(lab, server, port):
    """At both ends of the port, or of the only one that there is."""
    [listener] = [row for row in lab.sockets() if row.state == "LISTEN"]
    moved = [name for name in COUNTERS if lab.counter(f"TcpExt{name}")]
    queue = f"{listener.recv_q} of {listener.send_q}"
    return lab.state("client", port), lab.state("server", port), queue, server.doing(), " ".join(moved)


def play(lab, cause, waits_in, server_waits_in=None):
    """The symptoms of one cause; the client waits in connect(), in recv(), or not at all."""
    lab.set_sysctl("net.ipv4.tcp_syn_retries", 1)
    lab.set_sysctl("net.ipv4.tcp_syn_linear_timeouts", 0, where_it_exists=True)
    server = prepare(lab, cause)
    port, only_port = (None, 50000) if cause == "exhausted port range" else (PORT, None)
    caller = lab.start(client, lab.server_address, port, name="caller", to="calling")
    ended = caller.stay_blocked(in_=waits_in) if waits_in else caller.finish()
    if server_waits_in:
        server.stay_blocked(in_=server_waits_in)
    seen = look(lab, server, port or only_port)
    if waits_in == "connect":
        patience = lab.connect_timeout(QUICK_RETRY_S if cause == "mine, RST lost" else 1.0)
        ended = caller.finish(within_s=patience.at_most_s + lab.allowance_s)
        lab.expect_duration(cause, caller.elapsed_s("calling", "finished"), patience)
    segments = lab.segments(since="caller: calling", port=port) if port else lab.segments(since="caller: calling")
    return Symptoms(*seen, " ".join(segment.flags for segment in segments), ended or "connected")


@pytest.mark.waits(2)
@pytest.mark.parametrize(
    ("cause", "waits_in"),
    [("full accept queue", "connect"), ("mine, RST lost", "connect"), ("dropped SYN", "connect"),
     ("stopped server", "recv"), ("exhausted port range", None)],
)  # fmt: skip
def test_each_cause_shows_its_own_symptoms(lab, cause, waits_in):
    """Proves: 001-4"""
    assert play(lab, cause, waits_in) == SYMPTOMS[cause]


def test_control_without_a_fault_connect_succeeds_and_the_server_attends_to_it(lab):
    """Proves: 001-4"""
    assert play(lab, "nothing", "recv", server_waits_in="recv") == SYMPTOMS["nothing"]


def test_one_look_while_it_hangs_tells_each_from_every_other():
    """Proves: 001-4. The columns of the look alone: without the wire, and before connect() has ended."""
    print(table())
    looks = {cause: symptoms[:5] for cause, symptoms in SYMPTOMS.items()}
    alike = [pair for pair in combinations(looks, 2) if looks[pair[0]] == looks[pair[1]]]
    assert alike == []


def table():
    rows = [("cause", *Symptoms._fields), *((cause, *symptoms) for cause, symptoms in SYMPTOMS.items())]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
