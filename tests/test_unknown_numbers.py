"""Numbers that a newer kernel may introduce (a state, a timer): every room shows the number itself."""

import socket
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.evidence import sockets, transitions
from harness.evidence.sockets import Socket, State, Timer
from harness.evidence.transitions import Transition
from harness.story.outcome import outcome, written
from harness.story.shape import shape
from harness.story.timeline import Change, Look, Step, Timeline
from harness.views import html, pcapng
from harness.views.ladder import ladder
from harness.views.lines import printed
from harness.views.mermaid import mermaid
from harness.views.rows import Lane, rows
from harness.views.transcript import format_socket, transcript
from tests.test_outcome import SCHEMA, complaints
from tests.test_timeline import frame

CLIENT, SERVER = ("192.0.2.1", 40001), ("192.0.2.2", 8000)


@pytest.fixture
def story():
    """A connection whose server's end has a state and a timer that this program does not know."""
    timeline = Timeline(0)
    timeline.add(Step(1, "serve", "listening"))
    timeline.add_captured(*frame(10, CLIENT, SERVER, "S", seq=100, ack=0))
    timeline.add_captured(*frame(11, SERVER, CLIENT, "SA", seq=500, ack=101))
    timeline.add_captured(*frame(12, CLIENT, SERVER, "A", seq=101, ack=501))
    timeline.add(Transition(13, SERVER, CLIENT, State.ESTABLISHED, sockets.state_of(14), inferred=False))
    timeline.add(Look(20, (Socket(sockets.state_of(14), SERVER, CLIENT, 3, 0, Timer("timer 6", 1.5, 0), 7, 0),)))
    timeline.add(Change(30, "later"))
    timeline.add(Look(40, ()))
    return timeline


def test_the_terminal_shows_them(story):
    assert "server:8002 ↔ client:40001 state 14, Recv-Q 3, Send-Q 0, timer timer 6 1.500 s" in format_socket(
        Socket(sockets.state_of(14), ("192.0.2.2", 8002), CLIENT, 3, 0, Timer("timer 6", 1.5, 0), 7, 0)
    )
    assert "server:8000 ESTABLISHED → state 14" in transcript(story)
    told = [text for row in rows(story) for text in row.says[Lane.SERVER]]
    assert told[-3:] == ["state 14", "Recv-Q 3, timer timer 6 1.5 s", "CLOSED"]
    assert "state 14" in printed(ladder(story, 120), 120, color=False)


def test_the_files_show_them(story):
    assert "state 14" in mermaid(story)
    page = html.page("story", {"claim": "a claim"}, [html.Story("test_it", "passed", story)])
    assert 'class="pill state 14"' in page
    assert 'class="bar state 14"' in page
    assert pcapng.pcapng(story)


def test_the_records_show_them(story):
    record = outcome(story, story="a", verdict="passed", kernel="7.3", profile="reference")
    assert list(complaints(record, SCHEMA)) == []
    assert written(record)
    assert shape(story)


def test_a_delayed_ack_has_a_name_and_is_not_shown_in_a_ladder():
    """Linux 7.3 reports this timer (commit c698f5cc940d): every connection with traffic has it for 40 ms."""
    assert sockets.TIMERS[5] == "delayed_ack"
    row = Socket(State.ESTABLISHED, SERVER, CLIENT, 0, 0, Timer("delayed_ack", 0.04, 0), 7, 0)
    timeline = Timeline(0)
    timeline.add(Look(20, (row,)))
    assert "timer delayed_ack 0.040 s" in transcript(timeline)
    assert not any("delayed_ack" in text for each in rows(timeline) for text in each.says[Lane.SERVER])


def sample(old, new, protocol, family, rest=bytes(40)):
    raw = struct.pack("=8xQiiHHHH", 0xFF, old, new, 8000, 40001, family, protocol) + rest
    return struct.pack("=QI", 1, len(raw)) + raw


def test_the_tracepoint_s_unknown_states_are_shown():
    _, change = transitions.decode(sample(13, 14, socket.IPPROTO_TCP, socket.AF_INET))
    assert (change.old, change.new) == ("state 13", "state 14")


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 20), st.sampled_from([6, 6, 6, 17]),
       st.sampled_from([2, 10, 10, 1, 99]), st.binary(min_size=40, max_size=60))  # fmt: skip
def test_every_change_of_a_tcp_socket_is_a_transition(old, new, protocol, family, rest):
    decoded = transitions.decode(sample(old, new, protocol, family, rest))
    if protocol != socket.IPPROTO_TCP or family not in (socket.AF_INET, socket.AF_INET6):
        assert decoded is None
    else:
        assert (decoded[1].old, decoded[1].new) == (sockets.state_of(old), sockets.state_of(new))
        assert isinstance(decoded[1].new, State)


row_of = st.builds(
    lambda state, ends, recv_q, send_q, timer, expires_s, inode: Socket(
        sockets.state_of(state), *ends, recv_q, send_q, Timer(timer, expires_s, 0), inode, 0
    ),
    st.integers(0, 20), st.sampled_from([(CLIENT, SERVER), (SERVER, CLIENT), (SERVER, ("0.0.0.0", 0))]),
    st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1),
    st.sampled_from(sockets.TIMERS) | st.integers(6, 255).map("timer {}".format),
    st.floats(0, 2**32 / 1000), st.integers(0, 3),
)  # fmt: skip
entry = (
    st.lists(row_of, max_size=3).map(lambda table: Look(0, tuple(table), ((1, "serve"), (2, "call"))))
    | st.builds(
        lambda old, new, ends: Transition(0, *ends, sockets.state_of(old), sockets.state_of(new), inferred=False),
        st.integers(-1, 20), st.integers(-1, 20), st.sampled_from([(CLIENT, SERVER), (SERVER, CLIENT)]),
    )
    | st.sampled_from(["S", "SA", "A", "PA", "FA", "R", "RA", "SEC", ""])
    | st.sampled_from([Step(0, "serve", "listening"), Step(0, "call", "connected")])
)  # fmt: skip


@given(st.lists(entry, max_size=12), st.lists(st.booleans(), min_size=12, max_size=12))
@settings(max_examples=40)
def test_every_view_accepts_any_number_of_the_kernels(entries, forth):
    """In any order, even one that TCP would never produce."""
    timeline = Timeline(0)
    for at, (each, there) in enumerate(zip(entries, forth, strict=False), 1):
        if isinstance(each, str):
            ends = (CLIENT, SERVER) if there else (SERVER, CLIENT)
            timeline.add_captured(*frame(at * 10**6, *ends, each, seq=at, ack=at if "A" in each else 0))
        else:
            timeline.add(replace(each, time_ns=at * 10**6))
    assert isinstance(printed(ladder(timeline, 80), 80, color=False), str)
    assert isinstance(transcript(timeline), str)
    assert isinstance(mermaid(timeline), str)
    assert isinstance(html.page("story", {}, [html.Story("test_it", "passed", timeline)]), str)
    assert isinstance(pcapng.pcapng(timeline), bytes)
    assert isinstance(shape(timeline), list)
    record = outcome(timeline, story="a", verdict="passed", kernel="7.3", profile="reference")
    assert list(complaints(record, SCHEMA)) == []
