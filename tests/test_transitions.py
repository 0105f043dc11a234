"""State changes: what the kernel reports against what is read off the wire; and the reading of made-up segments."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence.inferred import infer
from harness.evidence.sockets import State
from harness.evidence.transitions import Transition
from harness.evidence.wire import Segment

CLIENT, SERVER = ("192.0.2.1", 40001), ("192.0.2.2", 8000)
OPENED = {"client": ["SYN_SENT", "ESTABLISHED"], "server": ["SYN_RECV", "ESTABLISHED"]}
FIRST_TO_CLOSE, SECOND_TO_CLOSE = ["FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"], ["CLOSE_WAIT", "LAST_ACK", "CLOSED"]
NOW, NEVER = struct.pack("=ii", 1, 0), struct.pack("=ii", 0, 0)


def listen(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.close()
    yield "closed"


def call(address, source, linger):
    connection = socket.create_connection(address, source_address=source)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    yield "connected"
    connection.close()
    yield "closed"


def call_in_vain(address, source):
    try:
        socket.create_connection(address, source_address=source)
    except ConnectionRefusedError:
        yield "refused"


def play(lab, linger, *order):
    actors = {
        "server": lab.start(listen, lab.server_address),
        "client": lab.start(call, lab.server_address, lab.client_address(40001), linger),
    }
    actors["server"].run_to("listening")
    actors["client"].run_to("connected")
    actors["server"].run_to("accepted")
    for name in order:
        actors[name].run_to("closed")
        if len(order) == 2 and name == order[0]:
            lab.expect_states(**{name: "FIN_WAIT2"})  # the ACK of its FIN is delayed


def paths(lab):
    """By end, as the states reached: reported by the kernel, and inferred. A listener's own changes are left out."""
    lab.segments()
    if lab._watch._events is None:
        pytest.skip("only root hears the kernel report state changes (tracepoint sock:inet_sock_set_state)")
    told = [each for each in lab.timeline if isinstance(each, Transition) and not each.inferred and each.remote[1]]
    return by_end(told), by_end(lab.timeline.transitions())


def by_end(changes):
    found = {}
    for change in changes:
        found.setdefault((change.local, change.remote), []).append(change.new)
    return found


def as_reported(states):
    """A minisock's taking over (TIME_WAIT) is reported as CLOSED."""
    return ["CLOSED" if state == "TIME_WAIT" else state for state in states]


@pytest.mark.parametrize(
    ("linger", "order", "client", "server"),
    [
        (NEVER, [], [], []),
        (NEVER, ["client", "server"], FIRST_TO_CLOSE, SECOND_TO_CLOSE),
        (NEVER, ["server", "client"], SECOND_TO_CLOSE, FIRST_TO_CLOSE),
        (NOW, ["client"], ["CLOSED"], ["CLOSED"]),
    ],
    ids=["handshake", "client closes first", "server closes first", "reset"],
)
def test_the_kernel_reports_what_the_segments_imply(lab, linger, order, client, server):
    play(lab, linger, *order)
    ends = lab.client_address(40001), lab.server_address
    wanted = {ends: OPENED["client"] + client, ends[::-1]: OPENED["server"] + server}
    reported, read = paths(lab)
    assert read == wanted
    assert reported == {end: as_reported(states) for end, states in wanted.items()}
    assert [lab.path(end) for end in ("client", "server")] == list(wanted.values())


def test_a_refused_connection_was_in_syn_sent(lab):
    lab.start(call_in_vain, lab.server_address, lab.client_address(40001)).run_to("refused")
    reported, read = paths(lab)
    assert reported == read == {(lab.client_address(40001), lab.server_address): ["SYN_SENT", "CLOSED"]}


def segments(text):
    """One `sender flags seq ack` each, by commas: "c S 100, s SA 500 101"."""
    for number, (sender, flags, seq, *ack) in enumerate(each.split() for each in text.split(",")):
        ends = (CLIENT, SERVER) if sender == "c" else (SERVER, CLIENT)
        yield Segment(number, *ends, flags, int(seq), int(*ack or "0"), length=0, window=1, timestamp=None)


HANDSHAKE = "c S 100, s SA 500 101, c A 101 501"
FAREWELL = HANDSHAKE + ", c FA 101 501, s A 501 102, s FA 501 102, c A 102 502"
CROSSING = HANDSHAKE + ", c FA 101 501, s FA 501 101, c A 102 502, s A 502 102"


@pytest.mark.parametrize(
    ("text", "client", "server"),
    [
        (HANDSHAKE, "SYN_SENT ESTABLISHED", "SYN_RECV ESTABLISHED"),
        (FAREWELL, "SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 TIME_WAIT",
         "SYN_RECV ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"),
        # Both FINs are under way at once (RFC 9293, figure 13); the next connection knows nothing of it.
        (CROSSING, "SYN_SENT ESTABLISHED FIN_WAIT1 CLOSING TIME_WAIT",
         "SYN_RECV ESTABLISHED FIN_WAIT1 CLOSING TIME_WAIT"),
        (CROSSING + ", " + HANDSHAKE + ", c FA 101 501", "SYN_SENT ESTABLISHED FIN_WAIT1 CLOSING TIME_WAIT "
         "SYN_SENT ESTABLISHED FIN_WAIT1", "SYN_RECV ESTABLISHED FIN_WAIT1 CLOSING TIME_WAIT "
         "SYN_RECV ESTABLISHED CLOSE_WAIT"),
        # A FIN that acknowledges the other.
        (HANDSHAKE + ", c FA 101 501, s FA 501 102, c A 102 502",
         "SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 TIME_WAIT", "SYN_RECV ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"),
        # A FIN sent again, and an ACK of what came before it, change nothing.
        (HANDSHAKE + ", c FPA 101 501, s A 501 101, c FA 101 501", "SYN_SENT ESTABLISHED FIN_WAIT1",
         "SYN_RECV ESTABLISHED CLOSE_WAIT"),
        # Sequence numbers wrap.
        ("c S 4294967294, s SA 500 4294967295, c A 4294967295 501, c FA 4294967295 501, s A 501 0",
         "SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2", "SYN_RECV ESTABLISHED CLOSE_WAIT"),
        (HANDSHAKE + ", s R 501", "SYN_SENT ESTABLISHED CLOSED", "SYN_RECV ESTABLISHED CLOSED"),
        ("c S 100, c S 100, s RA 0 101", "SYN_SENT CLOSED", ""),
        # The port is used again: over TIME_WAIT; and, the orphan's FIN_WAIT2 being over, against a CLOSE_WAIT, whose
        # challenge ACK the SYN_SENT socket answers with a RST, and stays.
        (FAREWELL + ", c S 900", "SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 TIME_WAIT SYN_SENT",
         "SYN_RECV ESTABLISHED CLOSE_WAIT LAST_ACK CLOSED"),
        (HANDSHAKE + ", c FA 101 501, s A 501 102, c S 900, s A 501 102, c R 102, c S 900, s SA 700 901",
         "SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 SYN_SENT", "SYN_RECV ESTABLISHED CLOSE_WAIT CLOSED SYN_RECV"),
    ],
)  # fmt: skip
def test_segments_imply_states(text, client, server):
    changes = list(infer(segments(text)))
    assert " ".join(each.new for each in changes if each.local == CLIENT) == client
    assert " ".join(each.new for each in changes if each.local == SERVER) == server


FLAGS = ["S", "SA", "A", "PA", "FA", "R", "RA", "", "FSRPAUEC"]
number = st.integers(0, 3)


@given(st.lists(st.builds(Segment, st.just(0), *[st.sampled_from([CLIENT, SERVER])] * 2, st.sampled_from(FLAGS),
                          number, number, number, number, st.none())))  # fmt: skip
def test_any_segments_imply_a_path_without_gaps(any_segments):
    now = {}
    for change in infer(any_segments):
        assert change.old == now.get((change.local, change.remote), State.CLOSED) != change.new
        now[change.local, change.remote] = change.new
