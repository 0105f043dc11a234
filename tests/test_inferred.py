"""The states that made-up segments imply; for real segments see test_transitions.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence.inferred import infer
from harness.evidence.sockets import State
from harness.evidence.wire import Segment

CLIENT, SERVER = ("192.0.2.1", 40001), ("192.0.2.2", 8000)


def states(text):
    """The states of client and server after segments, each `sender flags seq ack`: "c S 100, s SA 500 101"."""
    segments = []
    for time_ns, (sender, flags, seq, *ack) in enumerate(each.split() for each in text.split(",")):
        ends = (CLIENT, SERVER) if sender == "c" else (SERVER, CLIENT)
        segments.append(Segment(time_ns, *ends, flags, int(seq), int(*ack or "0"), 0, 1, None))
    changes = list(infer(segments))
    return [" ".join(each.new for each in changes if each.local == end) for end in (CLIENT, SERVER)]


HANDSHAKE = "c S 100, s SA 500 101, c A 101 501"
FAREWELL = ", c FA 101 501, s A 501 102, s FA 501 102, c A 102 502"
CROSSING = ", c FA 101 501, s FA 501 101, c A 102 502, s A 502 102"
OPEN_C, OPEN_S = "SYN_SENT ESTABLISHED", "SYN_RECV ESTABLISHED"


@pytest.mark.parametrize(
    ("then", "client", "server"),
    [
        ("", "", ""),
        (", s R 501", " CLOSED", " CLOSED"),
        (FAREWELL, " FIN_WAIT1 FIN_WAIT2 TIME_WAIT", " CLOSE_WAIT LAST_ACK CLOSED"),
        # Both FINs are under way at once (RFC 9293, figure 13), which does not affect the next connection.
        (CROSSING, " FIN_WAIT1 CLOSING TIME_WAIT", " FIN_WAIT1 CLOSING TIME_WAIT"),
        (f"{CROSSING}, {HANDSHAKE}, c FA 101 501", f" FIN_WAIT1 CLOSING TIME_WAIT {OPEN_C} FIN_WAIT1",
         f" FIN_WAIT1 CLOSING TIME_WAIT {OPEN_S} CLOSE_WAIT"),
        # A FIN that acknowledges the other.
        (", c FA 101 501, s FA 501 102, c A 102 502", " FIN_WAIT1 FIN_WAIT2 TIME_WAIT", " CLOSE_WAIT LAST_ACK CLOSED"),
        # A retransmitted FIN, and an ACK of what came before it, change nothing.
        (", c FPA 101 501, s A 501 101, c FA 101 501", " FIN_WAIT1", " CLOSE_WAIT"),
        # The port is used again: over TIME_WAIT; and, after the orphan's FIN_WAIT2, against a CLOSE_WAIT, whose
        # challenge ACK the SYN_SENT socket answers with a RST, and stays (RFC 9293, section 3.10.7.3).
        (FAREWELL + ", c S 900", " FIN_WAIT1 FIN_WAIT2 TIME_WAIT SYN_SENT", " CLOSE_WAIT LAST_ACK CLOSED"),
        (", c FA 101 501, s A 501 102, c S 900, s A 501 102, c R 102, c S 900, s SA 700 901",
         " FIN_WAIT1 FIN_WAIT2 SYN_SENT", " CLOSE_WAIT CLOSED SYN_RECV"),
    ],
)  # fmt: skip
def test_segments_imply_states(then, client, server):
    assert states(HANDSHAKE + then) == [OPEN_C + client, OPEN_S + server]


def test_a_reset_ends_a_syn_sent_that_had_repeated_its_syn():
    assert states("c S 100, c S 100, s RA 0 101") == ["SYN_SENT CLOSED", ""]


def test_sequence_numbers_wrap():
    text = "c S 4294967294, s SA 500 4294967295, c A 4294967295 501, c FA 4294967295 501, s A 501 0"
    assert states(text) == [OPEN_C + " FIN_WAIT1 FIN_WAIT2", OPEN_S + " CLOSE_WAIT"]


FLAGS = ["S", "SA", "A", "PA", "FA", "R", "RA", "", "FSRPAUEC"]
number = st.integers(0, 3)


@given(st.lists(st.builds(Segment, st.just(0), *[st.sampled_from([CLIENT, SERVER])] * 2, st.sampled_from(FLAGS),
                          number, number, number, number, st.none())))  # fmt: skip
def test_any_segments_imply_a_path_without_gaps(any_segments):
    now = {}
    for change in infer(any_segments):
        assert change.old == now.get((change.local, change.remote), State.CLOSED) != change.new
        now[change.local, change.remote] = change.new


def test_a_socket_that_has_connected_to_itself_is_one_end():
    numbers = [("S", 100, 0), ("SA", 100, 101), ("A", 101, 101), ("FA", 101, 101), ("A", 102, 102)]
    segments = [
        Segment(time_ns, CLIENT, CLIENT, flags, seq, ack, 0, 1, None)
        for time_ns, (flags, seq, ack) in enumerate(numbers)
    ]
    assert " ".join(each.new for each in infer(segments)) == "SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT1 CLOSING TIME_WAIT"
