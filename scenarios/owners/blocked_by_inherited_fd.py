"""A child that inherits a connected socket keeps the connection open, and the server stays blocked.

close() drops one reference to the socket; only the last one sends FIN (net/socket.c, sock_close, by
way of fput). So the server sits in recv() for a client that has left, and the kernel alone accepts
the next clients. No counter and no log shows it. The sign is a process in the owner column that has
nothing to do with the connection.

    controller 40001           caller 40002               server
        | S, SA, A ------------------------------------------> |  accept(), recv()
        | starts a child, close()   | S, SA, A --------------> |  inode 0, in the accept queue
        :                           | PA (request) ----------> |  acknowledged, in Recv-Q
        | FA (the child is killed) --------------------------> |  recv() ends: close(), accept()
                                    | <---------- PA (answer)  |

Sources: article 000; RFC 9293, section 3.6. A socket survives exec only if two defaults of Python
are off: CLOEXEC (PEP 446) and close_fds of subprocess. CLOEXEC acts in exec (fs/exec.c,
do_close_on_exec), so a plain fork() always leaks.
"""

import os
import signal
import socket
import subprocess
from http.client import HTTPConnection
from socketserver import ThreadingMixIn
from xmlrpc.client import ServerProxy, Transport
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

import pytest

from harness.inside.installed import find_program
from harness.predict.timers import Interval


class ThreadedServer(ThreadingMixIn, SimpleXMLRPCServer):
    """One thread for each connection, as Python's documentation recommends."""


def serve(address, variant):
    SimpleXMLRPCRequestHandler.timeout = 0.2 if variant == "handler timeout" else None
    server_class = ThreadedServer if variant == "threads" else SimpleXMLRPCServer
    server = server_class(address, logRequests=False)
    gate = socket.socket(type=socket.SOCK_DGRAM)
    gate.bind(address)
    server.register_function(lambda: gate.recv(100).decode(), "slow")
    server.register_function(lambda: "fast", "fast")
    yield "listening"
    server.serve_forever()


def open_gate(address):
    yield "at the gate"
    socket.socket(type=socket.SOCK_DGRAM).sendto(b"slow", address)


def call(address, port, method="fast", patience_s=None):

    def connection_to(host):
        return HTTPConnection(host, timeout=patience_s, source_address=("", port))

    transport = Transport()
    transport.make_connection = connection_to
    server = ServerProxy("http://{}:{}".format(*address), transport)
    answer = server.slow() if method == "slow" else server.fast()
    yield "answered"
    return answer


def control(address, source, variant, sleep):
    connection = socket.create_connection(address, source_address=source)
    connection.set_inheritable(variant not in ("CLOEXEC", "fork"))
    if variant == "fork":
        pid = os.fork()
        while pid == 0:
            signal.pause()
    else:
        child = subprocess.Popen([sleep, "600"], close_fds=variant == "close_fds")
        pid = child.pid
    yield "child started"
    if variant == "shutdown":
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
    yield "closed"
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def start_server(lab, variant=None):
    lab.protect_time_wait_from_late_acks()
    server = lab.start(serve, lab.server_address, variant, to="listening")
    server.resume()
    return server


def start_controller(lab, variant=None):
    """A client that has started a child; it has not closed its connection yet."""
    sleep = find_program("sleep", "coreutils")
    arguments = (lab.server_address, lab.client_address(40001), variant, sleep)
    return lab.start(control, *arguments, name="controller", to="child started")


def test_an_inherited_socket_stays_established_after_close(lab):
    """Proves: 000-2"""
    start_server(lab)
    controller = start_controller(lab)
    lab.expect_holders("client", ["controller", "sleep"], port=40001)
    controller.run_to("closed")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert lab.wire() == ["client S", "server SA", "client A"]
    assert lab.holders("client") == ["sleep"]


def play(lab, variant=None, holders=("sleep",)):
    """The story above, with one of the variants: until the controller has closed."""
    server = start_server(lab, variant)
    controller = start_controller(lab, variant)
    lab.expect_holders("client", ["controller", *holders], port=40001)
    controller.run_to("closed")
    return server, controller


def answers(lab):
    """The server's answers so far; each fits into one segment."""
    from_server = [each for each in lab.segments() if each.source == lab.server_address]
    return [segment for segment in from_server if segment.length]


def test_a_plain_fork_leaks_in_spite_of_cloexec(lab):
    """Proves: 000-2, and this part of 000-5."""
    play(lab, "fork", ["controller"])
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert lab.wire() == ["client S", "server SA", "client A"]
    assert lab.holders("client") == ["controller"]


def test_a_second_client_is_let_in_and_times_out(lab):
    """Proves: 000-3"""
    server, _ = play(lab)
    server.stay_blocked(in_="recv")
    lab.start(call, lab.server_address, 40002).stay_blocked(in_="recv")
    request = sum(segment.length for segment in lab.segments(port=40002))
    lab.expect_socket("client", port=40002, state="ESTABLISHED", send_q=0)
    lab.expect_socket("server", port=40002, state="ESTABLISHED", inode=0, recv_q=request)
    lab.start(call, lab.server_address, 40003, "fast", 0.2).fail_with("TimeoutError")
    lab.expect_socket("server", port=40003, state="CLOSE_WAIT", inode=0, recv_q=request + 1)
    assert lab.accept_queue() == 2
    assert answers(lab) == []


def test_killing_the_child_frees_the_server_at_once(lab):
    """Proves: 000-4"""
    server, controller = play(lab)
    server.stay_blocked(in_="recv")
    waiting = lab.start(call, lab.server_address, 40002)
    waiting.stay_blocked(in_="recv")
    assert controller.finish() == -signal.SIGKILL
    assert waiting.finish() == "fast"
    fin = lab.segments(since="closed", port=40001)[0]
    [answer] = answers(lab)
    assert (fin.source, fin.flags) == (lab.client_address(40001), "FA")
    passed_s = lab.gap_s(fin, answer)
    lab.expect_duration("FIN to answer, no timer between", passed_s, Interval(0, 0))


@pytest.mark.parametrize(
    ("cure", "holders", "client_state"),
    [
        ("close_fds", [], "TIME_WAIT"),
        ("CLOEXEC", [], "TIME_WAIT"),
        ("shutdown", ["sleep"], "TIME_WAIT"),
        ("handler timeout", ["sleep"], "CLOSE_WAIT"),
        ("threads", ["sleep"], "ESTABLISHED"),
    ],
)
def test_control_each_cure_frees_the_server_while_the_child_lives(lab, cure, holders, client_state):
    """Proves: 000-5, and 000-2, 000-3, 000-4 by the cure."""
    _, controller = play(lab, cure, holders)
    assert lab.start(call, lab.server_address, 40002).finish() == "fast"
    lab.expect_states(client=client_state, port=40001)
    assert controller.finish() == -signal.SIGKILL


def test_a_slow_call_delays_a_fast_one(lab):
    """Proves: 000-1"""
    start_server(lab)
    slow = lab.start(call, lab.server_address, 40001, "slow")
    fast = lab.start(call, lab.server_address, 40002)
    slow.stay_blocked(in_="recv")
    fast.stay_blocked(in_="recv")
    lab.start(open_gate, lab.server_address).finish()
    assert slow.finish() == "slow"
    assert fast.finish() == "fast"
    assert [answer.destination[1] for answer in answers(lab)] == [40001, 40002]


def test_control_a_threaded_server_answers_the_fast_call_first(lab):
    """Proves: 000-1"""
    start_server(lab, "threads")
    slow = lab.start(call, lab.server_address, 40001, "slow")
    fast = lab.start(call, lab.server_address, 40002)
    slow.stay_blocked(in_="recv")
    assert fast.finish() == "fast"
    lab.start(open_gate, lab.server_address).finish()
    assert slow.finish() == "slow"
    assert [answer.destination[1] for answer in answers(lab)] == [40002, 40001]
