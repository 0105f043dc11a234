"""tcp_info and the memory of a socket compared with `ss`, which decodes the same attributes independently."""

import contextlib
import re
import socket
import struct

import pytest

from harness.evidence import sockets, tcp_info

STOPPED, HELD, BUSY, SMALL = PORTS = (40001, 40002, 40003, 40004)
MUCH, ANSWER = bytes(1 << 20), b"an answer"
FIELDS = {
    "rto_ms": r" rto:([\d.]+)", "mss": r" mss:(\d+)", "unacked": r" unacked:(\d+)", "retrans": r" retrans:(\d+)/",
    "total_retrans": r" retrans:\d+/(\d+)", "cwnd": r" cwnd:(\d+)", "rtt_ms": r" rtt:([\d.]+)/",
    "last_sent_ms": r" lastsnd:(\d+)", "last_received_ms": r" lastrcv:(\d+)", "bytes_acked": r" bytes_acked:(\d+)",
    "bytes_received": r" bytes_received:(\d+)", "notsent": r" notsent:(\d+)", "busy_ms": r" busy:(\d+)ms",
    "rwnd_limited_ms": r" rwnd_limited:(\d+)ms", "backoff": r" backoff:(\d+)", "snd_wnd": r" snd_wnd:(\d+)",
    "rcvbuf": r",rb(\d+),", "sndbuf": r",tb(\d+),", "drops": r",d(\d+)\)",
}  # fmt: skip
"""What `ss -tim` prints for each field of Details. It does not print what is 0."""


def be_in_many_ways(server, client_host):
    """One reader that does not read, a small segment that is held, data both ways, and a small receive buffer."""
    listener = socket.create_server(server)

    def connect(port, receive_buffer=1 << 17):
        ours = socket.socket()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        ours.bind((client_host, port))
        ours.connect(server)
        return ours, listener.accept()[0]

    ends = {port: connect(port) for port in (STOPPED, HELD, BUSY)} | {SMALL: connect(SMALL, 4096)}
    _, stopped = ends[STOPPED]
    stopped.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            stopped.send(MUCH)
    ours, theirs = ends[BUSY]
    ours.sendall(b"a question")
    theirs.sendall(ANSWER)
    assert ours.recv(len(ANSWER), socket.MSG_WAITALL) == ANSWER
    yield "connected"
    ours, _ = ends[HELD]
    ours.sendall(b"head")
    ours.sendall(b"body!")
    yield "held"


def rows(lab):
    """By the ports of both ends: the details of each connection."""
    table = sockets.read(lab._keeper.table, detailed=True)
    return {(row.local[1], row.remote[1]): row.details for row in table if row.state == "ESTABLISHED"}


def told_by_ss(text):
    """The same, as far as `ss` prints it."""
    for line in text.splitlines():
        local, remote = (int(port) for port in re.findall(r"[\d.]+:(\d+)\b", line)[:2])
        told = {name: re.search(pattern, line) for name, pattern in FIELDS.items()}
        yield (local, remote), {name: float(each[1]) if each else 0 for name, each in told.items()}


def test_details_are_those_that_ss_shows(lab):
    """A number that changes meanwhile (a time, a backoff) is between what was read before `ss` and after it."""
    actor = lab.start(be_in_many_ways, lab.server_address, lab.client_address(0)[0])
    actor.run_to("connected")
    lab.drop(f"ip daddr {lab.client_address(0)[0]} tcp dport {HELD}")  # the ACK of the first part
    actor.run_to("held")
    counters = ("TcpExtTCPWinProbe", "TcpExtTCPTimeouts")
    lab.expect("a probe and a timeout", True, lambda: all(map(lab.counter, counters)))
    before = rows(lab)
    witness = lab.run_program(["ss", "-tinmOH", "state", "established"])
    assert witness.finish() == 0
    after = rows(lab)

    told = dict(told_by_ss(witness.output()))
    assert sorted(told) == sorted(before)
    assert len(told) == 2 * len(PORTS)
    for ends, values in told.items():
        for name in FIELDS:
            low, high = sorted(getattr(each[ends], name) for each in (before, after))
            assert low - 1 < values[name] <= high, (ends, name)  # `ss` truncates milliseconds
            if low == high and not name.endswith("_ms"):
                assert values[name] == low, (ends, name)
    seen = {name for values in told.values() for name, value in values.items() if value}
    assert set(FIELDS) - seen <= {"drops"}, "all were compared with a number above 0"


def info(size=232, **fields):
    """A `struct tcp_info` of that many bytes, with one-byte and four-byte fields by offset."""
    raw = bytearray(size)
    for name, value in fields.items():
        struct.pack_into("=I", raw, int(name.removeprefix("at_")), value)
    return bytes(raw)


def attribute(kind, content):
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


@pytest.mark.parametrize(("size", "window"), [(232, 4096), (228, None), (240, 4096)])
def test_a_kernel_without_the_peers_window_has_all_others(size, window):
    fields = {"at_144": 5} | ({"at_228": 4096} if size > 228 else {})
    details = tcp_info.decode(attribute(tcp_info.INFO, info(size, **fields)))
    assert (details.notsent, details.snd_wnd, details.rcvbuf) == (5, window, None)


@pytest.mark.parametrize("attributes", [b"", b"\x01", attribute(7, bytes(36)), attribute(tcp_info.INFO, info(100))])
def test_without_tcp_info_there_are_no_details(attributes):
    assert tcp_info.decode(attributes) is None


def test_an_attribute_shorter_than_its_header_ends_the_list():
    assert tcp_info.decode(struct.pack("=HH", 0, tcp_info.INFO) + attribute(tcp_info.INFO, info())) is None
