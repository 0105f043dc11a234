"""The stock roles, each against its counterpart: what is on the wire, and which states result."""

import ast
import os
import re
import socket

import pytest

from harness.errors import LabError
from harness.stock_roles import accept, call, close_first, has_ended, leave_fds, listen, reset_on_close, rto_us, serve

HANDSHAKE = ["client S", "server SA", "client A"]


def test_a_listener_never_calls_accept(lab):
    lab.start(listen, lab.server_address, 1, to="listening")
    lab.start(call, lab.server_address, to="connected")
    assert lab.wire() == HANDSHAKE
    assert lab.accept_queue() == 1
    assert lab.holders("server") == []


def test_accept_keeps_each_connection_open(lab):
    server = lab.start(accept, lab.server_address, to="listening")
    for port in (40001, 40002):
        lab.start(call, lab.server_address, port, to="half closed")
        server.run_to("accepted")
    lab.expect_table(LISTEN=1, FIN_WAIT2=2, CLOSE_WAIT=2)
    assert [lab.holders("server", port) for port in (40001, 40002)] == [["accept"], ["accept"]]


def test_a_server_and_a_client_close_in_order(lab):
    server = lab.start(serve, lab.server_address, to="listening")
    for port in (40001, 40002):
        client = lab.start(call, lab.server_address, port, to="connected")
        assert lab.wire(port=port) == HANDSHAKE
        server.run_to("accepted")
        client.run_to("half closed")
        lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT", port=port)
        server.run_to("closed")
        lab.expect_states(client="TIME_WAIT", server="CLOSED", port=port)
        client.finish()


def test_a_server_that_closes_first_keeps_time_wait(lab):
    server = lab.start(close_first, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, to="connected")
    server.run_to("accepted")
    server.run_to("half closed")
    lab.expect_states(client="CLOSE_WAIT", server="FIN_WAIT2")
    client.finish()
    server.run_to("closed")
    lab.expect_states(client="CLOSED", server="TIME_WAIT")


def look_and_reset(address):
    connection = socket.create_connection(address)
    yield "connected"
    print(rto_us(connection), has_ended(connection))
    yield "looked"
    print(has_ended(connection))
    reset_on_close(connection)
    connection.close()
    yield "closed"


def test_a_connection_is_looked_at_and_reset(lab):
    server = lab.start(close_first, lab.server_address, to="listening")
    client = lab.start(look_and_reset, lab.server_address, to="looked")
    ss = lab.run_program(["ss", "-tinH", "dst", lab.server_address[0]])
    ss.finish()
    rto, ended = client.output().split()
    assert ended == "False"
    assert abs(int(rto) / 1000 - float(re.search(r"rto:([\d.]+)", ss.output())[1])) <= 1  # ss rounds to ms
    server.run_to("accepted")
    server.run_to("half closed")
    client.run_to("closed")
    assert client.output().split()[-1] == "True"
    assert lab.wire()[-1] == "client RA"


def open_files(count):
    yield "ready"
    leave_fds(count)
    opened = []
    while True:
        try:
            opened.append(os.dup(0))
        except OSError:
            return len(opened)


@pytest.mark.parametrize("count", [1, 3])
def test_as_many_descriptors_are_left_as_asked_for(lab, count):
    assert lab.start(open_files, count).finish() == count


def test_a_role_of_any_other_file_is_refused_with_the_hint(lab):
    with pytest.raises(LabError, match=r"is defined in .*ast\.py\. Hint: .*harness/stock_roles\.py"):
        lab.start(ast.walk, None)
