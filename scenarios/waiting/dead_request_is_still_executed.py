"""A server executes a late request although its client has given up and closed the connection.

connect(), send() and close() succeed between the two kernels. The request waits in a receive queue
while the server is busy with another client, and nothing removes it: not FIN, which may mean "I
have gone" or "I have sent everything", and on Linux not even RST (RFC 9293, section 3.10.7.4, says
that RST flushes the queues). The server learns that the client has gone only when the answer is
reset. To the client, a timeout means "perhaps": if it sends the request again, the request is
executed twice, unless the server recognises the repetition.

    client                                             server, blocked by a silent client
    ESTABLISHED  ── PA (request) ──────────────────▶   ESTABLISHED, no owner, Recv-Q: the request
    gives up     ── FA ────────────────────────────▶   CLOSE_WAIT, no owner, Recv-Q: that plus 1
    FIN_WAIT2    ◀───────────────────────────── A ──
                                                       free: accept(), recv(), executes the request
                 ◀─────────────────── PA (answer) ──   send() succeeds
    CLOSED       ── R ─────────────────────────────▶   CLOSED

Sources: article 000; RFC 9293, section 3.10.7.4. Kernel: tcp_timewait_state_process (data for
FIN_WAIT2), tcp_recvmsg_locked (data before errors).
"""

import contextlib
from http.client import HTTPConnection
from xmlrpc.client import ServerProxy, Transport
from xmlrpc.server import SimpleXMLRPCServer

from harness.stock_roles import reset_on_close

REQUEST = "order 1: a bottle of milk"
PORT = 40001


def serve(address, recognises_repetitions):
    executed = []

    def execute(request):
        if not (recognises_repetitions and request in executed):
            executed.append(request)
        return "done"

    server = SimpleXMLRPCServer(address, logRequests=False)
    server.register_function(execute)
    server.register_function(lambda: executed, "executed")
    yield "listening"
    server.serve_forever()


def call(address, method, *arguments, port=0, timeout_s=None, resets=False):
    connection = HTTPConnection(*address, timeout=timeout_s, source_address=("", port))
    transport = Transport()
    transport.make_connection = lambda host: connection
    server = ServerProxy("http://{}:{}".format(*address), transport)
    with contextlib.closing(connection):
        connection.connect()
        yield "connected"
        if resets:
            reset_on_close(connection.sock)
        return getattr(server, method)(*arguments)


def send_request(address, timeout_s, resets):
    """After a timeout it sends the request once more, and then waits as long as it takes."""
    how = {"port": PORT, "timeout_s": timeout_s, "resets": resets}
    try:
        return (yield from call(address, "execute", REQUEST, **how))
    except TimeoutError:
        yield "given up"
    return (yield from call(address, "execute", REQUEST))


def play(lab, timeout_s=0.2, recognises_repetitions=False, resets=False):
    """Until the client has connected to a server that a silent client blocks.

    The silent client stands for a connection that some child process has inherited.
    """
    server = lab.start(serve, lab.server_address, recognises_repetitions, to="listening")
    silent = lab.start(call, lab.server_address, "executed", name="silent", to="connected")
    server.stay_blocked(in_="recv")
    client = lab.start(send_request, lab.server_address, timeout_s, resets, to="connected")
    return server, silent, client


def executed(lab):
    """What the server has executed; it answers this after everything that came before."""
    return lab.start(call, lab.server_address, "executed").finish()


def test_a_request_given_up_is_executed_and_its_answer_reset(lab):
    """Proves: 000-9"""
    server, silent, client = play(lab)
    given_up = client.run_to("given up")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT", port=PORT)
    request_bytes = sum(segment.length for segment in lab.segments(port=PORT))
    lab.expect_socket("server", port=PORT, inode=0, recv_q=request_bytes + 1)

    silent.kill()
    assert executed(lab) == [REQUEST]
    # On a busy host, the server's FIN may come between its answer and the reset.
    wire = lab.wire(since=given_up, port=PORT)
    assert wire.count("server PA") == 1
    assert wire[-1] == "client R"
    lab.expect_states(client="CLOSED", server="CLOSED", port=PORT)
    assert server.output() == ""  # it has noticed nothing


def test_not_even_a_reset_takes_the_request_back(lab):
    """Proves: 000-9, if the client resets the connection when it gives up."""
    server, silent, client = play(lab, resets=True)
    given_up = client.run_to("given up")
    assert lab.wire(until=given_up, port=PORT)[-1] == "client RA"
    lab.expect_states(client="CLOSED", server="CLOSED", port=PORT)

    silent.kill()
    assert executed(lab) == [REQUEST]
    assert lab.wire(since=given_up, port=PORT) == []
    assert "ConnectionResetError" in server.output()  # from send(), after the execution


def send_again_after_the_timeout(lab, recognises_repetitions):
    _, silent, client = play(lab, recognises_repetitions=recognises_repetitions)
    client.run_to("given up")
    client.run_to("connected")
    silent.kill()
    assert client.finish() == "done"


def test_a_request_sent_again_after_a_timeout_is_executed_twice(lab):
    """Proves: 000-9, and what it costs."""
    send_again_after_the_timeout(lab, recognises_repetitions=False)
    assert executed(lab) == [REQUEST, REQUEST]


def test_control_a_request_that_is_recognised_is_executed_once(lab):
    """Proves: 000-9, by the cure."""
    send_again_after_the_timeout(lab, recognises_repetitions=True)
    assert executed(lab) == [REQUEST]


def test_control_a_server_that_is_free_in_time_answers(lab):
    """Proves: 000-9, without the delay."""
    _, silent, client = play(lab, timeout_s=60)
    client.stay_blocked(in_="poll")
    silent.kill()
    assert client.finish() == "done"
    assert executed(lab) == [REQUEST]
