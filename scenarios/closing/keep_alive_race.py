"""A request that crosses the server's FIN is answered by RST: the connection had looked usable.

A server closes a connection that has been idle for too long. Until its FIN arrives, the client's
end is ESTABLISHED, so the client cannot know. A request sent now reaches a socket that no process
holds any more, and its kernel answers with RST (tcp_rcv_state_process): recv() fails with
ECONNRESET. If FIN has arrived and the client has not read it, RST comes as well, but recv() returns
0 bytes, which clients report as an empty reply. A proxy reports either as 502
(keep_alive_race_through_a_proxy.py).

    client                                         server
    ESTABLISHED      ◀╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ FA ──      FIN_WAIT1: idle for too long, close()
    ESTABLISHED  ── PA ──────────────────────▶     the request has crossed FIN
    CLOSED       ◀────────────────────── R ──      CLOSED
    recv(): ECONNRESET

No error says whether the request was executed: a server that executes it and then resets the
connection looks the same. So a client may automatically retry what is idempotent, and nothing else.
Checking the connection before each use finds a FIN that has arrived, but not one on its way. There
is no race if the client gives up idle connections before the server does.

FIN is on its way here as long as a rule drops it as it arrives.

Sources: RFC 9110, section 9.2.2; RFC 9112, sections 9.3.1 and 9.5; RFC 9293, section 3.10.7.4.
Kernel: tcp_rcv_state_process (TCPAbortOnData), tcp_timewait_state_process, tcp_reset.
"""

import itertools
import socket

import pytest

from harness.stock_roles import has_ended, reset_on_close

REQUEST, ANSWER = b"a request", b"an answer"


def serve(address, ending):
    """After an answer it "closes" the connection for being idle.

    Or it "dies", between executing the second request and answering it.
    """
    executed = 0
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        while connection.recv(len(REQUEST)):
            executed += 1
            yield f"executed {executed}"
            if ending == "dies" and executed == 2:
                reset_on_close(connection)
                break
            connection.sendall(ANSWER)
            if ending == "closes":
                yield "idle for too long"
                break
        connection.close()
        yield "closed"


def ask_twice(address, cure=""):
    """With time between the two requests."""
    connection = socket.create_connection(address)
    connection.sendall(REQUEST)
    connection.recv(len(ANSWER))
    yield "answered"
    if cure == "gives up first" or (cure == "looks" and has_ended(connection)):
        connection.close()
        connection = socket.create_connection(address)
    connection.sendall(REQUEST)
    yield "asked again"
    try:
        return connection.recv(len(ANSWER))
    except ConnectionResetError:
        if cure != "repeats":
            raise
    connection = socket.create_connection(address)
    connection.sendall(REQUEST)
    return connection.recv(len(ANSWER))


def play(lab, ending="closes", cure=""):
    """Until the first request is answered, and everything is acknowledged."""
    lab.set_sysctl("net.ipv4.tcp_orphan_retries", 8)  # at 1, FIN_WAIT1 ends after 1.6 s
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    server = lab.start(serve, lab.server_address, ending, to="listening")
    client = lab.start(ask_twice, lab.server_address, cure)
    client.resume()
    server.run_to("executed 1")
    server.resume()
    client.run_to("answered")
    lab.expect_socket("server", send_q=0)  # or a delayed ACK might come between FIN and the request
    return server, client


def close_with_fin_on_its_way(lab, server):
    lab.drop(f"tcp sport {lab.server_address[1]} tcp flags & fin == fin")
    server.run_to("closed")
    lab.expect_states(client="ESTABLISHED", server="FIN_WAIT1")


@pytest.mark.parametrize("cure", ["", "looks"], ids=["plain", "looks before use"])
def test_a_request_that_crosses_fin_is_answered_by_rst(lab, cure):
    """A look before use does not help: there is nothing to see yet."""
    server, client = play(lab, cure=cure)
    close_with_fin_on_its_way(lab, server)
    client.run_to("asked again")
    wire = lab.wire(since="ask_twice: answered")
    seen = [segment for segment, _ in itertools.groupby(wire)]  # a busy host retransmits FIN
    assert seen == ["server FA", "client PA", "server R"]
    lab.expect_states(client="CLOSED", server="CLOSED")
    client.fail_with("ECONNRESET")
    assert lab.counter("TcpExtTCPAbortOnData") == 1
    server.stay_blocked(in_="accept")  # and has not executed the request


def test_a_fin_that_was_not_read_gives_an_empty_reply(lab):
    """RST comes as well, but recv() reports FIN. The request is not executed, either."""
    server, client = play(lab)
    server.run_to("closed")
    lab.expect_states(client="CLOSE_WAIT", server="FIN_WAIT2")
    client.run_to("asked again")
    assert lab.wire(since="ask_twice: answered") == [
        "server FA", "client A", "client PA", "server R"
    ]  # fmt: skip
    lab.expect_states(client="CLOSED", server="CLOSED")
    assert client.finish() == b""
    server.stay_blocked(in_="accept")


def test_control_a_look_finds_a_fin_that_has_arrived(lab):
    """recv() with MSG_PEEK returns 0 bytes, so the client takes a new connection."""
    server, client = play(lab, cure="looks")
    server.run_to("closed")
    lab.expect_states(client="CLOSE_WAIT", server="FIN_WAIT2")
    client.run_to("asked again")
    server.run_to("executed 2")
    server.resume()
    assert client.finish() == ANSWER
    assert not any("R" in segment for segment in lab.wire())


def test_control_a_client_that_gives_up_first_has_no_race(lab):
    """Its limit for idle connections is below the server's, which only ever sees their end."""
    server, client = play(lab, cure="gives up first")
    client.run_to("asked again")
    assert lab.state("server", lab.segments()[0].source[1]) == "CLOSE_WAIT"
    server.run_to("executed 2")
    server.resume()
    assert client.finish() == ANSWER
    assert not any("R" in segment for segment in lab.wire())


def test_the_same_error_comes_after_a_request_was_executed(lab):
    """The client sees no difference."""
    server, client = play(lab, "dies")
    client.run_to("asked again")
    server.run_to("executed 2")
    server.run_to("closed")
    assert lab.wire()[-1] == "server RA"
    client.fail_with("ECONNRESET")


def test_control_a_request_that_crossed_fin_can_be_repeated(lab):
    """On a new connection. Two requests, executed once each."""
    server, client = play(lab, cure="repeats")
    close_with_fin_on_its_way(lab, server)
    client.run_to("asked again")
    assert lab.wire()[-1] == "server R"
    client.resume()
    server.run_to("executed 2")
    server.resume()
    assert client.finish() == ANSWER


def test_a_repeated_request_may_be_executed_twice(lab):
    """Two requests, three executions: so a client retries only what is idempotent."""
    server, client = play(lab, "dies", "repeats")
    client.run_to("asked again")
    server.run_to("executed 2")
    server.run_to("closed")
    client.resume()
    server.run_to("executed 3")
    server.resume()
    assert client.finish() == ANSWER
