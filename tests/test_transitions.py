"""State changes: what the kernel reports is what the segments imply."""

import os
import socket
import struct

import pytest

from harness.evidence.transitions import Transition

FIRST_TO_CLOSE, SECOND_TO_CLOSE = ["FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"], ["CLOSE_WAIT", "LAST_ACK", "CLOSED"]
WITH_FIN, WITH_RST = struct.pack("=ii", 0, 0), struct.pack("=ii", 1, 0)  # struct linger


def listen(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.close()
    yield "closed"


def call(address, source, linger):
    connection = socket.create_connection(address, source_address=source)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    yield "connected"
    connection.close()
    yield "closed"


def call_in_vain(address, source):
    try:
        socket.create_connection(address, source_address=source)
    except ConnectionRefusedError:
        yield "refused"


def open_connection(lab, linger=WITH_FIN):
    server = lab.start(listen, lab.server_address)
    client = lab.start(call, lab.server_address, lab.client_address(40001), linger)
    server.run_to("listening")
    client.run_to("connected")
    server.run_to("accepted")
    return {"server": server, "client": client}


def expect_paths(lab, client, server):
    """Both sources show this after the handshake. A minisock's taking over (TIME_WAIT) is reported as CLOSED."""
    client, server = ["SYN_SENT", "ESTABLISHED", *client], ["SYN_RECV", "ESTABLISHED", *server]
    assert [lab.path("client"), lab.path("server")] == [client, server]
    assert reported(lab, lab.client_address(40001)) == [state.replace("TIME_WAIT", "CLOSED") for state in client]
    assert reported(lab, lab.server_address) == [state.replace("TIME_WAIT", "CLOSED") for state in server]


def reported(lab, local):
    """The states that one end reached, a listener's own left out (it has no remote port), as the timeline shows them.

    Root hears the kernel report them (tracepoint sock:inet_sock_set_state); for others each is marked as inferred.
    """
    changes = [each for each in lab.timeline if isinstance(each, Transition) and each.remote[1]]
    assert {each.inferred for each in changes} == {lab._watch._events is None}
    return [each.new.replace("TIME_WAIT", "CLOSED") for each in changes if each.local == local]


@pytest.mark.parametrize(("first", "second"), [("client", "server"), ("server", "client")])
def test_a_close_is_reported_as_the_segments_imply(lab, first, second):
    actors = open_connection(lab)
    actors[first].run_to("closed")
    lab.expect_states(**{first: "FIN_WAIT2"})  # the ACK of its FIN is delayed
    actors[second].run_to("closed")
    expect_paths(lab, **{first: FIRST_TO_CLOSE, second: SECOND_TO_CLOSE})


def test_a_handshake_and_a_reset_are_reported_as_the_segments_imply(lab):
    actors = open_connection(lab, WITH_RST)
    expect_paths(lab, [], [])
    actors["client"].run_to("closed")
    expect_paths(lab, ["CLOSED"], ["CLOSED"])


def test_a_refused_connection_was_in_syn_sent(lab):
    lab.start(call_in_vain, lab.server_address, lab.client_address(40001)).run_to("refused")
    assert (lab.path("client"), lab.path("server")) == (["SYN_SENT", "CLOSED"], [])
    assert reported(lab, lab.client_address(40001)) == ["SYN_SENT", "CLOSED"]


def test_what_others_do_on_this_machine_drowns_nothing(lab):
    actors = open_connection(lab, WITH_RST)
    cpus = os.sched_getaffinity(0)
    for cpu in cpus:  # each CPU's buffer has room for 2,600 changes
        os.sched_setaffinity(0, {cpu})
        for _ in range(2000):
            with socket.socket() as stranger:
                stranger.connect_ex(("127.0.0.1", 9))
    os.sched_setaffinity(0, cpus)
    actors["client"].run_to("closed")
    expect_paths(lab, ["CLOSED"], ["CLOSED"])
