"""The timeline and its transcript, on frames made by hand."""

import pytest

from harness.errors import LabError
from harness.evidence import wire
from harness.evidence.ring import Frame
from harness.story.timeline import Step, Timeline
from harness.views.transcript import transcript

CLIENT, SERVER = ("192.0.2.1", 40001), ("192.0.2.2", 8000)


def frame(time_ns, source, destination, flags, seq=0, ack=0, payload=b""):
    kind = b"\x86\xdd" if ":" in source[0] else b"\x08\x00"
    data = bytes(12) + kind + wire.build(source, destination, flags, seq, ack, payload)
    return Frame(time_ns, data, len(data))


@pytest.fixture
def handshake():
    timeline = Timeline(0)
    timeline.add(Step(1, "server", "listening"))
    for each in (
        frame(10, CLIENT, SERVER, "S", seq=100),
        frame(30, SERVER, CLIENT, "SA", seq=900, ack=101),
        frame(20, CLIENT, SERVER, "A", seq=101, ack=901),  # time-stamped on another CPU, slightly too early
    ):
        timeline.add_captured(*each)
    timeline.add(Step(40, "client", "connected"))
    return timeline


def test_since_a_step_is_what_was_added_after_it(handshake):
    assert [each.flags for each in handshake.segments(since=handshake.find("listening"))] == ["S", "SA", "A"]
    assert handshake.segments(since=handshake.find("client: connected")) == []


def test_an_unknown_or_doubtful_step_lists_what_there_is(handshake):
    handshake.add(Step(50, "client 2", "connected"))
    with pytest.raises(LabError, match=r"2 steps are called 'connected'.*'client 2: connected'"):
        handshake.find("connected")
    assert handshake.find("client 2: connected").time_ns == 50


def test_the_order_of_capture_counts_more_than_time_stamps(handshake):
    flags = [each.flags for each in handshake if isinstance(each, wire.Segment)]
    assert flags == ["S", "SA", "A"]


def test_states_are_inferred_and_marked(handshake):
    text = transcript(handshake)
    assert "client:40001 CLOSED → SYN_SENT  (inferred)" in text
    assert "server:8000 SYN_RECV → ESTABLISHED  (inferred)" in text
    assert "server:8000 ── SA ──▶ client:40001" in text
    assert "seq 0 ack 1" in text


def test_a_flood_of_segments_is_folded(handshake):
    for number in range(1000):
        handshake.add_captured(*frame(100 + number, CLIENT, SERVER, "PA", 101 + number, 901, b"x"))
    lines = transcript(handshake).splitlines()
    assert any("… 980 more lines: segments and state changes" in line for line in lines)
    assert len(lines) < 40


def test_ipv6_is_decoded_like_ipv4():
    segment = wire.decode(frame(5, ("::1", 40001), ("::1", 8000), "PA", 7, 8, b"five!"))
    assert (segment.source, segment.destination) == (("::1", 40001), ("::1", 8000))
    assert (segment.flags, segment.seq, segment.ack, segment.length) == ("PA", 7, 8, 5)
