"""A child that inherits its parent's socket keeps the connection alive after the parent's close().

A child inherits a descriptor whatever state the socket is in, even SYN_SENT in another thread.
close() then gives back one of two references: no FIN is sent, the SYN is retransmitted although the
parent has given up, and if the server has closed, the socket stays in CLOSE_WAIT. Neither end reads
any more, and no timer runs; `ss -p` shows an unrelated program.

    controller                     its child             server
    SYN_SENT     ── S ──────────────────────────────▶    dropped: the accept queue is full
                 starts tcpdump    SYN_SENT
    gives up: close()              SYN_SENT              accept(): the queue has room
                                   ── S ────────────▶    after a second
                                   ◀──────────── SA ──
                                   ── A ────────────▶    ESTABLISHED: waits for a request that
                                                         never comes
                 kills tcpdump     ── FA ───────────▶    CLOSE_WAIT

Sources: article 000; RFC 9293, 3.6; PEP 446. Kernel: only the last reference leads to tcp_close
(fput, sock_close); from SYN_SENT that is CLOSED without a segment (tcp_close_state);
tcp_conn_request drops the SYN; do_close_on_exec is the cure.
"""

import os
import signal
import socket
import subprocess
import threading
from dataclasses import replace

import pytest

from harness.inside.installed import find_program

PORT = 40001


def serve(address, closes_first):
    listener = socket.create_server(address, backlog=0)  # its accept queue holds one connection
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        if not closes_first:
            connection.recv(1)
        connection.close()
        yield "served"


def connect_and_close(address):
    socket.create_connection(address).close()
    yield "closed"


def control(address, port, command, leaks):
    connection = socket.socket()
    connection.set_inheritable(leaks)
    connection.bind(("", port))
    connection.setblocking(False)
    gives_up = threading.Event()

    def talk():
        connection.connect_ex(address)
        gives_up.wait()  # its timeout, which must not expire before there is a child
        connection.close()

    thread = threading.Thread(target=talk)
    thread.start()
    yield "thread connects"
    child = subprocess.Popen(command, close_fds=False)
    yield "child started"
    gives_up.set()
    thread.join()
    yield "closed"
    child.kill()
    return child.wait()


def tcpdump():
    stay_root = ["-Z", "root"] if os.geteuid() == 0 else []
    return [find_program("tcpdump"), "-i", "lo", *stay_root, "-w", "/dev/null"]


def start_controller(lab, leaks):
    arguments = (lab.server_address, PORT, tcpdump(), leaks)
    return lab.start(control, *arguments, name="controller", to="thread connects")


def start_child(lab, controller, leaks):
    controller.run_to("child started")
    # Popen() returns before exec has closed the CLOEXEC descriptors (begin_new_exec: exec_mmap
    # comes first).
    holders = ["controller", "tcpdump"] if leaks else ["controller"]
    lab.expect_holders("client", holders, port=PORT)


def play_in_syn_sent(lab, leaks):
    """The connection is SYN_SENT when the child starts, as the accept queue is full."""
    server = lab.start(serve, lab.server_address, False, to="listening")
    lab.start(connect_and_close, lab.server_address, to="closed")
    controller = start_controller(lab, leaks)
    lab.expect_states(client="SYN_SENT", server="CLOSED", port=PORT)
    start_child(lab, controller, leaks)
    return server, controller


def play_established(lab, leaks, closes_first=False):
    """The connection is ESTABLISHED when the child starts."""
    server = lab.start(serve, lab.server_address, closes_first, to="listening")
    controller = start_controller(lab, leaks)
    server.run_to("accepted")
    start_child(lab, controller, leaks)
    return server, controller


def play_closed_by_server(lab, leaks):
    server, controller = play_established(lab, leaks, closes_first=True)
    # On a busy host FIN_WAIT2 might otherwise end too soon.
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    server.run_to("served")
    lab.expect_states(client="CLOSE_WAIT", server="FIN_WAIT2")
    return controller


@pytest.mark.waits(1)
def test_a_connect_given_up_in_syn_sent_succeeds_for_the_child(lab):
    """Proves: 000-7"""
    server, controller = play_in_syn_sent(lab, leaks=True)
    closed = controller.run_to("closed")
    assert lab.state("client", PORT) == "SYN_SENT"
    assert lab.holders("client", PORT) == ["tcpdump"]
    server.run_to("accepted")  # the other client's connection: now the queue has room
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED", port=PORT)
    assert lab.holders("client", PORT) == ["tcpdump"]
    assert lab.wire(since=closed, port=PORT)[-3:] == ["client S", "server SA", "client A"]
    syn, *_, repeated, _, _ = lab.segments(port=PORT)
    assert repeated.seq == syn.seq
    server.run_to("accepted")
    server.stay_blocked(in_="recv")
    assert controller.finish() == -signal.SIGKILL
    server.run_to("served")


def test_control_with_cloexec_a_connect_given_up_is_forgotten(lab):
    """Proves: 000-7, by the cure: no socket, no timer for the SYN, and a SYN-ACK is refused."""
    server, controller = play_in_syn_sent(lab, leaks=False)
    closed = controller.run_to("closed")
    assert lab.state("client", PORT) == "CLOSED"
    server.run_to("accepted")
    syn = lab.segments(port=PORT)[-1]
    answer = replace(syn, source=syn.destination, destination=syn.source, flags="SA")
    lab.provoke(replace(answer, ack=(syn.seq + 1) % 2**32))
    assert lab.wire(since=closed, port=PORT) == ["server SA", "client R"]
    assert controller.finish() == -signal.SIGKILL


def test_tcpdump_keeps_a_connection_that_its_parent_has_closed(lab):
    """Proves: 000-6"""
    server, controller = play_established(lab, leaks=True)
    closed = controller.run_to("closed")
    assert lab.holders("client") == ["tcpdump"]
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert lab.wire() == ["client S", "server SA", "client A"]
    server.stay_blocked(in_="recv")
    assert controller.finish() == -signal.SIGKILL
    assert lab.wire(since=closed)[0] == "client FA"
    server.run_to("served")


def test_control_with_cloexec_the_same_tcpdump_has_nothing(lab):
    """Proves: 000-6, by the cure."""
    server, controller = play_established(lab, leaks=False)
    closed = controller.run_to("closed")
    assert lab.wire(until=closed)[:4] == ["client S", "server SA", "client A", "client FA"]
    server.run_to("served")
    assert controller.finish() == -signal.SIGKILL  # until then tcpdump was running


def test_if_the_server_closes_first_the_child_stays_in_close_wait(lab):
    """Proves: 000-8"""
    controller = play_closed_by_server(lab, leaks=True)
    closed = controller.run_to("closed")
    row = lab.expect_socket("client", state="CLOSE_WAIT", recv_q=1)
    assert row.timer.name == "none"
    assert lab.holders("client") == ["tcpdump"]
    assert lab.state("server") == "FIN_WAIT2"
    assert controller.finish() == -signal.SIGKILL
    assert lab.wire(since=closed) == ["client FA", "server A"]
    lab.expect_states(client="CLOSED", server="TIME_WAIT")


def test_control_with_cloexec_the_parents_close_ends_close_wait(lab):
    """Proves: 000-8, by the cure."""
    controller = play_closed_by_server(lab, leaks=False)
    closed = controller.run_to("closed")
    assert lab.wire(until=closed)[-2:] == ["client FA", "server A"]
    lab.expect_states(client="CLOSED", server="TIME_WAIT")
    assert controller.finish() == -signal.SIGKILL
