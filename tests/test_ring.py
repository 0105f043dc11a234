"""The wire compared with `tcpdump`, which captures inside the lab at the same time; a burst; an overflowing ring."""

import contextlib
import os
import re
import select
import socket
import time
from dataclasses import replace

import pytest

from harness.errors import ExpectationFailed, Inconclusive, LabError
from harness.evidence import frames, ring
from harness.evidence.ring import Frame
from harness.kernel import processors
from harness.lab import expect
from harness.lab.watch import _ENDLESS, Watch
from harness.story.timeline import Timeline
from harness.views.transcript import transcript
from tests.playing import GENEROUS_S

FLAGS = {"S": "S", "S.": "SA", ".": "A", "P.": "PA", "F.": "FA", "FP.": "FPA", "R": "R", "R.": "RA"}
LINE = re.compile(
    r"([\d.]+)\.(\d+) > ([\d.]+)\.(\d+): Flags \[(\S+)\],.*? seq (\d+)(?::\d+)?,(?: ack (\d+),)? win .*length (\d+)$",
    re.M,
)


def converse(server, client, rounds, before_each=lambda number: None):
    """Both ends in one process, each message in its own segment: neither end sends before it has received."""
    with socket.create_server(server) as listener:
        caller = socket.create_connection(server, source_address=client)
        called, _ = listener.accept()
    for end in (caller, called):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    yield "connected"
    for number in range(rounds):
        before_each(number)
        caller.send(b"?")
        called.recv(1)
        called.send(b"!")
        caller.recv(1)
    caller.close()
    yield "one end closed"
    called.close()
    yield "both ends closed"


def converse_as_it_is_read(server, client, rounds, times, drained):
    """The same, `times` times in one step, each time after the ring was read completely, even on a busy machine."""
    ticks = os.open(drained, os.O_RDWR | os.O_NONBLOCK)
    talk = converse(server, client, rounds * times, lambda number: number % rounds or wait_for_two(ticks))
    yield from talk


def wait_for_two(ticks):
    """The first may belong to a read that had begun before."""
    with contextlib.suppress(BlockingIOError):
        os.read(ticks, 1 << 16)
    for _ in range(2):
        select.select([ticks], [], [])
        os.read(ticks, 1)


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
    expect.poll("what tcpdump has written", seen, lambda: told_by_tcpdump(witness.output()), GENEROUS_S)
    assert {segment.flags for segment in lab.segments()} == {"S", "SA", "A", "PA", "FA", "RA"}
    assert sum(segment.length for segment in lab.segments()) == 6


def test_a_burst_is_captured_whole(lab):
    talk = lab.start(converse, lab.server_address, lab.client_address(40001), 10_000)
    talk.run_to("connected")
    talk.run_to("both ends closed")
    captured, lost = lab.evidence()
    assert lost == 0
    assert captured >= 20_000
    assert captured == lab.counter("IpInReceives") == lab.counter("TcpInSegs")


def test_a_step_may_send_more_than_the_ring_holds(lab, monkeypatch, tmp_path):
    os.mkfifo(drained := tmp_path / "drained")
    ticks = os.open(drained, os.O_RDWR | os.O_NONBLOCK)
    drain = lab._watch.drain

    def drain_and_say_so():
        frames = drain()
        with contextlib.suppress(BlockingIOError):
            os.write(ticks, b".")
        return frames

    monkeypatch.setattr(lab._watch, "drain", drain_and_say_so)
    ends = lab.server_address, lab.client_address(40001)
    talk = lab.start(converse_as_it_is_read, *ends, 5_000, 10, str(drained), to="connected")
    talk.run_to("both ends closed")
    os.close(ticks)
    captured, lost = lab.evidence()
    assert lost == 0
    assert captured == lab.counter("TcpInSegs") > 3 * ring.FRAMES


def test_an_overfull_ring_makes_every_list_inconclusive(lab, monkeypatch):
    monkeypatch.setattr(lab._watch, "drain", lambda: 0)
    talk = lab.start(converse, lab.server_address, lab.client_address(40001), ring.FRAMES // 2 + 500)
    talk.run_to("both ends closed")
    with pytest.raises(Inconclusive, match="segments were lost"):
        lab.segments()
    captured, lost = lab.evidence()
    assert 1000 <= lab.counter("TcpInSegs") - captured <= lost


def test_a_full_timeline_makes_every_list_inconclusive(lab, monkeypatch):
    monkeypatch.setattr(frames, "MOST_BYTES", 3 * 90)
    talk = lab.start(converse, lab.server_address, lab.client_address(40001), 1, to="connected")
    assert len(lab.segments()) == 3
    talk.run_to("both ends closed")
    with pytest.raises(Inconclusive, match="segments were lost"):
        lab.segments()


def test_an_ack_storm_is_a_readable_failed_expectation(lab):
    """Data that only one end knows of: without tcp_invalid_ratelimit, each end answers the other's ACK for ever."""
    lab.set_sysctl("net.ipv4.tcp_invalid_ratelimit", 0)
    lab.start(converse, lab.server_address, lab.client_address(40001), 0, to="connected")
    ack = lab.segments()[2]
    storm = pytest.raises(ExpectationFailed, match=r"bare ACKs without end: [0-9]{4,} more")
    with storm:
        lab.provoke(replace(ack, flags="PA"), payload=b"who said this?")
        until = time.monotonic() + GENEROUS_S
        while (
            time.monotonic() < until
        ):  # on a busy machine the storm grows slowly, and each look gives up after a second
            lab.wire()
    with storm:
        lab.provoke(replace(ack, flags="PA"), payload=b"who said this?")
    assert len(list(lab.timeline)) < 100
    captured, lost = lab.evidence()
    assert captured > _ENDLESS
    assert lost >= 0


def test_a_caller_that_reads_no_further_loses_nothing(lab, monkeypatch):
    talk = lab.start(converse, lab.server_address, lab.client_address(40001), 500, to="connected")
    record, read = lab.record, []

    def read_a_little_before(entry):
        frames = lab._watch._take()
        read.append(next(frames, "nothing"))
        frames.close()
        return record(entry)

    monkeypatch.setattr(lab, "record", read_a_little_before)
    monkeypatch.setattr(lab._watch, "drain", lambda: 0)  # which may take all frames while the role is still on its way
    talk.run_to("both ends closed")
    assert read == [None, None]  # a frame that is no mark, before each of the last two steps
    captured, lost = lab.evidence()
    assert lost == 0
    assert captured == lab.counter("TcpInSegs") > 1000


class Capture:
    """A made-up capture with its marks: each read returns the next of `reads`."""

    def __init__(self, *reads, marks=frozenset({(1, 0), (1, 1)})):
        self.reads = list(reads)
        self.marks = set(marks)
        self.sent = 0
        self.captured = 0
        self.under_way = []
        """At the end of each round, the number of frames sent but not captured; 0 after the last."""

    def read(self, _offset_ns):
        frames = self.reads.pop(0) if self.reads else []
        self.captured += len(frames)
        yield from (frame if isinstance(frame, Frame) else (0, frame, 60, 1) for frame in frames)

    def wait(self, _within_s):
        return True

    def lost(self):
        return 0

    def send(self):
        self.sent += len(self.marks)
        return self.marks

    def frames_sent(self):
        return self.captured + (self.under_way.pop(0) if self.under_way else 0)


def watch_of(capture):
    watch = Watch.__new__(Watch)
    watch.captured = watch._no_room = watch._marks_seen = watch._sent_before = 0
    watch._uncaptured, watch._round_before = 0, None
    watch._quiet_at, watch._storm, watch._events = -1, "", None
    watch._keeper = watch._ring = watch._marks = capture
    watch._timeline = Timeline(0)
    return watch


@pytest.fixture(autouse=True)
def _marks_are_pairs(request, monkeypatch):
    if "lab" not in request.fixturenames:
        monkeypatch.setattr(ring, "marked", lambda data: None if isinstance(data, bytes) else data)


SYN = Frame(0, bytes(70), 70)
BOTH_MARKS = [(1, 0), (1, 1)]


def test_a_round_waits_for_all_its_marks():
    watch = watch_of(Capture([], [SYN, (1, 1)], [(1, 0)]))
    assert watch._round()
    assert (watch.captured, watch._marks_seen) == (1, 2)


def test_a_frame_after_the_first_mark_requires_another_round():
    watch = watch_of(Capture([(1, 1), SYN, (1, 0)]))
    assert not watch._round()


def test_a_sent_but_uncaptured_frame_requires_another_round():
    """The timers of an idle processor may expire on a processor that no mark visits."""
    capture = Capture([SYN, *BOTH_MARKS], [SYN, *BOTH_MARKS])
    capture.under_way = [1]
    watch = watch_of(capture)
    assert [watch._round() for _ in range(2)] == [False, True]


def test_rounds_that_each_miss_another_frame_prove_nothing():
    """A softirq that pauses behind each mark: SYN, SYN/ACK and ACK are queued one after the other."""
    capture = Capture([SYN, *BOTH_MARKS], [SYN, *BOTH_MARKS], [SYN, *BOTH_MARKS])
    capture.under_way = [1, 1]
    watch = watch_of(capture)
    assert [watch._round() for _ in range(3)] == [False, False, True]
    assert watch.captured == 3


def test_uncaptured_frames_do_not_keep_the_wire_busy_for_ever():
    capture = Capture([SYN, *BOTH_MARKS], BOTH_MARKS, BOTH_MARKS)
    capture.under_way = [1, 1, 1]
    watch = watch_of(capture)
    assert [watch._round() for _ in range(3)] == [False, True, True]


def test_while_nothing_is_sent_no_mark_is_sent_either():
    capture = Capture([SYN, *BOTH_MARKS])
    watch = watch_of(capture)
    watch.settle()
    capture.marks = set()  # a round would now be an error
    watch.settle()
    capture.under_way = [1]
    with pytest.raises(LabError, match="may run on none of the lab's processors"):
        watch.settle()


def test_a_round_ends_despite_endless_acks_and_no_mark():
    watch = watch_of(Capture([SYN] * 2 * _ENDLESS))
    assert not watch._round()
    assert watch.captured == _ENDLESS


def test_imprecise_clocks_are_read_again_and_the_spread_recorded(monkeypatch):
    spreads = iter([90_000, 50_000, *[70_000] * 100])
    monkeypatch.setattr("harness.lab.watch._clock_pair", lambda: (next(spreads), 7))
    watch = watch_of(Capture())
    assert watch._real_minus_monotonic_ns() == 7
    assert len(list(spreads)) > 80
    assert transcript(watch._timeline).strip() == "times of segments may be off by 50 µs"


@pytest.mark.parametrize("count", [1, 8, 65, 254])
def test_a_lab_runs_on_few_processors_of_any_machine(count):
    assert processors.parse(f"0-{count - 1}\n") == list(range(count))
    chosen = [processors.lanes(range(count), slot) for slot in range(100)]
    assert {len(each) for each in chosen} == {min(count, processors.MOST_LANES)}
    assert set().union(*chosen) == set(range(count))


def test_marks_skip_a_processor_that_is_missing(lab):
    marks = ring.Marks(lab._keeper.capture, [*os.sched_getaffinity(0), 4000])
    before = os.sched_getaffinity(0)
    assert {processor for _, processor in marks.send()} == before
    assert os.sched_getaffinity(0) == before
