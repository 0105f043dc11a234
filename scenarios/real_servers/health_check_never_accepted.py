"""When a health check ends its connection decides whether it does harm, or is never accepted.

The server greets first, in its accept loop, and tries again on any error. A probe that resets the
connection before accept() gets it stuck; the same probe does no harm if it waits for the greeting.

HAProxy's plain check ends even earlier. It turns off quick ACKs before connect()
(tcp_connect_server), so the client's kernel delays the handshake's last ACK by up to 200 ms, to
send it along with data (tcp_rcv_synsent_state_process, TCP_DELACK_MAX); then it closes with linger
0 (FD_LINGER_RISK, _fd_delete_orphan). So RST arrives in SYN_RECV, and there is nothing to accept
(tcp_check_req). A check that is never accepted cannot do harm, and cannot tell a stuck server from
a healthy one. A check that expects an answer sends its ACK at once (tcpcheck_eval_connect), is
accepted, and can tell.

    prober, at once     prober, later     HAProxy, plain    HAProxy, expects 220    server
    S ─────────────▶    S ───────────▶    S ───────────▶    S ─────────────────▶
    ◀────────── SA      ◀──────── SA      ◀──────── SA      ◀────────────── SA      SYN_RECV
    A ─────────────▶    A ───────────▶    RA ──────────▶    A ─────────────────▶    ESTABLISHED
    RA ────────────▶    ◀──────── PA                        ◀────────────── PA      accept(), send()
                        RA ──────────▶                      RA ────────────────▶    CLOSED

Sources: article 003; RFC 9293, 3.10.7.4; net/ipv4/tcp_input.c, tcp_minisocks.c. HAProxy:
proto_tcp.c, tcpcheck.c, fd.c.
"""

import contextlib
import errno
import socket
import sys

import pytest

from harness import prober
from harness.errors import Inconclusive
from harness.inside.installed import find_program

GREETING = b"220 at your service\r\n"
HANDSHAKE = ["client S", "server SA", "client A"]
CHECKS = {"plain": "", "reading": "option tcp-check\n    tcp-check expect rstring ^220"}
HAPROXY = """
global
    log stdout format raw local0
listen victim
    bind unix@{folder}/front
    mode tcp
    log global
    option log-health-checks
    timeout connect {timeout}
    timeout check {timeout}
    server victim {host}:{port} check inter 1h
    {check}
"""


def greeting_server(address):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        while True:
            try:
                connection.sendall(GREETING)
                break
            except OSError as error:
                yield f"greeting fails: {errno.errorcode[error.errno]}"
        yield "greeted"
        with contextlib.suppress(ConnectionError):
            connection.recv(1)
        connection.close()


def await_greeting(address):
    connection = socket.create_connection(address)
    yield "connected"
    return connection.recv(len(GREETING))


def start_haproxy(lab, check, timeout="5s"):
    """It needs an address to listen on, here no TCP port. It checks its first server at once."""
    host, port = lab.server_address
    values = {"folder": lab.folder(), "host": host, "port": port, "timeout": timeout}
    path = lab.write_file("haproxy.cfg", HAPROXY.format(check=CHECKS[check], **values))
    return lab.run_program([find_program("haproxy"), "-db", "-f", path])


def start_prober(lab, *options):
    program = [sys.executable, prober.__file__, *map(str, lab.server_address)]
    return lab.run_program([*program, "--reset", *options])


def check_no_delayed_ack(lab):
    """If HAProxy waits 200 ms for a processor, the kernel sends the ACK (tcp_delack_timer)."""
    _, syn_ack, *others = lab.segments()
    if others and others[0].flags == "A" and lab.gap_s(syn_ack, others[0]) >= 0.2:
        late = "the host kept HAProxy waiting for 200 ms. Hint: run it again with less load"
        raise Inconclusive(late)


def play_stuck(lab):
    """The probe is over before the server calls accept(), as if the server were busy."""
    server = lab.start(greeting_server, lab.server_address, to="listening")
    assert start_prober(lab, "--delay", "0", "--count", "1").finish() == 0
    server.run_to("greeting fails: EPIPE")
    return server


def test_haproxys_plain_check_passes_and_is_never_accepted(lab):
    """Proves: 003-10, for HAProxy."""
    server = lab.start(greeting_server, lab.server_address, to="listening")
    server.stay_blocked(in_="accept")
    start_haproxy(lab, "plain").expect_output("Layer4 check passed")
    check_no_delayed_ack(lab)
    lab.expect_wire(["client S", "server SA", "client RA"])
    assert lab.path("server") == ["SYN_RECV", "CLOSED"]
    assert (lab.accept_queue(), lab.counter("TcpExtEmbryonicRsts")) == (0, 1)
    server.stay_blocked(in_="accept")


def test_control_haproxys_check_that_reads_is_accepted_and_greeted(lab):
    """Proves: 003-10, for HAProxy."""
    server = lab.start(greeting_server, lab.server_address, to="listening")
    haproxy = start_haproxy(lab, "reading")
    server.run_to("greeted")
    haproxy.expect_output("Layer7 check passed")
    lab.expect_wire([*HANDSHAKE, "server PA", "client A", "client RA"])
    assert lab.counter("TcpExtEmbryonicRsts") == 0
    server.stay_blocked(in_="accept")


def test_a_prober_that_resets_at_once_gets_the_server_stuck(lab):
    """Proves: 003-10, for the prober."""
    server = play_stuck(lab)
    assert lab.wire() == [*HANDSHAKE, "client RA"]
    lab.start(await_greeting, lab.server_address, to="connected").stay_blocked(in_="recv")
    server.run_to("greeting fails: EPIPE")
    assert lab.accept_queue() == 1


def test_control_a_prober_that_waits_does_no_harm(lab):
    """Proves: 003-10, for the prober. It waits until a busy host must have run the server."""
    server = lab.start(greeting_server, lab.server_address, to="listening")
    program = start_prober(lab, "--delay", str(lab.allowance_s), "--count", "1")
    server.run_to("greeted")
    assert program.finish(within_s=lab.allowance_s + lab.deadline_s) == 0
    assert "1 connected, 0 failed (0.0%), 21 bytes heard" in program.output()
    assert lab.wire() == [*HANDSHAKE, "server PA", "client A", "client RA"]
    server.stay_blocked(in_="accept")


@pytest.mark.parametrize(
    ("check", "logs", "queued"),
    [("plain", "check passed", 0), ("reading", "Layer7 timeout", 1)],
)
def test_only_a_check_that_reads_can_tell_a_stuck_server(lab, check, logs, queued):
    """Proves: 003-10, and why a plain check is not enough."""
    play_stuck(lab)
    start_haproxy(lab, check, timeout="250ms").expect_output(logs)
    assert lab.accept_queue() == queued
