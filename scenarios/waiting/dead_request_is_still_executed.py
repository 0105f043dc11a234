"""A server that gets to an order late executes it, although the client has given up and closed long ago.

connect(), send() and close() are between two kernels. The order waits in a receive queue while the server is busy with
somebody else, and nothing takes it out: not FIN, which may mean "I am gone" or "I have said everything", and on Linux
not even RST (RFC 9293, 3.10.7.4, has it flush the queues). That nobody listens shows only after the deed. To the client
a timeout says "perhaps": if it repeats the order, that is executed twice, unless the server knows the order again.

    client                                              server, blocked by a client that says nothing
    ESTABLISHED  ── PA (order) ─────────────────────▶   ESTABLISHED, no owner, Recv-Q: the order
    gives up     ── FA ─────────────────────────────▶   CLOSE_WAIT, no owner, Recv-Q: the order + 1
    FIN_WAIT2    ◀────────────────────────────── A ──
                                                        free: accept(), recv(), executes the order
                 ◀──────────────────── PA (answer) ──   send() succeeds
    CLOSED       ── R ──────────────────────────────▶   CLOSED

Sources: article 000. Kernel: tcp_timewait_state_process (data for FIN_WAIT2), tcp_recvmsg_locked (data before errors).
"""

import contextlib
import socket
import struct
from http.client import HTTPConnection
from xmlrpc.client import ServerProxy, Transport
from xmlrpc.server import SimpleXMLRPCServer

ORDER = "order 1: a bottle of milk"
PORT = 40001


def serve(address, knows_orders):
    executed = []

    def execute(order):
        if not (knows_orders and order in executed):
            executed.append(order)
        return "done"

    server = SimpleXMLRPCServer(address, logRequests=False)
    server.register_function(execute)
    server.register_function(lambda: executed, "executed")
    yield "listening"
    server.serve_forever()


def call(address, method, *arguments, port=0, patience_s=None, aborts=False):
    connection = HTTPConnection(*address, timeout=patience_s, source_address=("", port))
    transport = Transport()
    transport.make_connection = lambda host: connection
    with contextlib.closing(connection):
        connection.connect()
        yield "connected"
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", aborts, 0))
        return getattr(ServerProxy("http://{}:{}".format(*address), transport), method)(*arguments)


def order(address, patience_s, aborts):
    try:
        return (yield from call(address, "execute", ORDER, port=PORT, patience_s=patience_s, aborts=aborts))
    except TimeoutError:
        yield "given up"
    return (yield from call(address, "execute", ORDER))


def play(lab, patience_s=0.2, knows_orders=False, aborts=False):
    """The silent client is killed before it asks; it stands for a connection that some child has inherited."""
    server = lab.start(serve, lab.server_address, knows_orders, to="listening")
    silent = lab.start(call, lab.server_address, "executed", name="silent", to="connected")
    server.stay_blocked(in_="recv")
    return server, silent, lab.start(order, lab.server_address, patience_s, aborts, to="connected")


def play_again(lab, knows_orders):
    _, silent, client = play(lab, knows_orders=knows_orders)
    client.run_to("given up")
    client.run_to("connected")
    silent.kill()
    assert client.finish() == "done"


def executed(lab):
    """What the server has executed; it says so after everything that came before."""
    return lab.start(call, lab.server_address, "executed").finish()


def test_an_order_given_up_is_executed_and_its_answer_is_reset(lab):
    """Proves: 000-9"""
    server, silent, client = play(lab)
    given_up = client.run_to("given up")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT", port=PORT)
    lab.expect_socket("server", port=PORT, inode=0, recv_q=sum(each.length for each in lab.segments(port=PORT)) + 1)
    silent.kill()
    assert executed(lab) == [ORDER]
    wire = lab.wire(since=given_up, port=PORT)  # a busy host may send FIN before it takes the reset in
    assert (wire.count("server PA"), wire[-1]) == (1, "client R")
    lab.expect_states(client="CLOSED", server="CLOSED", port=PORT)
    assert server.output() == ""  # it has noticed nothing


def test_not_even_a_reset_takes_the_order_back(lab):
    """Proves: 000-9, where the client resets as it gives up."""
    server, silent, client = play(lab, aborts=True)
    given_up = client.run_to("given up")
    assert lab.wire(until=given_up, port=PORT)[-1] == "client RA"
    lab.expect_states(client="CLOSED", server="CLOSED", port=PORT)
    silent.kill()
    assert executed(lab) == [ORDER]
    assert lab.wire(since=given_up, port=PORT) == []
    assert "ConnectionResetError" in server.output()  # from send(), after the deed


def test_an_order_repeated_after_a_timeout_is_executed_twice(lab):
    """Proves: 000-9, and what it costs."""
    play_again(lab, knows_orders=False)
    assert executed(lab) == [ORDER, ORDER]


def test_control_an_order_that_the_server_knows_again_is_executed_once(lab):
    """Proves: 000-9, by the cure."""
    play_again(lab, knows_orders=True)
    assert executed(lab) == [ORDER]


def test_control_a_server_that_is_free_in_time_answers(lab):
    """Proves: 000-9, without the delay."""
    _, silent, client = play(lab, patience_s=60)
    client.stay_blocked(in_="poll")
    silent.kill()
    assert client.finish() == "done"
    assert executed(lab) == [ORDER]
