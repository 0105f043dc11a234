"""The socket table compared with `ss`, which reads it inside the lab independently; answers that make no sense."""

import copy
import errno
import json
import pickle
import re
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import Inconclusive
from harness.evidence import sockets
from harness.kernel import netlink

WORDS_OF_SS = {
    "LISTEN": "LISTEN", "ESTAB": "ESTABLISHED", "FIN-WAIT-2": "FIN_WAIT2", "CLOSE-WAIT": "CLOSE_WAIT",
    "TIME-WAIT": "TIME_WAIT", "SYN-SENT": "SYN_SENT",
    "": "none", "on": "retransmit", "keepalive": "keepalive", "timewait": "time_wait", "persist": "zero_window_probe",
}  # fmt: skip
ROW = re.compile(r"(\S+) +(\d+) +(\d+) +([\d.]+):(\d+) +([\d.]+):(\S+)")


def be_in_every_state(server, other_server, client_host):
    listener = socket.create_server(server)

    def connect(port):
        ours = socket.create_connection(server, source_address=(client_host, port))
        return ours, listener.accept()[0]

    held = [connect(port) for port in (40001, 40002, 40003, 40004)]
    held[0][0].sendall(b"hello")
    held[1][0].shutdown(socket.SHUT_WR)
    for end in held[2]:
        end.close()
    held[3][0].close()
    full = socket.create_server(other_server, backlog=0)
    queued = socket.create_connection(other_server, source_address=(client_host, 40005))
    unanswered, only_bound = socket.socket(), socket.socket()
    unanswered.bind((client_host, 40006))
    unanswered.setblocking(False)
    assert unanswered.connect_ex(other_server) == errno.EINPROGRESS
    only_bound.bind((client_host, 40007))
    held += [(full, queued)]  # or they would be closed
    yield "in every state"


def told_by_ss(text):
    """Each row as (identifying fields, seconds that its timer has left)."""
    for line in text.splitlines():
        state, recv_q, send_q, *ends = ROW.match(line).groups()
        timer, left, repeated = (re.findall(r"timer:\((\w+),([^,]*),(\d+)\)", line) or [("", "", "0")])[0]
        uid, inode = (int(*(re.findall(rf" {word}:(\d+)", line) or ["0"])) for word in ("uid", "ino"))
        local, remote = ((host, int(port.replace("*", "0"))) for host, port in (ends[:2], ends[2:]))
        yield (WORDS_OF_SS[state], local, remote, int(recv_q), int(send_q), WORDS_OF_SS[timer], int(repeated), inode,
               uid), seconds(left)  # fmt: skip


def seconds(text):
    """`ss` writes 1min5sec, 59sec, 960ms, and 1.234ms for 1.234 s."""
    minutes, whole, milli = re.fullmatch(r"(?:(\d+)min)?(?:(\d+)(?:sec|\.))?(?:(\d+)ms)?", text).groups(default="0")
    return int(minutes) * 60 + int(whole) + int(milli) / 1000


def key(row):
    return (row.state, row.local, row.remote, row.recv_q, row.send_q, row.timer.name, row.timer.retransmits, row.inode,
            row.uid)  # fmt: skip


def test_the_table_is_the_one_that_ss_shows(lab):
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 30)
    actor = lab.start(be_in_every_state, lab.server_address, lab.other_server_address, lab.client_address(0)[0])
    actor.run_to("in every state")
    for port in (40002, 40004):  # the ACK of a FIN is delayed
        lab.expect_states(client="FIN_WAIT2", port=port)
    before = lab.sockets()
    witness = lab.run_program(["ss", "-tanoeOH"])
    assert witness.finish() == 0
    after = {key(row): row.timer.expires_s for row in lab.sockets()}

    told = dict(told_by_ss(witness.output()))
    assert sorted(map(key, before)) == sorted(told)
    for row in before:  # `ss` truncates its number to milliseconds or seconds
        assert after[key(row)] - 1 < told[key(row)] <= row.timer.expires_s
    assert sorted((row.state, row.local[1]) for row in before if row.local[1] >= 40001) == [
        ("ESTABLISHED", 40001),
        ("ESTABLISHED", 40005),
        ("FIN_WAIT2", 40002),
        ("FIN_WAIT2", 40004),
        ("SYN_SENT", 40006),
        ("TIME_WAIT", 40003),
    ]
    listener, full = sorted((row for row in before if row.state == "LISTEN"), key=lambda row: row.local)
    assert (listener.recv_q, listener.send_q, full.recv_q, full.send_q) == (0, 128, 1, 0)


def test_a_row_is_read_field_by_field():
    answer = struct.pack(
        "=4B2s2s16s16sI8sIIIII", socket.AF_INET6, 1, 2, 3, b"\x1f\x90", b"\x9c\x41",
        bytes(15) + b"\x01", bytes(15) + b"\x02", 7, b"cookie..", 1500, 11, 22, 33, 44,
    )  # fmt: skip
    assert sockets.decode(answer + b"attributes may follow") == sockets.Socket(
        state=sockets.State.ESTABLISHED, local=("::1", 8080), remote=("::2", 40001), recv_q=11, send_q=22,
        timer=sockets.Timer("keepalive", 1.5, 3), inode=44, uid=33,
    )  # fmt: skip
    with pytest.raises(ValueError, match="inet_diag_msg of family 1"):
        sockets.decode(bytes([socket.AF_UNIX]) + answer[1:])
    with pytest.raises(ValueError, match="72 bytes, not 71"):
        sockets.decode(answer[:-1])


likely = st.builds(
    lambda head, rest: bytes(head) + rest,
    st.tuples(st.sampled_from([2, 10]), st.integers(0, 15), st.integers(0, 7), st.integers(0, 255)),
    st.binary(min_size=60, max_size=80),
)


@given(st.binary(max_size=100) | likely)
def test_any_answer_of_a_known_family_is_a_socket(answer):
    if len(answer) < 72 or answer[0] not in (socket.AF_INET, socket.AF_INET6):
        with pytest.raises(ValueError, match="inet_diag_msg"):
            sockets.decode(answer)
        return
    row = sockets.decode(answer)
    known = dict(enumerate(sockets.State, 1)) | {12: "SYN_RECV"}
    timers = dict(enumerate(("none", "retransmit", "keepalive", "time_wait", "zero_window_probe", "delayed_ack")))
    assert row.state == known.get(answer[1], f"state {answer[1]}")
    assert row.timer.name == timers.get(answer[2], f"timer {answer[2]}")


def test_an_unknown_state_is_a_state_like_the_others():
    unknown = sockets.state_of(14)
    assert isinstance(unknown, sockets.State)
    assert (str(unknown), repr(unknown)) == ("state 14", "<State.state 14: 'state 14'>")
    assert unknown == sockets.State("state 14") == "state 14"
    assert hash(unknown) == hash(sockets.State("state 14"))
    assert unknown not in (sockets.State.CLOSED, sockets.state_of(15))
    assert pickle.loads(pickle.dumps(unknown)) == copy.deepcopy(unknown) == unknown
    assert json.dumps([unknown]) == '["state 14"]'
    assert list(sockets.State) == [*map(sockets.state_of, range(1, 12))]


@pytest.mark.parametrize("name", ["state 1", "state 12", "state -0", "state 014", "state x", "CLOSE", 14])
def test_neither_a_state_nor_a_number_is_an_error(name):
    with pytest.raises(ValueError, match="is not a valid State"):
        sockets.State(name)


class Table:
    """A netlink socket with prepared answers: each to the latest request, or to the one that is `late` before it."""

    def __init__(self, *messages, late=0):
        self.answers = list(messages)
        self.late = late
        self.asked = self.sequence = 0

    def send(self, data):
        self.asked += 1
        _, _, _, self.sequence, _ = struct.unpack_from("=IHHII", data)

    def recv(self, limit):
        kind, flags, body = self.answers.pop(0)
        return struct.pack("=IHHII", 16 + len(body), kind, flags, self.sequence - self.late, 0) + body


class Interrupted:
    """The real table, whose reader is interrupted after a number of receptions, as by Ctrl-C or a timeout's alarm."""

    def __init__(self, table, after):
        self.table = table
        self.left = after

    def send(self, data):
        self.table.send(data)

    def recv(self, limit):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return self.table.recv(limit)


def listen_often(address):
    host, port = address
    held = [socket.create_server((host, port + n)) for n in range(700)]  # noqa: F841
    yield "listening"


def test_an_interrupted_dump_is_read_again_a_refusal_is_an_error():
    row, done = bytes([2, 10, 0, 0]) + bytes(68), struct.pack("=i", 0)
    torn, whole, end = (20, 0x12, row), (20, 0x2, row), (3, 0x2, done)
    table = Table(torn, end, whole, end, end)  # the second family has no row
    assert [each.state for each in sockets.read(table)] == ["LISTEN"]
    assert table.asked == 3
    with pytest.raises(PermissionError):
        netlink.ask(Table((2, 0, struct.pack("=i", -errno.EPERM))), 20, 0, b"")


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_dump_does_not_spoil_the_next_look(lab, after):
    lab.start(listen_often, lab.server_address, to="listening")
    table = lab._keeper.table
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            sockets.read(Interrupted(table, after))
    rows = sockets.read(table)  # EBUSY, or a mixture of two dumps, if old answers are taken for new ones
    assert sorted(row.local[1] - lab.server_address[1] for row in rows) == list(range(700))


def test_an_answer_to_an_older_request_is_ignored():
    row, done = bytes([2, 10, 0, 0]) + bytes(68), struct.pack("=i", 0)
    table = Table((20, 0x2, row), (3, 0x2, done), late=1)
    with pytest.raises(IndexError):  # it asks for more, and Table has no more
        netlink.ask(table, 20, netlink.NLM_F_DUMP, b"")


def test_a_table_that_changes_at_every_read_is_inconclusive():
    end = (3, 0x12, struct.pack("=i", 0))
    table = Table(*[end] * 1000)
    with pytest.raises(Inconclusive, match=r"changed during each of \d+ reads.* Hint: "):
        sockets.read(table)
    assert table.asked < 1000


def test_a_netlink_message_without_a_length_is_an_error():
    class Senseless(Table):
        def recv(self, limit):
            return bytes(32)

    with pytest.raises(ValueError, match="netlink message of 0 bytes"):
        netlink.ask(Senseless(), 20, 0, b"")
