"""bind(address, 0) before connect() uses a port up for all servers, not for one: EADDRINUSE.

A client that chooses its source address calls bind() with port 0. The kernel does not know yet to
which server the connection will go, so it takes a port that no socket of that address has. So there
are as many such connections as ephemeral ports, to all servers together; then bind() fails with
EADDRINUSE. connect() alone takes a port when the server is known, so it has as many towards each
server, and then fails with EADDRNOTAVAIL. It passes over the ports that bind() has taken, so other
programs lose them, too. With IP_BIND_ADDRESS_NO_PORT, bind() leaves the port to connect().

    client, with 4 ephemeral ports             server              other server
    bind(0), connect(): 4 times  ── S ─────▶
    bind(0): EADDRINUSE                        (no segment)        (no segment)
    or
    connect(): 4 times           ── S ─────▶
    connect(): EADDRNOTAVAIL                   (no segment)
    connect(): 4 times           ── S ──────────────────────────▶
    connect(): EADDRNOTAVAIL                                       (no segment)

Sources: ip(7), IP_BIND_ADDRESS_NO_PORT (Linux 4.2); RFC 6056, section 3.1; ip_autobind_reuse in
Documentation/networking/ip-sysctl.rst (Linux 5.7). Kernel: inet_csk_find_open_port, against
__inet_hash_connect, which passes over each port whose fastreuse is not -1, and
__inet_check_established.
"""

import errno
import socket

import pytest

from harness.stock_roles import listen

FOUR_PORTS = range(45000, 45004)  # an odd number would leave one out
AUTOBIND_REUSE = "net.ipv4.ip_autobind_reuse"
NO_PORT = (socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24))
REUSEADDR = (socket.SOL_SOCKET, socket.SO_REUSEADDR)
REUSEPORT = (socket.SOL_SOCKET, socket.SO_REUSEPORT)
IN_USE = "connections, then bind() fails with EADDRINUSE"
NOT_AVAILABLE = "connections, then connect() fails with EADDRNOTAVAIL"


def connect_until_it_fails(addresses, source_host, options=()):
    """Towards one server after the other; all connections are kept."""
    connections, outcomes = [], []
    for address in addresses:
        before = len(connections)
        try:
            while True:
                call = "socket"
                connection = socket.socket()
                for level, option in options:
                    connection.setsockopt(level, option, 1)
                if source_host:
                    call = "bind"
                    connection.bind((source_host, 0))
                call = "connect"
                connection.connect(address)
                connections.append(connection)
        except OSError as error:
            opened, name = len(connections) - before, errno.errorcode[error.errno]
            outcomes.append(f"{opened} connections, then {call}() fails with {name}")
            yield outcomes[-1]
    return outcomes


def accept_and_close(address):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.recv(1)  # until the client's FIN
        connection.close()


def connect_and_close(address, source_host, count):
    source = (source_host, 0) if source_host else None
    for _ in range(count):
        with socket.create_connection(address, source_address=source) as connection:
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
    yield "closed"


def own_host(lab):
    return lab.client_address(0)[0]


def start_client(lab, source_host, options=()):
    """Two servers that listen, and a client with four ephemeral ports."""
    lab.set_ephemeral_ports(FOUR_PORTS)
    servers = [lab.server_address, lab.other_server_address]
    for address in servers:
        lab.start(listen, address, to="listening")
    return lab.start(connect_until_it_fails, servers, source_host, options)


def syns(lab, since=None):
    return [segment for segment in lab.segments(since) if segment.flags == "S"]


def test_bind_uses_the_ports_up_for_all_servers(lab):
    """The four ports are used towards one server; there is none for the other one either."""
    client = start_client(lab, own_host(lab))
    used_up = client.run_to(f"4 {IN_USE}")
    assert {syn.source[1] for syn in syns(lab)} == set(FOUR_PORTS)
    assert {syn.destination for syn in syns(lab)} == {lab.server_address}
    client.run_to(f"0 {IN_USE}")
    assert lab.wire(since=used_up) == []


def test_control_connect_alone_has_as_many_for_each_server(lab):
    """The same four ports once more; the error is another one, too."""
    client = start_client(lab, "")
    used_up = client.run_to(f"4 {NOT_AVAILABLE}")
    client.run_to(f"4 {NOT_AVAILABLE}")
    assert sorted(syn.source[1] for syn in syns(lab, since=used_up)) == list(FOUR_PORTS)
    assert {syn.destination for syn in syns(lab, since=used_up)} == {lab.other_server_address}


def test_control_with_bind_address_no_port_it_is_as_without_bind(lab):
    """The client still chooses its source address."""
    client = start_client(lab, own_host(lab), options=[NO_PORT])
    client.run_to(f"4 {NOT_AVAILABLE}")
    client.run_to(f"4 {NOT_AVAILABLE}")
    assert {syn.source for syn in syns(lab)} == {(own_host(lab), port) for port in FOUR_PORTS}
    assert len(syns(lab)) == 8


def test_another_program_that_only_connects_loses_the_ports_too(lab):
    """connect() passes over each port that bind() has given out, whatever the server."""
    start_client(lab, own_host(lab)).run_to(f"4 {IN_USE}")
    others = [lab.other_server_address]
    neighbour = lab.start(connect_until_it_fails, others, "", name="neighbour")
    neighbour.run_to(f"0 {NOT_AVAILABLE}")


@pytest.mark.parametrize("option", [REUSEADDR, REUSEPORT], ids=["REUSEADDR", "REUSEPORT"])
def test_options_for_reuse_do_not_help(lab, option):
    """bind() with port 0 looks for a port that no socket has, whatever the options say."""
    client = start_client(lab, own_host(lab), options=[option])
    client.run_to(f"4 {IN_USE}")
    client.run_to(f"0 {IN_USE}")


def test_autobind_reuse_with_reuseaddr_fails_at_random(lab):
    """bind() gives out a port that is taken; connect() fails if it has the same server."""
    lab.require_sysctl(AUTOBIND_REUSE, since="Linux 5.7")
    lab.set_sysctl(AUTOBIND_REUSE, 1)
    client = start_client(lab, own_host(lab), options=[REUSEADDR])
    client.run_to(f"4 {NOT_AVAILABLE}")
    outcome = client.finish()[-1]
    assert outcome in [f"{number} {NOT_AVAILABLE}" for number in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("first_binds", "next_binds", "outcome"),
    [
        (True, True, f"0 {IN_USE}"),
        (False, True, f"0 {IN_USE}"),
        (False, False, f"4 {NOT_AVAILABLE}"),
    ],
    ids=["bind, bind", "connect, bind", "connect, connect"],
)
def test_bind_passes_over_every_time_wait(lab, first_binds, next_binds, outcome):
    """However its port was chosen. connect() alone can use it for another server."""
    lab.protect_time_wait_from_late_acks()
    lab.set_ephemeral_ports(FOUR_PORTS)
    lab.start(accept_and_close, lab.server_address, to="listening").resume()
    host = own_host(lab)
    lab.start(connect_and_close, lab.server_address, host if first_binds else "", 4).finish()
    lab.start(listen, lab.other_server_address, to="listening")
    lab.expect_table(LISTEN=2, TIME_WAIT=4)
    others = [lab.other_server_address]
    client = lab.start(connect_until_it_fails, others, host if next_binds else "")
    client.run_to(outcome)
