"""A child that inherits a listener keeps it open: clients connect to a server that is gone.

The listener lives until its last descriptor is closed, and the kernel completes handshakes and
acknowledges requests without any process. So connect() succeeds and a health check that only
connects passes, until the accept queue is full. A restart fails with EADDRINUSE, because only
SO_REUSEPORT lets a socket share a port with a listener; and with SO_REUSEPORT the kernel still
gives its share of the clients to the listener that no process accepts from.

    client                                     server
                                               LISTEN, inherited by a child; the server ends
    SYN_SENT     ── S ────────────────────▶
    ESTABLISHED  ◀─────────────────── SA ──
                 ── A ────────────────────▶    ESTABLISHED, in the accept queue for ever
                 ── PA (request) ─────────▶    Recv-Q 7
                 ◀──────────────────── A ──
    CLOSED       ◀─────────────────── RA ──    CLOSED: the child is killed

Inheriting a listener on purpose is a good thing: under systemd's socket activation one process
keeps it while services come and go, and a client that connects in between waits and is served.

Sources: PEP 446; sd_listen_fds(3); ss(8). Kernel: sock_close comes with the last reference (fput);
inet_csk_listen_stop resets the queue (net/ipv4/inet_connection_sock.c); tcp_abort for ss -K, and
inet_shutdown for shutdown(), end LISTEN, but a bound socket keeps its port (SOCK_BINDPORT_LOCK).
"""

import os
import signal
import socket
import sys

import pytest

from harness.errors import LabUnavailable
from harness.inside.installed import find_program

PORTS = (40001, 40002, 40003)  # as many as the accept queue holds at a backlog of 2
NEXT_PORT = 40004
SHARED = 40  # clients of two listeners: that all come to the same one has odds of 2 to the 39th
SERVICE = """
import os, socket
first = 3  # SD_LISTEN_FDS_START
[fd] = range(first, first + int(os.environ["LISTEN_FDS"]))
listener = socket.socket(fileno=fd)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"answer to " + connection.recv(100))
    connection.close()
"""


def serve(address, variant, sleep, backlog):
    """create_server() sets SO_REUSEADDR."""
    listener = socket.create_server(address, backlog=backlog, reuse_port=variant == "reuse_port")
    listener.set_inheritable(variant not in ("CLOEXEC", "fork"))
    yield "listening"
    if variant == "fork":
        child = os.fork()
        while child == 0:
            signal.pause()
    else:
        child = os.posix_spawn(sleep, [sleep, "600"], {})
    yield "child started"
    if variant == "shutdown":
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    yield "listener closed"
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL  # until now it has lived
    yield "child ended"


def restart(address, options):
    listener = socket.socket()
    for option in options:
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
    listener.bind(address)
    listener.listen(SHARED)
    yield "listening"


def request(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.sendall(b"request")
    yield "sent"
    return connection.recv(100)


def connect_often(address, count):
    connections = [socket.create_connection(address) for _ in range(count)]
    yield f"connected {len(connections)} times"


def activate_by_socket(address, service):
    """As systemd does for a .socket unit: it keeps the listener, and the service inherits it."""
    listener = socket.create_server(address)
    yield "listening"
    while True:
        hand_over = [(os.POSIX_SPAWN_DUP2, listener.fileno(), 3)]
        pid = os.posix_spawn(service[0], service, {"LISTEN_FDS": "1"}, file_actions=hand_over)
        yield "service started"
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        yield "service killed"


def close_listener(lab, variant="inherits", holders=("serve", "sleep"), backlog=2):
    """The server has started a child, and has closed its own descriptor of the listener."""
    sleep = find_program("sleep", "coreutils")
    server = lab.start(serve, lab.server_address, variant, sleep, backlog, to="child started")
    # posix_spawn() returns before exec has closed the CLOEXEC descriptors (begin_new_exec).
    lab.expect_listener_holders(list(holders))
    server.run_to("listener closed")
    return server


def play(lab, *arguments, **options):
    """The same, and the server is killed."""
    close_listener(lab, *arguments, **options).kill()


def fill_the_queue(lab):
    return [lab.start(request, lab.server_address, port, to="sent") for port in PORTS]


def destroy(lab, match):
    """ss -K, as an operator does it."""
    ss = lab.run_program([find_program("ss", "iproute2"), "-KHtnl", match])
    assert ss.finish() == 0
    if not ss.output():
        raise LabUnavailable("ss -K destroys no socket here", "a kernel with INET_DIAG_DESTROY")


@pytest.mark.parametrize(("variant", "holder"), [("inherits", "sleep"), ("fork", "serve")])
def test_clients_connect_to_a_server_that_is_gone(lab, variant, holder):
    """An unrelated program holds the listener. CLOEXEC does not help against a plain fork()."""
    play(lab, variant, ["serve", holder])
    lab.expect_listener_holders([holder])
    client = lab.start(request, lab.server_address, PORTS[0], to="sent")
    assert lab.wire() == ["client S", "server SA", "client A", "client PA", "server A"]
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    lab.expect_socket("server", inode=0, recv_q=len(b"request"))
    assert lab.accept_queue() == 1
    client.stay_blocked(in_="recv")


def test_when_the_accept_queue_is_full_connect_hangs(lab):
    """Recv-Q is above Send-Q for good: no process will ever call accept()."""
    play(lab)
    fill_the_queue(lab)
    lab.start(request, lab.server_address, NEXT_PORT).stay_blocked(in_="connect")
    lab.expect_states(client="SYN_SENT", server="CLOSED", port=NEXT_PORT)
    listener = lab.listener()
    assert (listener.recv_q, listener.send_q) == (3, 2)
    assert lab.counter("TcpExtListenOverflows") >= 1


def test_a_restart_fails_although_both_set_reuseaddr(lab):
    """SO_REUSEADDR does not let a socket share a port with a listener."""
    play(lab)
    lab.start(restart, lab.server_address, [socket.SO_REUSEADDR]).fail_with("EADDRINUSE")


def test_with_reuseport_the_restart_succeeds_and_loses_clients(lab):
    """The kernel distributes the clients by a hash; the child's listener gets its share."""
    lab.set_sysctl("net.core.somaxconn", SHARED)
    play(lab, "reuse_port", backlog=SHARED)
    lab.start(restart, lab.server_address, [socket.SO_REUSEPORT]).run_to("listening")
    lab.start(connect_often, lab.server_address, SHARED).run_to(f"connected {SHARED} times")
    queues = [row.recv_q for row in lab.sockets() if row.state == "LISTEN"]
    assert len(queues) == 2
    assert sum(queues) == SHARED
    assert min(queues) > 0


@pytest.mark.parametrize(
    ("cure", "holders"), [("CLOEXEC", ["serve"]), ("shutdown", ["serve", "sleep"])]
)
def test_control_the_listener_ends_with_the_server(lab, cure, holders):
    """Clients are refused at once, and a restart succeeds, while the child lives."""
    server = close_listener(lab, cure, holders)
    lab.expect_table()
    lab.start(request, lab.server_address, PORTS[0]).fail_with("ECONNREFUSED")
    lab.start(restart, lab.server_address, [socket.SO_REUSEADDR]).run_to("listening")
    server.run_to("child ended")


def test_control_killing_the_child_frees_the_port_at_once(lab):
    """The clients that waited are reset."""
    server = close_listener(lab)
    clients = fill_the_queue(lab)
    server.run_to("child ended")
    assert lab.wire()[-3:] == ["server RA"] * 3
    for client in clients:
        client.fail_with("ECONNRESET")
    lab.start(restart, lab.server_address, []).run_to("listening")


def test_control_ss_kill_ends_the_listener_but_not_its_port(lab):
    """The child still has a socket that is bound, so the restart needs SO_REUSEADDR on both."""
    play(lab)
    clients = fill_the_queue(lab)
    destroy(lab, f"sport = :{lab.server_address[1]}")
    assert lab.wire()[-3:] == ["server RA"] * 3
    lab.expect_table()
    for client in clients:
        client.fail_with("ECONNRESET")
    lab.start(restart, lab.server_address, []).fail_with("EADDRINUSE")
    lab.start(restart, lab.server_address, [socket.SO_REUSEADDR]).run_to("listening")


def test_control_a_listener_handed_over_on_purpose_loses_no_client(lab):
    """LISTEN_FDS: one process keeps the listener while the service is restarted."""
    service = [sys.executable, "-I", "-S", "-c", SERVICE]
    systemd = lab.start(activate_by_socket, lab.server_address, service, name="systemd")
    systemd.run_to("service started")
    assert lab.start(request, lab.server_address, PORTS[0]).finish() == b"answer to request"
    systemd.run_to("service killed")
    lab.expect_listener_holders(["systemd"])
    client = lab.start(request, lab.server_address, PORTS[1], to="sent")
    client.stay_blocked(in_="recv")
    systemd.run_to("service started")
    assert client.finish() == b"answer to request"
    assert [each for each in lab.segments() if "R" in each.flags] == []
