"""The stock roles, each against its counterpart: what is on the wire, and which states result."""

import ast

import pytest

from harness.errors import LabError
from harness.stock_roles import accept, call, listen, serve

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


def test_a_role_of_any_other_file_is_refused_with_the_hint(lab):
    with pytest.raises(LabError, match=r"is defined in .*ast\.py\. Hint: .*harness/stock_roles\.py"):
        lab.start(ast.walk, None)
