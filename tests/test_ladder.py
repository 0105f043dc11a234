"""The rows of a story, and the ladder drawn from them: for timelines made by hand, and for a real one."""

import re
import socket
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from harness.evidence.sockets import Socket, State, Timer
from harness.evidence.wire import Segment
from harness.story.timeline import Change, Counted, Finding, Look, Step, Timeline
from harness.views.ladder import ladder
from harness.views.lines import Prose, printed
from harness.views.rows import Lane, rows
from tests.test_timeline import CLIENT, SERVER, frame

OTHER_CLIENT = ("192.0.2.1", 40002)
NONE = Timer("none", 0.0, 0)


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.close()


def call(address):
    connection = socket.create_connection(address, source_address=("", 40001))
    connection.send(b"hello")
    yield "sent"
    connection.recv(1)


@pytest.fixture
def story():
    timeline = Timeline(0)
    timeline.add(Step(1_000_000, "serve", "listening"))
    timeline.add(Look(1_100_000, (listen(),), ((5, "serve"),)))
    for each in (
        frame(2_000_000, CLIENT, SERVER, "S", seq=100),
        frame(2_010_000, SERVER, CLIENT, "SA", seq=900, ack=101),
        frame(2_020_000, CLIENT, SERVER, "A", seq=101, ack=901),
    ):
        timeline.add_captured(*each)
    connected = (listen(recv_q=1), held(CLIENT, SERVER, 6), held(SERVER, CLIENT, 7))
    timeline.add(Look(2_025_000, connected, ((5, "serve"), (6, "call"), (7, "serve"))))
    for each in (
        frame(2_030_000, CLIENT, SERVER, "PA", 101, 901, b"hello"),
        frame(2_040_000, SERVER, CLIENT, "RA", seq=901, ack=106),
    ):
        timeline.add_captured(*each)
    timeline.add(Look(2_100_000, (listen(),), ((5, "serve"),)))
    timeline.add(Step(3_000_000, "call", "failed", "ECONNRESET: [Errno 104] Connection reset by peer"))
    timeline.add(Change(4_000_000, "net.ipv4.tcp_rfc1337 = 1"))
    timeline.add(Finding(5_000_000, "客户端", "重置"))
    timeline.add(Counted(6_000_000, (("TcpExtTCPAbortOnClose", 1),)))
    return timeline


def listen(recv_q=0):
    return Socket(State.LISTEN, SERVER, ("0.0.0.0", 0), recv_q, 128, NONE, 5, 0)


def held(local, remote, inode, **fields):
    return Socket(State.ESTABLISHED, local, remote, fields.get("recv_q", 0), 0, NONE, inode, 0)


def drawn(timeline, width=80, color=False):
    return printed(ladder(timeline, width, "a story"), width, color=color)


def said(timeline, lane):
    return [text for row in rows(timeline) for text in row.says[lane]]


def test_states_are_at_their_own_end_beside_the_segment(story):
    told = [(row.label, row.sender, *row.says.values()) for row in rows(story) if row.segment]
    assert told == [
        ("S", Lane.CLIENT, ["SYN_SENT"], []),
        ("SA", Lane.SERVER, [], ["SYN_RECV"]),
        ("A", Lane.CLIENT, ["ESTABLISHED"], ["ESTABLISHED"]),
        ("PA 5", Lane.CLIENT, [], []),
        ("RA", Lane.SERVER, ["CLOSED"], ["CLOSED"]),
    ]


def test_actors_are_in_the_lane_of_their_sockets(story):
    assert "» listening" in said(story, Lane.SERVER)
    assert "» failed (ECONNRESET)" in said(story, Lane.CLIENT)


def test_queues_are_shown_when_they_change(story):
    assert said(story, Lane.SERVER).count("LISTEN, accept queue empty") == 2
    assert said(story, Lane.SERVER).count("accept queue 1 of 128") == 1


def test_a_missing_owner_is_shown():
    timeline = Timeline(0)
    timeline.add(Look(1, (held(SERVER, CLIENT, 0, recv_q=6),)))
    assert said(timeline, Lane.SERVER) == ["ESTABLISHED", "Recv-Q 6, no owner"]


def test_a_look_refutes_what_the_segments_imply():
    """The third ACK was dropped on arrival: the server's end is still in the old state."""
    timeline = Timeline(0)
    for at, segment in enumerate(
        [(CLIENT, SERVER, "S", 1, 0), (SERVER, CLIENT, "SA", 9, 2), (CLIENT, SERVER, "A", 2, 10)]
    ):
        timeline.add_captured(*frame(at * 1000, *segment))
    half_open = Socket(State.SYN_RECV, SERVER, CLIENT, 0, 0, NONE, 0, 0)
    timeline.add(Look(5_000, (held(CLIENT, SERVER, 6), half_open)))
    assert said(timeline, Lane.CLIENT) == ["SYN_SENT", "ESTABLISHED"]
    assert said(timeline, Lane.SERVER) == ["SYN_RECV"]
    timeline.add(Look(9_000, (held(CLIENT, SERVER, 6), held(SERVER, CLIENT, 7))))
    timeline.add(Look(9_500, ()))
    assert said(timeline, Lane.SERVER) == ["SYN_RECV", "ESTABLISHED", "CLOSED"]


def test_a_look_added_before_its_segment_changes_nothing():
    timeline = Timeline(0)
    timeline.add(Look(2_500, (held(CLIENT, SERVER, 6), Socket(State.SYN_RECV, SERVER, CLIENT, 0, 0, NONE, 0, 0))))
    for at, segment in enumerate(
        [(CLIENT, SERVER, "S", 1, 0), (SERVER, CLIENT, "SA", 9, 2), (CLIENT, SERVER, "A", 2, 10)]
    ):
        timeline.add_captured(*frame(at * 1000, *segment))
    states = [(row.label, row.says[Lane.CLIENT]) for row in rows(timeline) if row.segment]
    assert states == [("S", ["SYN_SENT"]), ("SA", []), ("A", ["ESTABLISHED"])]


def test_a_ports_next_connection_begins_after_a_look_closed_it():
    timeline = Timeline(0)
    old = [(CLIENT, SERVER, "S", 1, 0), (SERVER, CLIENT, "SA", 9, 2), (CLIENT, SERVER, "A", 2, 10),
           (CLIENT, SERVER, "FA", 2, 10), (SERVER, CLIENT, "A", 10, 3)]  # fmt: skip
    for at, segment in enumerate(old):
        timeline.add_captured(*frame(at * 1000, *segment))
    timeline.add(Look(10_000, (Socket(State.CLOSE_WAIT, SERVER, CLIENT, 1, 0, NONE, 7, 0),)))
    timeline.add_captured(*frame(20_000, CLIENT, SERVER, "S", seq=500))
    states = ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSED", "SYN_SENT"]
    assert said(timeline, Lane.CLIENT) == states


def test_a_provoked_answer_implies_no_state():
    timeline = Timeline(0)
    timeline.add_captured(*frame(0, CLIENT, SERVER, "S", seq=1))
    timeline.add(Look(1_000, ()))  # the client has given up
    timeline.add_captured(*frame(2_000, SERVER, CLIENT, "SA", seq=9, ack=2))
    assert said(timeline, Lane.SERVER) == []


def test_an_abort_in_syn_sent_closes():
    timeline = Timeline(0)
    for at, segment in enumerate(
        [(CLIENT, SERVER, "S", 1, 0), (SERVER, CLIENT, "SA", 9, 2), (CLIENT, SERVER, "RA", 2, 10)]
    ):
        timeline.add_captured(*frame(at * 1000, *segment))
    assert said(timeline, Lane.CLIENT) == ["SYN_SENT", "CLOSED"]


def test_a_running_timer_alone_adds_no_row():
    timeline = Timeline(0)
    for at, left_s in ((1, 60.0), (2, 59.0), (3, 58.0)):
        waiting = Socket(State.TIME_WAIT, CLIENT, SERVER, 0, 0, Timer("time_wait", left_s, 0), 0, 0)
        timeline.add(Look(at, (waiting,)))
    assert said(timeline, Lane.CLIENT) == ["TIME_WAIT", "timer time_wait 60.0 s"]


def test_a_number_and_its_unit_stay_on_one_line():
    timeline = Timeline(0)
    waiting = Socket(State.TIME_WAIT, CLIENT, SERVER, 0, 0, Timer("time_wait", 60.0, 0), 0, 0)
    timeline.add(Look(1, (waiting,)))
    assert drawn(timeline).splitlines()[-2:] == ["           timer time_wait", "           60.0 s"]


@given(st.text("ab1 s.,字“”（）。，、；：é", max_size=60), st.integers(6, 30))
@example("一二三四五六七八九十。，”abc", 10)
def test_lines_break_at_the_right_places(text, width):
    """Nothing is lost, no line is too wide, and none begins with punctuation that belongs to the line before."""
    lines = Prose(text).wrap(Console(), width)
    told = [line.plain for line in lines]
    assert "".join("".join(told).split()) == "".join(text.split())
    assert max(map(cell_len, told), default=0) <= width
    for above, line in pairwise(told):
        assert line[:1] not in [*"。，、；：）”"] or not above.strip("。，、；：）” ")[1:], (
            "there was nothing to take along"
        )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("一二三四五。六", ["一二三四", "五。六"]),
        ("ab cd 一二三", ["ab cd", "一二三"]),
        ("一二三四（五六）", ["一二三四", "（五六）"]),
        ("连接 TIME_WAIT", ["连接", "TIME_WAIT"]),
        ("abc def ghi jkl", ["abc def", "ghi jkl"]),
        ("abcdefghijklmno", ["abcdefghij", "klmno"]),
        ("等它 60.0 s 之后", ["等它", "60.0 s", "之后"]),
    ],
)
def test_line_breaks(text, lines):
    assert [line.plain for line in Prose(text).wrap(Console(), 10)] == lines


def test_nothing_of_a_story_moves_the_cursor():
    timeline = Timeline(0)
    timeline.add(Step(1, "actor", "a\x1b[2J\ud800b"))
    timeline.add(Finding(2, "x\ny", "\x07"))
    text = drawn(timeline)
    assert "\x1b" not in text
    assert text.encode()
    assert "a?[2J?b" in text
    assert "x y: ?" in text


def test_ports_are_shown_if_there_are_several_connections(story):
    story.add_captured(*frame(7_000_000, OTHER_CLIENT, SERVER, "S", seq=1))
    assert said(story, Lane.CLIENT)[0] == "40001 SYN_SENT"
    assert "40002 SYN_SENT" in said(story, Lane.CLIENT)


def test_actors_are_named_if_several_share_a_lane(story):
    story.add(Step(8_000_000, "call 2", "connected"))
    assert "» call 2: connected" in said(story, Lane.CLIENT)


def test_what_concerns_both_is_a_note(story):
    notes = [row.note for row in rows(story) if row.note]
    assert notes == ["net.ipv4.tcp_rfc1337 = 1", "客户端: 重置", "counters: TcpExtTCPAbortOnClose +1"]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_wider_than_the_terminal(story, width):
    story.add(Step(9_000_000, "call", "一个相当长的步骤名称" * 5))
    widths = [cell_len(line) for line in drawn(story, width).splitlines()]
    assert max(widths) <= width
    assert max(widths) > width - 5, "and the width is used"


@pytest.mark.parametrize("width", [80, 81])
def test_a_line_that_fills_its_lane_keeps_its_last_character(width):
    """Its last space goes into the next column, and wide characters take two columns each."""
    timeline = Timeline(0)
    waiting = Socket(State.TIME_WAIT, CLIENT, SERVER, 0, 0, Timer("time_wait", 60.0, 0), 0, 0)
    timeline.add(Look(1, (waiting,)))
    text = printed(ladder(timeline, width, "", "zh"), width, color=False)
    assert " ".join(text.split()).endswith("TIME_WAIT 定时器 time_wait 60.0 s")


def test_a_narrow_terminal_gets_80_columns(story):
    assert drawn(story, 20) == drawn(story, 80)


def test_the_drawing(story):
    assert drawn(story).splitlines()[:11] == [
        "a story " + "─" * 72,
        "        ms client                                       server",
        "           states: inferred from the segments, checked by the socket table at",
        "           each step",
        "     1.000                                              » listening",
        "     1.100                                              LISTEN, accept queue",
        "                                                        empty",
        "     2.000 SYN_SENT              ── S ────────────────▶",
        "     2.010                       ◀─────────────── SA ── SYN_RECV",
        "     2.020 ESTABLISHED           ── A ────────────────▶ ESTABLISHED",
        "     2.025                                              accept queue 1 of 128",
    ]


def test_the_heading_is_the_storys_name_with_any_brackets(story):
    name = "test_it_is_told[red-bold]_:smile:"
    assert printed(ladder(story, 80, name), 80, color=False).startswith(f"{name} ──")


@pytest.mark.parametrize("name", ["test_" + "so_long_a_name_" * 4, "test_" + "so_long_a_name_" * 12, "test_short"])
def test_different_parameters_make_different_headings(story, name):
    for parameters in ("[0-TIME_WAIT]", "[1-" + "FIN_WAIT2-" * 9 + "]"):
        lines = printed(ladder(story, 80, name + parameters), 80, color=False).splitlines()
        heading = lines[: next(at for at, line in enumerate(lines) if "client" in line)]
        assert re.sub(" ─+$", "", "".join(heading)) == name + parameters
        assert heading[-1].endswith("───")


def test_colour_is_used_only_on_request(story):
    assert "\x1b[" not in drawn(story)
    assert "\x1b[" in drawn(story, color=True)
    bare = [re.sub(r"\x1b\[[\d;]*m", "", line).rstrip() for line in drawn(story, color=True).splitlines()]
    assert bare == drawn(story).splitlines()


def test_a_flood_is_folded(story):
    for number in range(500):
        story.add_captured(*frame(10_000_000 + number, CLIENT, SERVER, "PA", 106 + number, 901, b"x"))
    assert re.search(r"… \d+ more rows …", drawn(story))
    assert len(drawn(story).splitlines()) < 80


def test_a_real_story(lab):
    lab.looks_closely = True
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, to="sent")
    server.run_to("accepted")
    server.finish()
    client.fail_with("ECONNRESET")
    lab.count()
    told = rows(lab.timeline)
    labels = [row.label for row in told if row.segment]
    assert [label for label in labels if label != "A"] == ["S", "SA", "PA 5", "RA"]
    assert {"» listening", "» accepted", "» finished"} <= set(said(lab.timeline, Lane.SERVER))
    assert {"» sent", "» failed (ECONNRESET)"} <= set(said(lab.timeline, Lane.CLIENT))
    assert "TcpExtTCPAbortOnClose +1" in told[-1].note


def test_a_provoked_segment_is_shown_with_its_host(lab):
    for address in (lab.client_address(40001), lab.server_address, lab.other_server_address):
        lab.provoke(Segment(0, lab.client_address(40002), address, "R", 0, 0, 0, 0, None))
    port = lab.server_address[1]
    told = [row.note for row in rows(lab.timeline) if row.note]
    hosts = ("client:40001", f"server:{port}", f"other server:{port}")
    assert told == [f"provoked: R to {host}" for host in hosts]


def test_looks_after_each_step_only_on_request(lab):
    lab.start(serve, lab.server_address, to="listening")
    assert not any(isinstance(event, Look) for event in lab.timeline)
