"""connect() may be given the port that a service wants: it cannot listen, and there is no listener.

connect() without bind() takes any port of ip_local_port_range that no bind() has given out. If a
service is to listen on such a port, and any program on its host has an outgoing connection from it,
the service gets EADDRINUSE. Its SO_REUSEADDR does not help, because the outgoing connection has not
set it. `ss -l` shows nothing: the holder is a client. If that has closed first, TIME_WAIT keeps the
port for another 60 s, and no process holds it.

    client's host: agent                       server
    SYN_SENT     ── S ────────────────────▶    from port 45000, the service's
    ESTABLISHED  ◀─────────────────── SA ──
                 ── A ────────────────────▶    ESTABLISHED
    service: bind(45000): EADDRINUSE

Sources: RFC 6056, section 3.2; RFC 6335, section 6; Documentation/networking/ip-sysctl.rst
(ip_local_reserved_ports). Kernel: __inet_hash_connect in net/ipv4/inet_hashtables.c passes over
reserved ports and those that bind() has given out; inet_bind_conflict.
"""

import socket

import pytest

from harness.predict import timers
from harness.stock_roles import accept
from harness.stock_roles import serve as read_to_the_end

RESERVED = "net.ipv4.ip_local_reserved_ports"
PORT, OTHER_PORT = 45000, 45001
ANY_HOST = ""


def agent(address):
    """Some program of the service's host that is a client of some server."""
    connection = socket.create_connection(address)
    yield "connected"
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)


def serve(address, reuse):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    listener.bind(address)
    listener.listen()
    yield "listening"


def start_agent(lab):
    """It connects to some server, from a port that the kernel chooses; that port."""
    lab.start(accept, lab.server_address, to="listening")
    lab.start(agent, lab.server_address, to="connected")
    [syn, _, _] = lab.segments()
    return syn.source[1]


def start_service(lab, host=ANY_HOST, reuse=True):
    return lab.start(serve, (host, PORT), reuse, name="service")


def listeners(lab):
    return [row for row in lab.sockets() if row.state == "LISTEN" and row.local[1] == PORT]


def take_the_port(lab):
    """The range has just the service's port. (With the default range it is bad luck.)"""
    lab.set_ephemeral_ports([PORT])
    assert start_agent(lab) == PORT


@pytest.mark.parametrize("reuse", [False, True], ids=["without REUSEADDR", "with REUSEADDR"])
def test_the_service_cannot_listen_and_there_is_no_listener(lab, reuse):
    """The holder is a client, ESTABLISHED, without a timer: waiting does not help."""
    take_the_port(lab)
    assert listeners(lab) == []
    start_service(lab, reuse=reuse).fail_with("EADDRINUSE")
    assert lab.holders("client", PORT) == ["agent"]
    assert lab.expect_socket("client", PORT, state="ESTABLISHED").timer.name == "none"


def test_time_wait_keeps_the_port_when_the_client_has_gone(lab):
    """No process holds it any more; waiting helps after 60 s at most."""
    lab.protect_time_wait_from_late_acks()
    lab.set_ephemeral_ports([PORT])
    server = lab.start(read_to_the_end, lab.server_address, to="listening")
    client = lab.start(agent, lab.server_address, to="connected")
    server.run_to("accepted")
    client.resume()
    server.run_to("closed")
    client.finish()
    row = lab.expect_socket("client", PORT, state="TIME_WAIT", inode=0)
    assert 0 < row.timer.expires_s <= timers.TIME_WAIT_S
    start_service(lab).fail_with("EADDRINUSE")


def test_reserving_the_port_does_not_take_it_from_its_holder(lab):
    """ip_local_reserved_ports is for the connections that are yet to come."""
    take_the_port(lab)
    lab.set_sysctl(RESERVED, PORT)
    start_service(lab).fail_with("EADDRINUSE")


def test_control_on_another_address_the_service_can_listen(lab):
    """Only the address that the connection leaves from is taken, and 0.0.0.0 with it."""
    take_the_port(lab)
    own_host, _ = lab.client_address(PORT)
    start_service(lab, own_host).fail_with("EADDRINUSE")
    another_host, _ = lab.server_address
    start_service(lab, another_host).run_to("listening")


def test_control_a_reserved_port_is_left_to_the_service(lab):
    """connect() takes the only other port of the range; bind() may have the reserved one."""
    lab.set_ephemeral_ports([PORT, OTHER_PORT])
    lab.set_sysctl(RESERVED, PORT)
    assert start_agent(lab) == OTHER_PORT
    lab.start(agent, lab.server_address).fail_with("EADDRNOTAVAIL")
    start_service(lab).run_to("listening")


def test_control_a_range_apart_from_the_service_ports_is_enough(lab):
    """No port has to be reserved."""
    lab.set_ephemeral_ports([OTHER_PORT])
    assert start_agent(lab) == OTHER_PORT
    start_service(lab).run_to("listening")
    assert len(listeners(lab)) == 1


def test_control_a_service_that_starts_first_keeps_its_port(lab):
    """connect() passes over a port that bind() has given out: it happens at restarts only."""
    lab.set_ephemeral_ports([PORT, OTHER_PORT])
    start_service(lab).run_to("listening")
    assert start_agent(lab) == OTHER_PORT
    lab.start(agent, lab.server_address).fail_with("EADDRNOTAVAIL")
