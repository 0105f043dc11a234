"""A client that closes first runs out of its 28,232 ports long before it runs out of memory.

A TIME_WAIT costs one small kernel object instead of a whole socket, and no file descriptor. But it
keeps a port for 60 s, towards one server address and port: 28,232 ports in 60 s are at most 470
connections a second.

    client, 32768 to 60999                      echo server
    FIN_WAIT1    ── FA ───────────────────▶     CLOSE_WAIT: recv() returns end of stream, close()
    FIN_WAIT2    ◀──────────────────── A ──
    TIME_WAIT    ◀─────────────────── FA ──     LAST_ACK
                 ── A ────────────────────▶     CLOSED
    28,232 times; then connect(): EADDRNOTAVAIL, without a segment; to another server: S, SA, A

connect() tries one port after the other, so its search takes longer the fewer ports are free. The
story opens the range in windows of 1,000 ports to keep the search short, and measures the search
over the whole range at the end.

Sources: article 004; RFC 9293, section 3.4.2 (quiet time). Kernel: tcp_time_wait (inet_twsk_alloc,
from the cache tw_sock_TCP), __inet_hash_connect (odd ports only if no even one is left),
__inet_check_established.
"""

import errno
import socket
import time

import pytest

PORTS = range(32768, 61000)  # the kernel's default (net/ipv4/af_inet.c, inet_init_net)
WINDOW = 1000
SOME = 100
SLAB = {4: "TCP", 6: "TCPv6"}  # by family: tcp_prot.name, tcpv6_prot.name


def echo_server(address):
    """Article 004's: it sends back what it receives, and closes once the client has closed."""
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        with connection:
            while data := connection.recv(1024):
                connection.sendall(data)


def client(address, count):
    """Article 004's, which closes first."""
    for _ in range(count):
        connection = socket.create_connection(address)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        connection.close()
    yield "closed"


def keep_open(address, count):
    connections = [socket.create_connection(address) for _ in range(count)]
    yield f"{len(connections)} connected"


def one_more(address):
    yield "ready"
    began = time.monotonic()
    try:
        socket.create_connection(address)
        answer = "connected"
    except OSError as error:
        answer = errno.errorcode[error.errno]
    return answer, time.monotonic() - began


def play(lab, ports):
    """One connection from each port; the client closes each before it opens the next."""
    lab.protect_time_wait_from_late_acks()
    lab.start(echo_server, lab.server_address, to="listening").resume()
    for start in range(0, len(ports), WINDOW):
        window = ports[start : start + WINDOW]
        lab.set_ephemeral_ports(window)
        lab.start(client, lab.server_address, len(window)).finish()
    lab.set_ephemeral_ports(ports)


def expect_time_waits(lab, count):
    lab.expect_table(LISTEN=1, TIME_WAIT=count)
    host, _ = lab.client_address(0)
    owners = {(row.local[0], row.inode) for row in lab.sockets() if row.state == "TIME_WAIT"}
    assert owners == {(host, 0)}
    assert lab.sockstat("TCP tw") == count
    time_wait, whole = lab.slab(f"tw_sock_{SLAB[lab.family]}"), lab.slab(SLAB[lab.family])
    if time_wait and whole:  # only root sees these counts; they include the whole machine's objects
        assert time_wait.objects >= count
        assert time_wait.object_bytes * 4 < whole.object_bytes
        kib = count * time_wait.object_bytes // 1024
        memory = f"{kib} KiB; of a whole socket {whole.object_bytes} bytes"
        lab.finding(f"kernel memory of {count} TIME_WAITs", memory)


def test_a_time_wait_costs_a_small_object_and_no_fd(lab):
    """Proves: 004-2"""
    play(lab, PORTS[:SOME])
    expect_time_waits(lab, SOME)


def test_control_an_open_connection_costs_whole_sockets_and_an_fd(lab):
    """Proves: 004-2. One socket at each end."""
    lab.start(echo_server, lab.server_address, to="listening")
    lab.start(keep_open, lab.server_address, SOME, to="100 connected")
    lab.expect_table(LISTEN=1, ESTABLISHED=2 * SOME)
    assert lab.sockstat("TCP tw") == 0
    host, _ = lab.client_address(0)
    assert len({row.inode for row in lab.sockets() if row.local[0] == host}) == SOME
    if whole := lab.slab(SLAB[lab.family]):
        assert whole.objects >= 2 * SOME


@pytest.mark.large
def test_the_default_range_is_used_up_towards_one_server(lab):
    """Proves: 004-2, 004-3"""
    play(lab, PORTS)
    expect_time_waits(lab, 28232)
    answer, search_s = lab.start(one_more, lab.server_address, to="ready").finish()
    assert answer == "EADDRNOTAVAIL"
    assert lab.wire(since="ready") == []
    search = f"{answer} after a search of {search_s * 1000:.1f} ms"
    lab.finding("the first connect() that fails", search)
    lab.start(echo_server, lab.other_server_address, name="other", to="listening")
    lab.start(keep_open, lab.other_server_address, 1, to="1 connected")
    assert lab.wire(since="one_more: finished") == ["client S", "other server SA", "client A"]
