"""The system call that a process sleeps in: of real processes, and from every line that the kernel may write."""

import contextlib
import os
import platform
import select
import signal
import socket
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ExpectationFailed, LabError
from harness.evidence import blocked, holders
from harness.lab import expect
from tests.playing import GENEROUS_S


def send_for_ever(peer):
    while True:
        peer.sendall(bytes(1 << 20))


def wait_in(call, address):
    """A role that waits for ever: no other process connects, sends or accepts."""
    listener = socket.create_server(address, backlog=0)
    peer = socket.create_connection(address) if call != "accept" else None
    yield "ready"
    match call:
        case "accept":
            listener.accept()
        case "connect":
            socket.create_connection(address)  # the accept queue is full: its SYN is dropped
        case "recv":
            peer.recv(1)
        case "send":
            send_for_ever(peer)
        case "poll":
            select.select([peer], [], [])
        case "wait":
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            subprocess.run(["sleep", "60"], check=False)
        case "close":
            peer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                send_for_ever(peer)
            peer.setblocking(True)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
            peer.close()


def end_at_once():
    yield "ready"


def run_for_ever():
    yield "running"
    while True:
        pass


@pytest.mark.parametrize("call", ["accept", "connect", "recv", "send", "poll", "wait", "close"])
def test_each_way_of_blocking_is_recognised(lab, call):
    actor = lab.start(wait_in, call, lab.server_address)
    actor.run_to("ready")
    actor.stay_blocked(in_=call)
    assert blocked.same_call(call, actor.blocked_in())
    assert [word for word in blocked._WORDS if blocked.same_call(word, actor.blocked_in())] == [call]


def test_one_call_is_not_mistaken_for_another(lab):
    actor = lab.start(wait_in, "accept", lab.server_address)
    actor.run_to("ready")
    actor.stay_blocked(in_="accept")
    lab.deadline_s = 0.05
    with pytest.raises(ExpectationFailed, match=r"asleep in recv\(\)\n.*it sleeps in accept"):
        actor.stay_blocked(in_="recv")


def test_a_running_process_is_not_blocked(lab):
    actor = lab.start(run_for_ever)
    actor.run_to("running")
    actor.resume()
    assert actor.blocked_in() in (None, "recvmsg")  # the second time, it has not woken up yet
    expect.poll("the call that it sleeps in", None, actor.blocked_in, GENEROUS_S)
    lab.deadline_s = 0.05
    with pytest.raises(ExpectationFailed, match="it runs"):
        actor.stay_blocked(in_="recv")
    actor.kill()
    assert actor.blocked_in() is None


def test_an_ended_process_is_not_blocked():
    with subprocess.Popen(["true"]) as child:
        assert not blocked.has_ended(os.getpid())
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie: its status has not been read
        assert blocked.has_ended(child.pid)
        assert blocked.blocked_in(child.pid) is None
        assert holders._held(child.pid) == []


def test_a_role_that_ends_is_not_blocked_for_any_user(lab):
    """Twenty looks: in most of them, an ordinary user met a process that had freed its memory."""
    for _ in range(20):
        actor = lab.start(end_at_once)
        actor.run_to("ready")
        with pytest.raises(ExpectationFailed, match="the role's end, after step 'ready'"):
            actor.stay_blocked(in_="recv")


def test_an_unknown_word_is_refused_with_those_that_are_known():
    with pytest.raises(LabError, match=r"'select'.*accept, connect, recv, send, poll, wait, close"):
        blocked.same_call("select", "select")


def test_no_call_belongs_to_two_words():
    calls = [call for calls in blocked._WORDS.values() for call in calls]
    assert len(calls) == len(set(calls))
    assert "recvmsg" not in calls  # an actor that waits for its next verb


@pytest.mark.parametrize(
    ("line", "machine", "call"),
    [
        ("43 0x3 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f3c\n", "x86_64", "accept"),
        ("202 0x3 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f3c\n", "aarch64", "accept"),
        ("202 0x3 0x0 0x0 0x0 0x0 0x0 0x7ffd 0x7f3c\n", "x86_64", "futex"),
        ("9999 0x3\n", "x86_64", "syscall 9999"),
        ("43 0x3\n", "riscv64", "syscall 43"),
        ("running\n", "x86_64", None),
        ("-1 0x7ffd 0x7f3c\n", "x86_64", None),
        ("", "x86_64", None),
        ("0x2b 0x3\n", "x86_64", "syscall 0x2b"),
    ],
)
def test_a_line_of_the_kernel_is_read(line, machine, call):
    assert blocked.named(line, machine) == call


@given(
    st.integers(0, 1 << 31),
    st.lists(st.integers(0, (1 << 64) - 1), min_size=8, max_size=8),
    st.sampled_from(["x86_64", "aarch64", platform.machine(), "toaster"]),
)
def test_any_call_has_a_name_or_keeps_its_number(number, words, machine):
    line = " ".join([str(number), *map(hex, words)]) + "\n"
    name = blocked.named(line, machine)
    assert name == blocked._NUMBERS.get(machine, {}).get(number, f"syscall {number}")
