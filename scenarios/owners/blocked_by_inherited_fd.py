"""A child that inherits a connected socket keeps it open, and blocks a server that serves one connection at a time.

close() gives back one reference to the socket, and only the last sends FIN (net/socket.c, sock_close, by way of fput).
So the server sits in recv() for a client that has left, and whoever comes next is let in by the kernel alone. Nothing
counts or reports it: the signature is a process in the owner column that has no business there.

    controller 40001           caller 40002               server
        | S, SA, A ------------------------------------------> |  accept(), recv()
        | starts a child, close()   | S, SA, A --------------> |  inode 0, in the accept queue
        :                           | PA (request) ----------> |  acknowledged, Recv-Q
        | FA (the child is killed) --------------------------> |  recv() is over: close(), accept()
                                    | <---------- PA (answer)  |

Sources: article 000; RFC 9293, 3.6. To leak through exec, two defaults of Python must be off: CLOEXEC (PEP 446) and
subprocess's close_fds. CLOEXEC acts in exec (fs/exec.c, do_close_on_exec), so a plain fork() leaks always.
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
    """Python's own recipe: a thread for each connection."""


def serve(address, variant):
    SimpleXMLRPCRequestHandler.timeout = 0.2 if variant == "handler timeout" else None
    server = (ThreadedServer if variant == "threads" else SimpleXMLRPCServer)(address, logRequests=False)
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
    transport = Transport()
    transport.make_connection = lambda host: HTTPConnection(host, timeout=patience_s, source_address=("", port))
    answer = getattr(ServerProxy("http://{}:{}".format(*address), transport), method)()
    yield "answered"
    return answer


def control(address, source, variant, sleep):
    connection = socket.create_connection(address, source_address=source)
    connection.set_inheritable(variant not in ("CLOEXEC", "fork"))
    child = None if variant == "fork" else subprocess.Popen([sleep, "600"], close_fds=variant == "close_fds")
    pid = child.pid if child else os.fork()
    while pid == 0:
        signal.pause()
    yield "child started"
    if variant == "shutdown":
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
    yield "closed"
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def start_server(lab, variant=None):
    server = lab.start(serve, lab.server_address, variant)
    server.run_to("listening")
    server.resume()
    return server


def play(lab, variant=None, heirs=("sleep",)):
    # At 0 an ACK that comes late from another CPU (enqueue_to_backlog) would cost the TIME_WAIT: RFC 1337.
    lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)
    server = start_server(lab, variant)
    sleep = find_program("sleep", "coreutils")
    controller = lab.start(control, lab.server_address, lab.client_address(40001), variant, sleep, name="controller")
    controller.run_to("child started")
    lab.expect_holders("client", ["controller", *heirs], port=40001)
    controller.run_to("closed")
    return server, controller


def answers(lab):
    """What the server has said so far; each answer fits one segment."""
    return [segment for segment in lab.segments() if segment.source == lab.server_address and segment.length]


def test_a_slow_call_delays_a_fast_one(lab):
    """Proves: 000-1."""
    start_server(lab)
    slow = lab.start(call, lab.server_address, 40001, "slow")
    fast = lab.start(call, lab.server_address, 40002)
    slow.stay_blocked(in_="recv")
    fast.stay_blocked(in_="recv")
    lab.start(open_gate, lab.server_address).finish()
    assert (slow.finish(), fast.finish()) == ("slow", "fast")
    assert [answer.destination[1] for answer in answers(lab)] == [40001, 40002]


def test_control_a_threaded_server_answers_the_fast_call_first(lab):
    """Proves: 000-1."""
    start_server(lab, "threads")
    slow = lab.start(call, lab.server_address, 40001, "slow")
    fast = lab.start(call, lab.server_address, 40002)
    slow.stay_blocked(in_="recv")
    assert fast.finish() == "fast"
    lab.start(open_gate, lab.server_address).finish()
    assert slow.finish() == "slow"
    assert [answer.destination[1] for answer in answers(lab)] == [40002, 40001]


@pytest.mark.parametrize(("variant", "heirs"), [(None, ["sleep"]), ("fork", ["controller"])])
def test_an_inherited_socket_stays_established_after_close(lab, variant, heirs):
    """Proves: 000-2, and of 000-5 that a plain fork() leaks in spite of CLOEXEC."""
    play(lab, variant, heirs)
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert lab.wire() == ["client S", "server SA", "client A"]
    assert lab.holders("client") == heirs


def test_a_second_client_is_let_in_and_times_out(lab):
    """Proves: 000-3."""
    server, _ = play(lab)
    server.stay_blocked(in_="recv")
    lab.start(call, lab.server_address, 40002).stay_blocked(in_="recv")
    request = sum(segment.length for segment in lab.segments(port=40002))
    lab.expect_socket("client", port=40002, state="ESTABLISHED", send_q=0)
    lab.expect_socket("server", port=40002, state="ESTABLISHED", inode=0, recv_q=request)
    lab.start(call, lab.server_address, 40003, "fast", 0.2).fail_with("TimeoutError")
    lab.expect_socket("server", port=40003, state="CLOSE_WAIT", inode=0, recv_q=request + 1)
    assert (lab.accept_queue(), answers(lab)) == (2, [])


def test_killing_the_child_frees_the_server_at_once(lab):
    """Proves: 000-4."""
    server, controller = play(lab)
    server.stay_blocked(in_="recv")
    waiting = lab.start(call, lab.server_address, 40002)
    waiting.stay_blocked(in_="recv")
    assert (controller.finish(), waiting.finish()) == (-signal.SIGKILL, "fast")
    fin, [answer] = lab.segments(since="closed", port=40001)[0], answers(lab)
    assert (fin.source, fin.flags) == (lab.client_address(40001), "FA")
    lab.expect_duration("FIN to answer, no timer between", (answer.time_ns - fin.time_ns) / 1e9, Interval(0, 0))


CURES = [("close_fds", [], "TIME_WAIT"), ("CLOEXEC", [], "TIME_WAIT"), ("shutdown", ["sleep"], "TIME_WAIT"),
         ("handler timeout", ["sleep"], "CLOSE_WAIT"), ("threads", ["sleep"], "ESTABLISHED")]  # fmt: skip


@pytest.mark.parametrize(("cure", "heirs", "end"), CURES)
def test_control_each_cure_lets_the_server_serve_while_the_child_lives(lab, cure, heirs, end):
    """Proves: 000-5, and 000-2, 000-3, 000-4 by the cure."""
    _, controller = play(lab, cure, heirs)
    assert lab.start(call, lab.server_address, 40002).finish() == "fast"
    lab.expect_states(client=end, port=40001)
    assert controller.finish() == -signal.SIGKILL
