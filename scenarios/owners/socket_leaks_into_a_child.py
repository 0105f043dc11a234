"""A child started at the wrong moment gets its parent's connection, and decides from then on when that ends.

A descriptor is inherited in whatever state its socket is, be it still SYN_SENT in the hands of another thread. close()
then gives back one reference of two: no FIN goes out, a SYN is repeated for a parent that has given up, and an end that
the server has closed waits in CLOSE_WAIT. In the end nobody reads and no timer runs; `ss -p` shows the wrong name.

    controller                     its child             server
    SYN_SENT     ── S ──────────────────────────────▶    dropped: the accept queue is full
                 starts tcpdump    SYN_SENT
    gives up: close()              SYN_SENT              accept(): the queue has room
                                   ── S ────────────▶    after a second
                                   ◀──────────── SA ──
                                   ── A ────────────▶    ESTABLISHED: waits for a request that nobody will send
                 kills tcpdump     ── FA ───────────▶    CLOSE_WAIT

Sources: article 000; RFC 9293, 3.6; PEP 446. Kernel: the last reference alone leads to tcp_close (fput, sock_close);
from SYN_SENT that is CLOSED in silence (tcp_close_state); tcp_conn_request drops the SYN; do_close_on_exec is the cure.
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
    listener = socket.create_server(address, backlog=0)  # its queue holds one
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        if not closes_first:
            connection.recv(1)
        connection.close()
        yield "served"


def call_and_leave(address):
    socket.create_connection(address).close()
    yield "left"


def control(address, port, command, leaks):
    connection = socket.socket()
    connection.set_inheritable(leaks)
    connection.bind(("", port))
    connection.setblocking(False)
    has_had_enough = threading.Event()

    def talk():
        connection.connect_ex(address)
        has_had_enough.wait()  # its timeout, which must not strike before there is a child
        connection.close()

    thread = threading.Thread(target=talk)
    thread.start()
    yield "thread connects"
    child = subprocess.Popen(command, close_fds=False)
    yield "child started"
    has_had_enough.set()
    thread.join()
    yield "closed"
    child.kill()
    return child.wait()


def tcpdump():
    stay_root = ["-Z", "root"] if os.geteuid() == 0 else []
    return [find_program("tcpdump"), "-i", "lo", *stay_root, "-w", "/dev/null"]


def play(lab, leaks, full_queue=False, closes_first=False):
    """Until the child runs: the connection is SYN_SENT, or ESTABLISHED, or closed by the server."""
    server = lab.start(serve, lab.server_address, closes_first, to="listening")
    if full_queue:
        lab.start(call_and_leave, lab.server_address, to="left")
    controller = lab.start(control, lab.server_address, PORT, tcpdump(), leaks, name="controller", to="thread connects")
    if full_queue:
        lab.expect_states(client="SYN_SENT", server="CLOSED", port=PORT)
    else:
        server.run_to("accepted")
    controller.run_to("child started")
    # Spawning returns before exec has closed what it should (fs/exec.c, begin_new_exec: exec_mmap comes first).
    lab.expect_holders("client", ["controller", "tcpdump"] if leaks else ["controller"], port=PORT)
    if closes_first:
        lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)  # on a busy host a second may be over too soon
        server.run_to("served")
        lab.expect_states(client="CLOSE_WAIT", server="FIN_WAIT2")
    return server, controller


def test_tcpdump_keeps_a_connection_that_its_parent_has_closed(lab):
    """Proves: 000-6"""
    server, controller = play(lab, leaks=True)
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
    server, controller = play(lab, leaks=False)
    closed = controller.run_to("closed")
    assert lab.wire(until=closed)[:4] == ["client S", "server SA", "client A", "client FA"]
    server.run_to("served")
    assert controller.finish() == -signal.SIGKILL  # it has run all the time


@pytest.mark.waits(1)
def test_a_connect_given_up_in_syn_sent_succeeds_for_the_child(lab):
    """Proves: 000-7"""
    server, controller = play(lab, leaks=True, full_queue=True)
    closed = controller.run_to("closed")
    assert (lab.state("client", PORT), lab.holders("client", PORT)) == ("SYN_SENT", ["tcpdump"])
    server.run_to("accepted")  # the other client: now the queue has room
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
    """Proves: 000-7, by the cure: no socket, so no timer that would repeat the SYN; and its answer is refused."""
    server, controller = play(lab, leaks=False, full_queue=True)
    closed = controller.run_to("closed")
    assert lab.state("client", PORT) == "CLOSED"
    server.run_to("accepted")
    syn = lab.segments(port=PORT)[-1]
    lab.provoke(replace(syn, source=syn.destination, destination=syn.source, flags="SA", ack=(syn.seq + 1) % 2**32))
    assert lab.wire(since=closed, port=PORT) == ["server SA", "client R"]
    assert controller.finish() == -signal.SIGKILL


def test_if_the_server_closes_first_the_child_stays_in_close_wait(lab):
    """Proves: 000-8"""
    _, controller = play(lab, leaks=True, closes_first=True)
    closed = controller.run_to("closed")
    row = lab.expect_socket("client", state="CLOSE_WAIT", recv_q=1)
    assert (row.timer.name, lab.holders("client")) == ("none", ["tcpdump"])
    assert lab.state("server") == "FIN_WAIT2"
    assert controller.finish() == -signal.SIGKILL
    assert lab.wire(since=closed) == ["client FA", "server A"]
    lab.expect_states(client="CLOSED", server="TIME_WAIT")


def test_control_with_cloexec_the_parents_close_ends_close_wait(lab):
    """Proves: 000-8, by the cure."""
    _, controller = play(lab, leaks=False, closes_first=True)
    closed = controller.run_to("closed")
    assert lab.wire(until=closed)[-2:] == ["client FA", "server A"]
    lab.expect_states(client="CLOSED", server="TIME_WAIT")
    assert controller.finish() == -signal.SIGKILL
