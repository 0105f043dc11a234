"""The file for Wireshark: valid for any comment and frame, and readable by tshark."""

import socket
import struct
import subprocess
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.evidence.ring import Frame
from harness.evidence.sockets import Socket, State, Timer
from harness.inside.installed import find_program
from harness.story.timeline import Change, Look, Step, Timeline
from harness.views.pcapng import pcapng
from harness.views.rows import printable, rows
from tests.test_timeline import CLIENT, SERVER, frame

OTHER_SERVER = ("192.0.2.3", 8000)
SECTION, INTERFACE, NAMES, PACKET = 0x0A0D0D0A, 1, 4, 6
FIXED = {SECTION: 16, INTERFACE: 8}
ARP = bytes(12) + b"\x08\x06" + bytes(46)


class Block(NamedTuple):
    kind: int
    body: bytes
    options: list[tuple[int, bytes]]


def tagged(data):
    """Options, up to the end-of-options that must close them."""
    found, at = [], 0
    while at < len(data):
        code, size = struct.unpack_from("<HH", data, at)
        if code == 0:
            assert (size, at + 4) == (0, len(data)), "the end-of-options occurs once, at the end"
            return found
        found.append((code, data[at + 4 : at + 4 + size]))
        assert not any(data[at + 4 + size : at + 4 + size + -size % 4]), "padding is zeros"
        at += 4 + size + -size % 4
    assert not found, "options without an end"
    return found


def blocks(data):
    """A strict reader, written only from the draft."""
    found, at = [], 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size % 4 == 0
        assert size >= 12
        assert struct.unpack_from("<I", data, at + size - 4) == (size,), "both lengths are the same"
        inner = data[at + 8 : at + size - 4]
        if kind == PACKET:
            kept = struct.unpack_from("<12xI", inner)[0]
            fixed = 20 + kept + -kept % 4
            assert not any(inner[20 + kept : fixed]), "padding is zeros"
        else:
            fixed = FIXED.get(kind, 0)
        found.append(Block(kind, inner[:fixed], tagged(inner[fixed:])))
        at += size
    return found


def packets(data):
    """(ns, captured bytes, whole length, comments) of each packet."""
    found = []
    for block in blocks(data):
        if block.kind == PACKET:
            interface, high, low, kept, length = struct.unpack_from("<IIIII", block.body)
            assert interface == 0
            comments = [value.decode() for code, value in block.options if code == 1]
            found.append((high << 32 | low, block.body[20 : 20 + kept], length, comments))
    return found


def one_segment(*steps):
    timeline = Timeline(0)
    timeline.add_captured(*frame(10, CLIENT, SERVER, "S"))
    for step in steps:
        timeline.add(Step(20, "request", step))
    return timeline


def test_an_empty_story_is_a_file_of_three_blocks():
    section, interface, names = blocks(pcapng(Timeline(0)))
    assert section == (SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1), [(4, b"tcp-fault-lab")])
    assert (interface.kind, interface.body) == (INTERFACE, struct.pack("<HHI", 1, 0, 0))
    assert interface.options[1:] == [(2, b"lo"), (9, b"\x09")]
    assert b"since the lab's start" in interface.options[0][1]
    hosts = [b"client\0", b"server\0", b"other-server\0"]
    assert names.options == [
        *((1, bytes([192, 0, 2, number]) + host) for number, host in enumerate(hosts, 1)),
        *((2, bytes.fromhex("20010db8") + bytes(11) + bytes([number]) + host) for number, host in enumerate(hosts, 1)),
    ]


@given(st.text(), st.text(), st.lists(st.tuples(st.binary(max_size=190), st.integers(0, 2**32 - 1))))
@example("\ud800", "\0", [])
def test_every_block_is_whole_for_any_comment_and_frame(claim, step, frames):
    timeline = one_segment(step)
    for at, (data, more) in enumerate(frames):
        timeline.add_captured(*Frame(2**40 + at, data, min(len(data) + more, 2**32 - 1)))
    data = pcapng(timeline, claim)
    written = [value for code, value in blocks(data)[0].options if code == 1]
    assert written == ([claim.encode(errors="replace")] if claim else [])
    (_, _, _, comments), *others = packets(data)
    assert f"0.000 ms  client: {printable(f'» {step}')}" in comments
    assert [kept for _, kept, _, _ in others] == [kept for kept, _ in frames]
    assert [at for at, _, _, _ in others] == [2**40 + at for at in range(len(frames))]


@pytest.mark.parametrize("letter", ["x", "é", "▶"])
def test_a_long_comment_is_cut_between_two_characters(letter):
    [section, *_] = blocks(pcapng(Timeline(0), letter * 70_000))
    text = section.options[0][1].decode()
    assert set(text) == {letter}
    assert 0xFFFF - 3 < len(text.encode()) <= 0xFFFF


def test_a_cut_frame_has_its_whole_length():
    timeline = Timeline(0)
    whole = frame(10, CLIENT, SERVER, "PA", payload=bytes(1000))
    timeline.add_captured(*Frame(10, whole.data[:190], whole.length))
    [(_, kept, length, _)] = packets(pcapng(timeline))
    assert (kept, length) == (whole.data[:190], 14 + 20 + 20 + 1000)


def test_events_without_a_segment_belong_to_the_latest_before():
    timeline = Timeline(1_000_000)
    timeline.add(Step(1_500_000, "serve", "listening"))
    timeline.add_captured(*frame(2_000_000, CLIENT, SERVER, "S"))
    timeline.add_captured(*Frame(2_500_000, ARP, len(ARP)))
    timeline.add(Change(3_000_000, "dropped from here on: everything"))
    timeline.add_captured(*frame(4_000_000, SERVER, CLIENT, "SA", ack=1))
    comments = [comments for _, _, _, comments in packets(pcapng(timeline))]
    assert comments == [
        ["0.500 ms  client: » listening", "client: SYN_SENT", "2.000 ms  dropped from here on: everything"],
        [],
        ["server: SYN_RECV"],
    ]


def test_a_story_without_a_segment_has_no_comments():
    timeline = Timeline(0)
    timeline.add(Step(1, "serve", "listening"))
    timeline.add_captured(*Frame(2, ARP, len(ARP)))
    assert packets(pcapng(timeline)) == [(2, ARP, len(ARP), [])]


def test_a_large_table_is_not_a_comment_a_socket():
    timeline = one_segment()
    many = [
        Socket(State.CLOSE_WAIT, SERVER, (CLIENT[0], 10_000 + n), 1, 0, Timer("none", 0, 0), 0, 0) for n in range(1000)
    ]
    caller = Socket(State.SYN_SENT, CLIENT, SERVER, 0, 0, Timer("retransmit", 1, 0), 7, 0)
    timeline.add(Look(20, (caller, *many)))
    [(_, _, _, comments)] = packets(pcapng(timeline))
    assert len(comments) == 51
    assert comments[0] == "client: SYN_SENT"
    told = sum(len(texts) for row in rows(timeline) for texts in row.says.values())
    assert told > 1000
    assert comments[-1] == f"… {told - 50} more comments"


@pytest.fixture
def tshark(lab, tmp_path):
    """The fields that tshark reads from a file, a list for each packet."""
    program = find_program("tshark", "tshark")

    def read(data, *fields, options=()):
        path = tmp_path / "story.pcapng"
        path.write_bytes(data)
        wanted = [word for field in fields for word in ("-e", field)]
        command = [program, "-r", path, "-n", *options, "-T", "fields", "-E", "separator=\x1f", "-E", "occurrence=a",
                   "-E", "aggregator=\x1e", *wanted]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "appears to be damaged" not in done.stderr
        return [line.split("\x1f") for line in done.stdout.rstrip("\n").split("\n")]

    return read


def converse(server, client):
    with socket.create_server(server) as listener:
        yield "listening"
        caller = socket.create_connection(server, source_address=client)
        called, _ = listener.accept()
    yield "connected"
    caller.sendall(bytes(5000))
    called.recv(5000, socket.MSG_WAITALL)
    called.close()
    yield "server closed"
    caller.close()


def test_tshark_reads_the_story_as_it_was_seen(lab, tshark):
    lab.looks_closely = True
    lab.start(converse, lab.server_address, lab.client_address(40001)).finish()
    lab.count()
    data = pcapng(lab.timeline, "A polite farewell leaves TIME_WAIT")
    fields = ["frame.time_epoch", "tcp.srcport", "tcp.dstport", "tcp.len", "frame.len"]
    seen = [[int(line[0].replace(".", "")), *map(int, line[1:])] for line in tshark(data, *fields)]
    segments, frames = lab.segments(), [frame for frame, _ in lab.timeline.captured()]
    assert [line[:4] for line in seen] == [
        [each.time_ns - lab.timeline.start_ns, *each.ports, each.length] for each in segments
    ]
    assert [line[4] for line in seen] == [each.length for each in frames]
    assert max(line[3] for line in seen) > 190, "a segment that the capture has cut"

    comments = [line.split("\x1e") for (line,) in tshark(data, "frame.comment")]
    steps = [[word.partition("» ")[2] for word in told if "» " in word] for told in comments]
    assert [step for each in steps for step in each] == ["listening", "connected", "server closed", "finished"]
    assert steps[0] == ["listening"], "before the first segment"
    assert comments[0][-1].endswith("client: SYN_SENT")
    states = [word.partition(": ")[2] for told in comments for word in told if word.startswith("server: ")]
    assert states == ["SYN_RECV", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]


def test_tshark_knows_the_hosts_by_their_names(tshark):
    timeline = Timeline(0)
    timeline.add_captured(*frame(1, CLIENT, SERVER, "S"))
    timeline.add_captured(*frame(2, CLIENT, OTHER_SERVER, "S"))
    lines = tshark(pcapng(timeline), "ip.src_host", "ip.dst_host", options=["-Nn"])
    assert lines == [["client", "server"], ["client", "other-server"]]


def test_tshark_reads_times_to_the_nanosecond_and_unicode(tshark):
    timeline = Timeline(5)
    timeline.add_captured(*frame(5 + 123_456_789_012_345, CLIENT, SERVER, "S"))
    timeline.add(Step(6, "request", "geschlossen, 关闭"))
    [line] = tshark(pcapng(timeline), "frame.time_epoch", "frame.comment")
    assert line[0] == "123456.789012345"
    assert "» geschlossen, 关闭" in line[1]
