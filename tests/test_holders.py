"""The holders of a socket compared with `ss -p`, which searches /proc inside the lab independently."""

import os
import re
import signal
import socket

import psutil
import pytest

from harness.errors import LabError
from harness.evidence import holders

USER = re.compile(r'\("([^"]+)",pid=(\d+),fd=(\d+)\)')


def accept_and_fork(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    listener.close()
    child = os.fork()
    if child == 0:
        while True:
            signal.pause()
    yield "shared"
    connection.close()
    yield "closed by the parent"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    yield "child gone"


def call(address, source):
    with socket.create_connection(address, source_address=source) as connection:
        yield "connected"
        connection.recv(1)
        yield "end of stream"


def told_by_ss(lab, row):
    witness = lab.run_program(["ss", "-tanpeOH"])
    assert witness.finish() == 0
    line = next(line for line in witness.output().splitlines() if f"ino:{row.inode} " in line)
    return sorted((int(pid), int(fd), program) for program, pid, fd in USER.findall(line))


def seen(actor, row):
    """Read from the lab's first process, whose child the actor is."""
    rows = holders.read(psutil.Process(actor.pid).ppid())
    return [(each.pid, each.fd, each.program) for each in rows if each.inode == row.inode]


def test_a_shared_socket_has_the_two_holders_that_ss_shows(lab):
    server = lab.start(accept_and_fork, lab.server_address, name="a parent's name")
    client = lab.start(call, lab.server_address, lab.client_address(40001))
    server.run_to("listening")
    client.run_to("connected")
    server.run_to("shared")
    row = lab.socket("server")
    assert seen(server, row) == told_by_ss(lab, row)
    assert lab.holders("server") == ["a parent's name", "a parent's name"]
    assert server.pid in {pid for pid, _, _ in seen(server, row)}
    assert lab.holders("client") == ["call"]

    server.run_to("closed by the parent")
    [(pid, _, _)] = seen(server, row)
    assert pid != server.pid
    assert seen(server, row) == told_by_ss(lab, row)

    server.run_to("child gone")
    assert lab.holders("server") == []
    client.run_to("end of stream")


def test_a_child_without_its_parent_is_still_found(lab):
    server = lab.start(accept_and_fork, lab.server_address)
    client = lab.start(call, lab.server_address, lab.client_address(40001))
    server.run_to("listening")
    client.run_to("connected")
    server.run_to("shared")
    row = lab.socket("server")
    held = seen(client, row)
    server.kill()
    assert seen(client, row) == told_by_ss(lab, row) == [each for each in held if each[0] != server.pid]
    assert lab.state("server") == "ESTABLISHED"


def test_a_connection_not_yet_accepted_has_no_holder(lab):
    server = lab.start(accept_and_fork, lab.server_address)
    server.run_to("listening")
    lab.start(call, lab.server_address, lab.client_address(40001)).run_to("connected")
    assert lab.state("server") == "ESTABLISHED"
    assert lab.holders("server") == []


def test_a_listener_has_its_holders_and_its_queue(lab):
    server = lab.start(accept_and_fork, lab.server_address, to="listening")
    lab.expect_listener_holders(["accept_and_fork"])
    assert lab.accept_queue() == lab.listener().recv_q == 0
    client = lab.start(call, lab.server_address, lab.client_address(40001), to="connected")
    assert lab.accept_queue() == lab.listener().recv_q == 1
    server.run_to("shared")
    lab.expect_listener_holders([])
    with pytest.raises(LabError, match="0 listeners at the server"):
        lab.listener()
    server.run_to("child gone")
    client.run_to("end of stream")
