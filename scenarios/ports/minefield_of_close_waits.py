"""Leaked CLOSE_WAITs are mines: a client whose ephemeral port hits one connects late.

The kernel chooses the ephemeral port, so the fault of close_wait_meets_reused_port.py looks like
chance: most clients connect at once. A client that is given the port of a leaked CLOSE_WAIT
connects late: two jiffies today, a second or a timeout in the articles. Each mine goes off only
once, because the client's RST removes it. The counters show it: one challenge ACK, one connection
reset and one retransmitted SYN for each mine, while no SYN is dropped and no queue overflows.

    clients, ports from the kernel              server, which leaked 300 of the 512 ports
    50000  ── S ──────────────────────────▶     no such connection: the listener
           ◀────────────────────────── SA ──
           ── A ──────────────────────────▶     ESTABLISHED
    50001  ── S ──────────────────────────▶     CLOSE_WAIT: a mine
           ◀─────────────────────────── A ──    challenge ACK
           ── R ──────────────────────────▶     CLOSED
           ── S ──────────────────────────▶     the listener, two jiffies later

Sources: article 001; RFC 5961, section 4. Kernel: __inet_hash_connect chooses the ports with the
help of a secret, so it is chance which client hits a mine; where the mines are is decided by this
file's seed. As each port is given to one client, every mine goes off.
"""

import random
import select
import socket
from collections import defaultdict

import pytest

from harness.predict import timers

PORTS = range(50000, 50512)
MINES = random.Random(2016).sample(PORTS, 300)  # noqa: S311 (places in a field, no secrets)
AT_ONCE = ["S", "SA", "A"]
AFTER_A_MINE = ["S", "A", "R", "S", "SA", "A"]
ONE_FOR_EACH_MINE = [
    "TcpExtTCPChallengeACK",
    "TcpExtTCPSYNChallenge",
    "TcpExtTCPSynRetrans",
    "TcpEstabResets",
]


def leaking_listener(address):
    """The article's listener: it accepts every connection, and never closes one."""
    listener = socket.create_server(address, backlog=len(PORTS))
    leaked = []
    yield "listening"
    while True:
        connection, _ = listener.accept()
        leaked.append(connection)
        if len(leaked) == len(MINES):
            yield "has leaked"


def lay_mines(address, host):
    connections = [socket.create_connection(address, source_address=(host, port)) for port in MINES]
    yield "connected"
    for connection in connections:
        connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    for connection in connections:
        connection.close()


def ordinary_clients(address):
    """All connect at the same time, each from the port that the kernel gives it, and stay."""
    clients = [socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in PORTS]
    yield "ready"
    for client in clients:
        client.connect_ex(address)
    for client in clients:
        select.select([], [client], [])
    errors = {client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) for client in clients}
    yield "connected" if errors == {0} else f"errors: {errors}"


def play(lab):
    """Until the clients' ends of the leaked connections are gone, and their ports free again."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 0)  # FIN_WAIT2 ends after 3.5 RTOs (tcp_fin_time)
    server = lab.start(leaking_listener, lab.server_address, to="listening")
    layer = lab.start(lay_mines, lab.server_address, lab.client_address(0)[0], to="connected")
    server.run_to("has leaked")
    # The FIN must be acknowledged before close(): an ACK that arrives during close() leaves a full
    # socket in FIN_WAIT2 (tcp_rcv_state_process, "Bad case"). That socket sends RST when it ends
    # (tcp_keepalive_timer), and the RST would remove the mine.
    layer.run_to("half closed")
    lab.expect_table(LISTEN=1, FIN_WAIT2=len(MINES), CLOSE_WAIT=len(MINES))
    layer.finish()
    lab.expect_table(LISTEN=1, CLOSE_WAIT=len(MINES))
    lab.set_ephemeral_ports(PORTS)
    return server


def connect_ordinary_clients(lab):
    """The segments of each client, by its port. They stay, as one that ends might send RST."""
    lab.start(ordinary_clients, lab.server_address).run_to("connected")
    by_port = defaultdict(list)
    for segment in lab.segments(since="ready"):
        [port] = {*segment.ports} - {lab.server_address[1]}
        by_port[port].append(segment)
    assert sorted(by_port) == list(PORTS)
    return by_port


@pytest.mark.waits(1)
def test_a_client_given_the_port_of_a_leaked_close_wait_is_late(lab):
    """Proves: 001-5"""
    play(lab)
    by_port = connect_ordinary_clients(lab)
    flags = {port: [segment.flags for segment in segments] for port, segments in by_port.items()}
    late = [port for port in PORTS if flags[port] != AT_ONCE]
    lab.finding("clients that stepped on a mine", f"{len(late)} of {len(PORTS)}")
    assert late == sorted(MINES)
    assert all(flags[port] == AFTER_A_MINE for port in late)
    waits_s = [lab.gap_s(by_port[port][1], by_port[port][3]) for port in late]
    assert min(waits_s) > timers.quick_syn_retry(timers.tick_s()).at_least_s
    for counter in ONE_FOR_EACH_MINE:
        assert lab.counter(counter) == 300, counter
    assert lab.counter("TcpExtListenOverflows") == lab.counter("TcpExtListenDrops") == 0
    of_server = [row for row in lab.sockets() if row.local == lab.server_address and row.inode]
    assert "CLOSE_WAIT" not in {row.state for row in of_server}


@pytest.mark.waits(1)
def test_control_after_a_restart_all_clients_connect_at_once(lab):
    """Proves: 001-5, by the cure that every administrator knows: a restart."""
    play(lab).kill()
    lab.start(leaking_listener, lab.server_address, name="restarted listener", to="listening")
    by_port = connect_ordinary_clients(lab)
    assert all([segment.flags for segment in segments] == AT_ONCE for segments in by_port.values())
    assert lab.counter("TcpExtTCPChallengeACK") == lab.counter("TcpExtTCPSynRetrans") == 0
