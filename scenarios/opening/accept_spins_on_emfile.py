"""A loop that tries accept() again after EMFILE never sleeps: its connection stays readable.

accept() reserves a file descriptor before it looks at the queue (__sys_accept4_file). At
RLIMIT_NOFILE it fails at once and takes nothing out of the queue, so a level-triggered epoll
reports the listener again at once, and the loop takes all of a processor without any segment. A
blocking accept() does the same, even if no connection waits. An edge-triggered epoll sleeps: it
reports the listener once per arrival (ep_poll_callback), so a connection that met EMFILE waits for
the next one, even after file descriptors have become free.

    client                                 server, no file descriptor left
    ESTABLISHED  ── S, SA, A ─────────▶    epoll_wait(): the listener is readable
                                           accept4(): EMFILE        level-triggered, or blocking:
                                           accept4(): EMFILE            1,000 calls without sleep
                                           accept4(): EMFILE
                                           …
                                           epoll_wait() sleeps      edge-triggered:
    another      ── FA ───────────────▶    close(): one is free         until the next SYN

A reserve file descriptor is closed to accept one connection and end it; or the listener is left out
of the loop until a connection is closed; or the limit is raised.

Sources: accept(2); epoll(7); RFC 9293, section 3.10.7; the libev manual, "The special problem of
accept()ing when you can't". Kernel: net/socket.c, fs/eventpoll.c (ep_send_events). What happens to
clients when the queue is full: too_many_open_files.py.
"""

import contextlib
import errno
import os
import resource
import select
import socket
from pathlib import Path

from harness.stock_roles import leave_fds

FIRST, SECOND, THIRD = 40001, 40002, 40003
CALLS = 1000
LEVEL, EDGE = 0, select.EPOLLET


def serve(address, trigger, cure=""):
    """One file descriptor is left for a connection."""
    listener = socket.create_server(address)
    listener.setblocking(False)
    reserve = os.open(os.devnull, os.O_RDONLY)
    epoll = select.epoll()
    epoll.register(listener, select.EPOLLIN | trigger)
    leave_fds(1)
    connections, failures = {}, []
    yield "listening"
    while True:
        for number, _ in epoll.poll():
            if number == listener.fileno():
                try:
                    yield from accept_all(listener, epoll, connections)
                except OSError as error:
                    yield from count(failures, error)
                    yield from mend(cure, listener, epoll, reserve)
            else:
                connections.pop(number).close()
                yield "closed"
                if cure == "back off":
                    epoll.modify(listener, select.EPOLLIN)


def accept_all(listener, epoll, connections):
    with contextlib.suppress(BlockingIOError):  # the queue is empty
        while True:
            connection, _ = listener.accept()
            connections[connection.fileno()] = connection
            epoll.register(connection, select.EPOLLIN)
            yield "accepted"


def count(failures, error):
    failures.append(errno.errorcode[error.errno])
    if len(failures) in (1, 1 + CALLS):
        yield f"{failures[-1]}, {len(failures)}"


def mend(cure, listener, epoll, reserve):
    if cure == "a reserve":
        os.close(reserve)
        listener.accept()[0].close()
        assert os.open(os.devnull, os.O_RDONLY) == reserve
        yield "turned away"
    elif cure == "back off":
        epoll.modify(listener, 0)
    elif cure == "raise the limit":
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def accept_in_a_loop(address):
    """Without epoll: it is accept() itself that sleeps in a healthy server."""
    listener = socket.create_server(address)
    leave_fds(1)
    connections, failures = [], []
    yield "listening"
    while True:
        try:
            connections.append(listener.accept()[0])
            yield "accepted"
        except OSError as error:
            yield from count(failures, error)


def call(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    yield "ready to close"
    connection.close()
    yield "closed"


def wait_for_the_end(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    return connection.recv(1)


def sleeps_and_cpu_ns(server):
    """How often it has gone to sleep so far, and its CPU time."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    cpu_ns, *_ = Path(f"/proc/{server.pid}/schedstat").read_text().split()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0]), int(cpu_ns)


def play(lab, trigger=LEVEL, cure=""):
    """Until the server has no file descriptor left, and accept() has failed once."""
    server = lab.start(serve, lab.server_address, trigger, cure, to="listening")
    first = lab.start(call, lab.server_address, FIRST, to="connected")
    server.run_to("accepted")
    second = lab.start(wait_for_the_end, lab.server_address, SECOND, to="connected")
    failed = server.run_to("EMFILE, 1")
    return server, first, second, failed


def check_it_spins(lab, server, since):
    """CALLS more calls, no segment, and no sleep except while it waits for this test."""
    slept, cpu_ns = sleeps_and_cpu_ns(server)
    server.run_to(f"EMFILE, {1 + CALLS}")
    slept_since, cpu_ns_since = sleeps_and_cpu_ns(server)
    assert lab.wire(since=since) == []
    assert slept_since - slept < CALLS / 10
    assert cpu_ns_since - cpu_ns > CALLS * 100  # no system call takes less


def test_a_level_triggered_loop_spins(lab):
    """Each epoll_wait() returns at once, as the queue stays as it is."""
    server, *_, failed = play(lab)
    check_it_spins(lab, server, since=failed)
    assert lab.accept_queue() == 1


def test_a_blocking_accept_spins_even_with_an_empty_queue(lab):
    """accept() fails before it looks at the queue."""
    server = lab.start(accept_in_a_loop, lab.server_address, to="listening")
    lab.start(call, lab.server_address, FIRST, to="connected")
    server.run_to("accepted")
    failed = server.run_to("EMFILE, 1")
    assert lab.accept_queue() == 0
    check_it_spins(lab, server, since=failed)


def test_an_edge_triggered_loop_sleeps_and_forgets_who_waits(lab):
    """A file descriptor becomes free, and the loop does not accept until another client comes."""
    server, first, *_ = play(lab, EDGE)
    server.stay_blocked(in_="poll")
    first.run_to("closed")
    server.run_to("closed")
    server.stay_blocked(in_="poll")
    assert lab.accept_queue() == 1
    lab.start(call, lab.server_address, THIRD, to="connected")
    server.run_to("accepted")
    server.stay_blocked(in_="poll")
    assert lab.holders("server", SECOND) == ["serve"]
    lab.expect_socket("server", THIRD, state="ESTABLISHED", inode=0)


def test_control_a_reserve_turns_the_client_away(lab):
    """It is accepted and closed: FIN tells the client, and the loop sleeps."""
    server, _, second, failed = play(lab, LEVEL, "a reserve")
    server.run_to("turned away")
    assert lab.wire(since=failed)[:1] == ["server FA"]
    assert second.finish() == b""
    server.stay_blocked(in_="poll")
    assert lab.accept_queue() == 0


def test_control_backing_off_waits_for_a_free_fd(lab):
    """The listener is left out of the loop until a connection is closed; the client waits."""
    server, first, *_ = play(lab, LEVEL, "back off")
    server.stay_blocked(in_="poll")
    assert lab.accept_queue() == 1
    first.run_to("closed")
    server.run_to("accepted")
    assert lab.accept_queue() == 0


def test_control_a_higher_limit_lets_the_client_in(lab):
    """As long as it lasts: the loop is the same."""
    server, *_ = play(lab, LEVEL, "raise the limit")
    server.run_to("accepted")
    server.stay_blocked(in_="poll")
    assert lab.accept_queue() == 0
