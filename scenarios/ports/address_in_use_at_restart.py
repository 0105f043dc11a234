"""A server cannot restart on its port while an old socket holds it, unless both set SO_REUSEADDR.

The old socket need not be a listener. Each connection that the old server accepted has the server's
port, too, and keeps it until the connection is CLOSED. bind() compares the new socket with every
socket on the port: if both have SO_REUSEADDR they may share it, unless the old one is in LISTEN; if
both have SO_REUSEPORT they may share it in any state. So the old socket's options count as much as
the new one's, and a connection has those of the listener that accepted it: SO_REUSEADDR in the new
server alone helps at the next restart, not at this one.

    client                                     server, which closes first
    CLOSE_WAIT   ◀─────────────────── FA ──    FIN_WAIT1
                 ── A ────────────────────▶    FIN_WAIT2
    LAST_ACK     ── FA ───────────────────▶    TIME_WAIT: no process holds it
    CLOSED       ◀──────────────────── A ──
                                               new server: bind() fails with EADDRINUSE

Waiting helps if no process holds the old socket any more, so that a timer ends it: 60 s for
TIME_WAIT, tcp_fin_timeout for FIN_WAIT2, the retransmissions for FIN_WAIT1 and LAST_ACK. It never
helps while a process holds it, such as a child of the old server (listening_fd_inherited.py).

Sources: RFC 9293, section 3.6.1; socket(7). Kernel, net/ipv4/inet_connection_sock.c:
inet_bind_conflict (in older kernels inet_csk_bind_conflict), inet_csk_get_port, and
inet_csk_listen_start, which calls it again. SO_REUSEPORT also needs the same user (not shown here).
"""

import errno
import socket

import pytest

from harness.predict import timers

NOTHING, ADDR, PORT = (), ("SO_REUSEADDR",), ("SO_REUSEPORT",)
OPTIONS = {"nothing": NOTHING, "ADDR": ADDR, "PORT": PORT, "both": ADDR + PORT}

# A row: what the old socket has set. A column: what the new one sets. Does it listen?
OVER_A_LISTENER = """
          nothing  ADDR  PORT  both
nothing   no       no    no    no
ADDR      no       no    no    no
PORT      no       no    yes   yes
both      no       no    yes   yes
"""
OVER_A_CONNECTION = """
          nothing  ADDR  PORT  both
nothing   no       no    no    no
ADDR      no       yes   no    yes
PORT      no       no    yes   yes
both      no       yes   yes   yes
"""
ACCEPT, SERVER_ENDS, CLIENT_ENDS = "accept", "the server's FIN", "the client's FIN"
LOSE_FIN, LOSE_ACK = "the server's segments are lost", "the client's segments are lost"
# By the server's state: the client's state then, and how both come there.
STATES = {
    "ESTABLISHED": ("ESTABLISHED", [ACCEPT]),
    "FIN_WAIT1": ("CLOSE_WAIT", [ACCEPT, LOSE_ACK, SERVER_ENDS]),
    "FIN_WAIT2": ("CLOSE_WAIT", [ACCEPT, SERVER_ENDS]),
    "CLOSING": ("FIN_WAIT1", [ACCEPT, LOSE_FIN, SERVER_ENDS, CLIENT_ENDS]),
    "TIME_WAIT": ("CLOSED", [ACCEPT, SERVER_ENDS, CLIENT_ENDS]),
    "CLOSE_WAIT": ("FIN_WAIT2", [ACCEPT, CLIENT_ENDS]),
    "LAST_ACK": ("TIME_WAIT", [ACCEPT, CLIENT_ENDS, LOSE_ACK, SERVER_ENDS]),
}


def bind(address, options):
    listener = socket.socket()
    for option in options:
        listener.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
    listener.bind(address)
    return listener


def serve(host, options_by_port):
    """As many servers as there are ports. Each accepts one connection and stops listening."""
    listeners = [bind((host, port), options) for port, options in options_by_port.items()]
    for listener in listeners:
        listener.listen()
    yield "listening"
    connections = [listener.accept()[0] for listener in listeners]
    for listener in listeners:
        listener.close()
    yield "accepted"
    for connection in connections:
        connection.shutdown(socket.SHUT_WR)
    yield "half closed"


def call(host, ports):
    connections = [socket.create_connection((host, port)) for port in ports]
    yield "connected"
    for connection in connections:
        connection.shutdown(socket.SHUT_WR)
    yield "half closed"


def restart(address, options):
    listener = bind(address, options)
    yield "bound"
    listener.listen()
    yield "listening"


def restart_in_each_way(host, ports):
    """For each port a row, and in it an answer for each set of options: does the server listen?"""
    yield "ready"
    rows = []
    for port in ports:
        row = []
        for options in OPTIONS.values():
            try:
                with bind((host, port), options) as listener:
                    listener.listen()
                    listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                row.append("yes" if listens else "only bound")
            except OSError as error:
                row.append("no" if error.errno == errno.EADDRINUSE else repr(error))
        rows.append(row)
    return rows


def start_old_servers(lab, options_of_each):
    """One for each set of options, with a port of its own."""
    host, first = lab.server_address
    ports = range(first, first + len(options_of_each))
    server = lab.start(serve, host, dict(zip(ports, options_of_each, strict=True)), to="listening")
    return server, ports


def play(lab, state, options_of_each=(NOTHING,)):
    """Until the old server's connections are in the state; it has stopped listening."""
    lab.protect_time_wait_from_late_acks()
    # On a busy host, FIN may be retransmitted often.
    for key in ("tcp_retries2", "tcp_orphan_retries"):
        lab.set_sysctl(f"net.ipv4.{key}", 15)
    server, ports = start_old_servers(lab, options_of_each)
    client = lab.start(call, lab.server_address[0], ports, to="connected")
    client_state, moves = STATES[state]
    for move in moves:
        if move == ACCEPT:
            server.run_to("accepted")
        elif move == SERVER_ENDS:
            server.run_to("half closed")
        elif move == CLIENT_ENDS:
            client.run_to("half closed")
        else:
            end = "sport" if move == LOSE_FIN else "dport"
            lab.drop(f"tcp {end} {ports[0]}-{ports[-1]}")
    for port in ports:
        lab.expect_states(client=client_state, server=state, port=port)
    return server, ports


def leave_time_wait(lab, options):
    """The old server closes first, and its process ends: there is no listener any more."""
    server, _ = play(lab, "TIME_WAIT", [options])
    server.finish()
    lab.expect_table(TIME_WAIT=1)
    assert lab.holders("server") == []


def rows_of(table):
    _, *rows = table.strip().splitlines()
    return [row.split()[1:] for row in rows]


def test_a_restart_fails_while_time_wait_has_the_port(lab):
    """SO_REUSEADDR in the new server alone does not help: the old socket did not have it."""
    leave_time_wait(lab, NOTHING)
    lab.start(restart, lab.server_address, NOTHING).fail_with("EADDRINUSE")
    lab.start(restart, lab.server_address, ADDR).fail_with("EADDRINUSE")
    assert lab.wire(since="serve: finished") == []
    assert 0 < lab.expect_socket("server", state="TIME_WAIT").timer.expires_s <= timers.TIME_WAIT_S


def test_control_with_reuseaddr_on_both_the_restart_succeeds(lab):
    """TIME_WAIT stays, and new clients connect all the same."""
    leave_time_wait(lab, ADDR)
    lab.start(restart, lab.server_address, ADDR).run_to("listening")
    host, port = lab.server_address
    lab.start(call, host, [port]).run_to("connected")
    lab.expect_table(LISTEN=1, TIME_WAIT=1, ESTABLISHED=2)


def test_over_a_listener_only_reuseport_on_both_helps(lab):
    """All 16 pairs of options."""
    _, ports = start_old_servers(lab, list(OPTIONS.values()))
    rows = lab.start(restart_in_each_way, lab.server_address[0], ports).finish()
    assert rows == rows_of(OVER_A_LISTENER)


@pytest.mark.parametrize("state", STATES)
def test_over_a_connection_one_option_on_both_helps(lab, state):
    """All 16 pairs of options. It does not matter which state the connection is in."""
    _, ports = play(lab, state, list(OPTIONS.values()))
    rows = lab.start(restart_in_each_way, lab.server_address[0], ports).finish()
    assert rows == rows_of(OVER_A_CONNECTION)


def test_with_reuseaddr_both_may_bind_and_one_may_listen(lab):
    """Two servers start at once: the second one's listen() fails, not its bind()."""
    first = lab.start(restart, lab.server_address, ADDR, to="bound")
    second = lab.start(restart, lab.server_address, ADDR, name="second", to="bound")
    first.run_to("listening")
    second.fail_with("EADDRINUSE")
    assert lab.timeline.find("second: bound")


def test_sysctls_for_time_wait_do_not_free_the_port(lab):
    """They are for connect(), for FIN_WAIT2, and for TIME_WAITs that are yet to come."""
    leave_time_wait(lab, NOTHING)
    lab.set_sysctl("net.ipv4.tcp_tw_reuse", 1)
    lab.set_sysctl("net.ipv4.tcp_tw_reuse_delay", 1, optional=True)
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 1)
    lab.set_sysctl("net.ipv4.tcp_max_tw_buckets", 0)
    lab.start(restart, lab.server_address, ADDR).fail_with("EADDRINUSE")


def test_control_if_the_client_closes_first_nothing_is_left(lab):
    """TIME_WAIT is at the client, and a restart without any option succeeds."""
    server, _ = play(lab, "CLOSE_WAIT")
    server.finish()
    lab.expect_states(client="TIME_WAIT", server="CLOSED")
    lab.start(restart, lab.server_address, NOTHING).run_to("listening")


@pytest.mark.parametrize(
    ("state", "old_process", "timer"),
    [
        ("TIME_WAIT", "gone", "time_wait"),
        ("FIN_WAIT2", "gone", "time_wait"),
        ("FIN_WAIT1", "gone", "retransmit"),
        ("LAST_ACK", "gone", "retransmit"),
        ("FIN_WAIT2", "alive", "none"),
        ("CLOSE_WAIT", "alive", "none"),
        ("ESTABLISHED", "alive", "none"),
    ],
)
def test_waiting_helps_only_if_a_timer_ends_the_old_socket(lab, state, old_process, timer):
    """A process that is gone leaves a socket with a timer; one that lives may hold it for ever."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    server, _ = play(lab, state)
    if old_process == "gone":
        server.finish()
    lab.start(restart, lab.server_address, ADDR).fail_with("EADDRINUSE")
    old = lab.expect_socket("server", state=state)
    assert (old.timer.name, old.inode != 0) == (timer, old_process == "alive")


@pytest.mark.waits(1)
def test_control_the_port_is_free_when_fin_wait2_is_over(lab):
    """tcp_fin_timeout decides how long that takes. For TIME_WAIT it is 60 s, whatever is set."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 1)
    server, _ = play(lab, "FIN_WAIT2")
    acknowledged = lab.segments()[-1]
    gone = server.kill()
    lifetime = timers.fin_wait2(1, timers.tick_s())
    lab.expect_lifetime("server", "FIN_WAIT2", lifetime, acknowledged, begun_by=gone)
    lab.start(restart, lab.server_address, NOTHING).run_to("listening")
