"""connect() or its answer hangs: five causes look alike to the client, but not at both ends.

While it hangs, look at the sockets of both ends, the accept queue, the server process and the
counters. From the client alone, the full queue and the dropped SYN cannot be told apart, and the
leaked CLOSE_WAIT differs only in its time to ETIMEDOUT.

    client                                     server
    SYN_SENT     ── S ───────────────────▶     full accept queue: drops and counts it
                 ── S ───────────────────▶     a leaked CLOSE_WAIT challenges it; RST is lost
                 ── S ─────────╳               a dropped SYN: the server never sees it
    ESTABLISHED  ◀────────── SA, ── A ───▶     a stopped server: the kernel completes the handshake
    (no port)                                  an exhausted port range: no segment is sent

Sources: article 001; RFC 9293, section 3.10.7; RFC 5961, section 4. Kernel: tcp_conn_request (the
full queue), tcp_send_challenge_ack, tcp_write_timeout (ETIMEDOUT), __inet_hash_connect
(EADDRNOTAVAIL).
"""

import errno
import socket
from itertools import combinations
from typing import NamedTuple

import pytest

from harness.predict import timers

PORT, ONLY_PORT = 40001, 50000
COUNTERS = ("ListenOverflows", "ListenDrops", "TCPChallengeACK")


class Symptoms(NamedTuple):
    """The first five are seen while it hangs; then every segment, and how connect() ended."""

    client: str
    server: str
    accept_queue: str
    process: str
    counters: str
    wire: str
    connect: str


SYMPTOMS = {
    "full accept queue": Symptoms(
        client="SYN_SENT",
        server="CLOSED",
        accept_queue="2 of 1",
        process="sleeps in recvfrom()",
        counters="ListenOverflows ListenDrops",
        wire="S S",
        connect="ETIMEDOUT",
    ),
    "leaked CLOSE_WAIT, RST lost": Symptoms(
        client="SYN_SENT",
        server="CLOSE_WAIT",
        accept_queue="0 of 1",
        process="sleeps in accept4()",
        counters="TCPChallengeACK",
        wire="S A R S",
        connect="ETIMEDOUT",
    ),
    "dropped SYN": Symptoms(
        client="SYN_SENT",
        server="CLOSED",
        accept_queue="0 of 1",
        process="sleeps in accept4()",
        counters="",
        wire="S S",
        connect="ETIMEDOUT",
    ),
    "stopped server": Symptoms(
        client="ESTABLISHED",
        server="ESTABLISHED",
        accept_queue="1 of 1",
        process="is stopped",
        counters="",
        wire="S SA A",
        connect="connected",
    ),
    "exhausted port range": Symptoms(
        client="TIME_WAIT",
        server="CLOSED",
        accept_queue="0 of 1",
        process="sleeps in accept4()",
        counters="",
        wire="",
        connect="EADDRNOTAVAIL",
    ),
    "no fault": Symptoms(
        client="ESTABLISHED",
        server="ESTABLISHED",
        accept_queue="0 of 1",
        process="sleeps in recvfrom()",
        counters="",
        wire="S SA A",
        connect="connected",
    ),
}


def single_process_server(address):
    """It serves one connection at a time."""
    listener = socket.create_server(address, backlog=1)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.recv(1)
        connection.close()


def leaking_server(address):
    listener = socket.create_server(address, backlog=1)
    leaked = []
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.recv(1)
        leaked.append(connection)


def client(address, port):
    """It returns the name of connect()'s error."""
    connection = socket.socket()
    if port:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        connection.bind(("", port))
    yield "calling"
    error = connection.connect_ex(address)
    return errno.errorcode[error] if error else connection.recv(1)


def start_server(lab, role=single_process_server):
    lab.set_sysctl("net.ipv4.tcp_syn_retries", 1)
    lab.set_sysctl("net.ipv4.tcp_syn_linear_timeouts", 0, optional=True)
    server = lab.start(role, lab.server_address, to="listening")
    server.stay_blocked(in_="accept")
    return server


def come_and_go(lab, server, port):
    """A client connects and closes; when this returns, the server has seen it."""
    first = lab.start(client, lab.server_address, port, name="first client", to="calling")
    first.stay_blocked(in_="recv")
    server.stay_blocked(in_="recv")
    first.kill()
    server.stay_blocked(in_="accept")


def call(lab, port=PORT):
    return lab.start(client, lab.server_address, port, name="caller", to="calling")


def look(lab, server, port=PORT):
    listener = lab.listener()
    return {
        "client": lab.state("client", port),
        "server": lab.state("server", port),
        "accept_queue": f"{listener.recv_q} of {listener.send_q}",
        "process": server.doing(),
        "counters": " ".join(name for name in COUNTERS if lab.counter(f"TcpExt{name}")),
    }


def wait_for_timeout(lab, cause, caller, interval):
    error = caller.finish(within_s=interval.at_most_s + lab.allowance_s)
    lab.expect_duration(cause, caller.elapsed_s("calling", "finished"), interval)
    return error


def wire(lab, port=PORT):
    return " ".join(segment.flags for segment in lab.segments(since="caller: calling", port=port))


@pytest.mark.waits(2)
def test_a_full_accept_queue_drops_the_syn_and_counts_it(lab):
    """Proves: 001-4"""
    server = start_server(lab)
    for port in (40002, 40003, 40004):  # one is served and sends nothing; backlog + 1 wait
        other = lab.start(client, lab.server_address, port, name=f"client {port}", to="calling")
        other.stay_blocked(in_="recv")
    server.stay_blocked(in_="recv")

    caller = call(lab)
    caller.stay_blocked(in_="connect")
    seen = look(lab, server)
    error = wait_for_timeout(lab, "full accept queue", caller, lab.connect_timeout())
    assert Symptoms(**seen, wire=wire(lab), connect=error) == SYMPTOMS["full accept queue"]


@pytest.mark.waits(1)
def test_a_leaked_close_wait_challenges_the_syn(lab):
    """Proves: 001-4"""
    server = start_server(lab, leaking_server)
    come_and_go(lab, server, PORT)
    lab.drop(f"tcp sport {PORT} tcp flags & rst == rst")

    caller = call(lab)
    caller.stay_blocked(in_="connect")
    seen = look(lab, server)
    interval = lab.connect_timeout(first_s=timers.quick_syn_retry_s(timers.tick_s()))
    error = wait_for_timeout(lab, "leaked CLOSE_WAIT, RST lost", caller, interval)
    expected = SYMPTOMS["leaked CLOSE_WAIT, RST lost"]
    assert Symptoms(**seen, wire=wire(lab), connect=error) == expected


@pytest.mark.waits(2)
def test_a_dropped_syn_leaves_no_trace_at_the_server(lab):
    """Proves: 001-4"""
    server = start_server(lab)
    lab.drop("tcp flags & (syn | ack) == syn")

    caller = call(lab)
    caller.stay_blocked(in_="connect")
    seen = look(lab, server)
    error = wait_for_timeout(lab, "dropped SYN", caller, lab.connect_timeout())
    assert Symptoms(**seen, wire=wire(lab), connect=error) == SYMPTOMS["dropped SYN"]


def test_a_stopped_server_lets_connect_succeed(lab):
    """Proves: 001-4"""
    server = start_server(lab)
    server.stop()

    caller = call(lab)
    caller.stay_blocked(in_="recv")
    seen = look(lab, server)
    assert Symptoms(**seen, wire=wire(lab), connect="connected") == SYMPTOMS["stopped server"]


def test_an_exhausted_port_range_sends_nothing(lab):
    """Proves: 001-4"""
    lab.protect_time_wait_from_late_acks()
    lab.set_ephemeral_ports([ONLY_PORT])
    server = start_server(lab)
    come_and_go(lab, server, port=None)

    error = call(lab, port=None).finish()
    seen = look(lab, server, ONLY_PORT)
    expected = SYMPTOMS["exhausted port range"]
    assert Symptoms(**seen, wire=wire(lab, port=None), connect=error) == expected


def test_control_without_a_fault_the_server_serves_the_caller(lab):
    """Proves: 001-4"""
    server = start_server(lab)

    caller = call(lab)
    caller.stay_blocked(in_="recv")
    server.stay_blocked(in_="recv")
    seen = look(lab, server)
    assert Symptoms(**seen, wire=wire(lab), connect="connected") == SYMPTOMS["no fault"]


def test_one_look_while_it_hangs_tells_each_from_every_other():
    """Proves: 001-4. Only the columns of the look: no wire, and connect() has not ended yet."""
    print(table())
    looks = {cause: symptoms[:5] for cause, symptoms in SYMPTOMS.items()}
    alike = [pair for pair in combinations(looks, 2) if looks[pair[0]] == looks[pair[1]]]
    assert alike == []


def table():
    line = "{:28}{:12}{:12}{:8}{}\n    counters: {}; wire: {}; connect(): {}"
    looks = (
        line.format(cause, *seen[:4], *(cell or "-" for cell in seen[4:]))
        for cause, seen in SYMPTOMS.items()
    )
    headings = line.splitlines()[0].format("cause", "client", "server", "queue", "process")
    return "\n".join([headings, *looks])
