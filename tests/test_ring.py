"""The wire against `tcpdump`, which captures it inside the lab at the same time; a burst; a ring that overflows."""

import os
import re
import socket
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import pytest

from harness import expect
from harness.errors import ExpectationFailed, Inconclusive
from harness.watch import _ENDLESS, Watch

SLOTS = 32768
"""Frames that the ring holds."""

FLAGS = {"S": "S", "S.": "SA", ".": "A", "P.": "PA", "F.": "FA", "FP.": "FPA", "R": "R", "R.": "RA"}
LINE = re.compile(
    r"([\d.]+)\.(\d+) > ([\d.]+)\.(\d+): Flags \[(\S+)\],.*? seq (\d+)(?::\d+)?,(?: ack (\d+),)? win .*length (\d+)$",
    re.M,
)


def converse(server, client, rounds):
    """Both ends in one process, each word in a segment of its own: nobody speaks before he has heard."""
    with socket.create_server(server) as listener:
        caller = socket.create_connection(server, source_address=client)
        called, _ = listener.accept()
    for end in (caller, called):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    yield "connected"
    for _ in range(rounds):
        caller.send(b"?")
        called.recv(1)
        called.send(b"!")
        caller.recv(1)
    caller.close()
    yield "one end closed"
    called.close()
    yield "both ends closed"


def call_in_vain(server, client):
    try:
        socket.create_connection(server, source_address=client)
    except ConnectionRefusedError:
        yield "refused"


def told_by_tcpdump(text):
    return [
        ((source, int(port)), (destination, int(their_port)), FLAGS[flags], int(seq), int(ack or 0), int(length))
        for source, port, destination, their_port, flags, seq, ack, length in LINE.findall(text)
    ]


def start_tcpdump(lab):
    stay_root = ["-Z", "root"] if os.geteuid() == 0 else []
    witness = lab.run_program(["tcpdump", "-i", "lo", *stay_root, "-nvv", "-S", "-l", "--immediate-mode", "tcp"])
    witness.expect_output("listening on lo")
    return witness


def test_the_wire_is_the_one_that_tcpdump_shows(lab):
    witness = start_tcpdump(lab)
    talk = lab.start(converse, lab.server_address, lab.client_address(40001), 3)
    talk.run_to("one end closed")
    lab.expect_states(client="FIN_WAIT2")
    talk.run_to("both ends closed")
    lab.start(call_in_vain, lab.server_address, lab.client_address(40002)).run_to("refused")

    seen = [(each.source, each.destination, each.flags, each.seq, each.ack, each.length) for each in lab.segments()]
    expect.poll("what tcpdump has written", seen, lambda: told_by_tcpdump(witness.output()), 5.0)
    assert {segment.flags for segment in lab.segments()} == {"S", "SA", "A", "PA", "FA", "RA"}
    assert sum(segment.length for segment in lab.segments()) == 6


def test_a_burst_is_captured_whole(lab):
    talk = lab.start(converse, lab.server_address, lab.client_address(40001), 10_000)
    talk.run_to("connected")
    talk.run_to("both ends closed", within_s=30)
    captured, lost = lab.evidence()
    assert lost == 0
    assert captured >= 20_000
    assert captured == lab.counter("IpInReceives") == lab.counter("TcpInSegs")


def test_an_overfull_ring_makes_every_list_inconclusive(lab):
    talk = lab.start(converse, lab.server_address, lab.client_address(40001), SLOTS // 2 + 500)
    talk.run_to("both ends closed", within_s=30)
    with pytest.raises(Inconclusive, match="segments were lost"):
        lab.segments()
    captured, lost = lab.evidence()
    assert 1000 <= lab.counter("TcpInSegs") - captured <= lost


def test_an_ack_storm_is_a_failed_expectation_that_can_be_read(lab):
    """Data that one end alone knows of: without tcp_invalid_ratelimit each end answers the other's ACK, for ever."""
    lab.set_sysctl("net.ipv4.tcp_invalid_ratelimit", 0)
    lab.start(converse, lab.server_address, lab.client_address(40001), 0, to="connected")
    ack = lab.segments()[2]
    for _ in range(2):
        with pytest.raises(ExpectationFailed, match=r"bare ACKs without end: [0-9]{4,} more"):
            lab.provoke(replace(ack, flags="PA"), payload=b"who said this?")
    assert len(list(lab.timeline)) < 100
    captured, lost = lab.evidence()
    assert captured > _ENDLESS
    assert lost >= 0


def test_a_round_ends_though_another_ack_is_always_there_and_no_mark():
    def frames(_offset_ns):
        for _ in range(2 * _ENDLESS):
            yield None
        pytest.fail("it read on")

    watch = object.__new__(Watch)
    watch.captured = 0
    watch._keeper = SimpleNamespace(ask=lambda _: {(1, 0)})
    watch._ring = SimpleNamespace(read=frames)
    watch._timeline = SimpleNamespace(add_frame=lambda _: None)
    with mock.patch("harness.watch.ring.marked", return_value=None):
        assert watch._round() == _ENDLESS
