"""What a shape includes and leaves out: on timelines made by hand, plays of the same or of different stories."""

import pytest

from harness.evidence.sockets import Socket, State, Timer
from harness.story.shape import shape
from harness.story.timeline import Change, Finding, Look, Step, Timeline
from tests.test_timeline import CLIENT, SERVER, frame

NONE = Timer("none", 0.0, 0)
LISTENING = Socket(State.LISTEN, SERVER, ("0.0.0.0", 0), 0, 5, NONE, 1, 0)
HANDSHAKE = [("S", 0, 0), ("sa", 0, 1), ("A", 1, 1)]
STORY = [
    "serve: listening",
    "call: connected",
    *HANDSHAKE,
    "call: sent",
    ("PA", 1, 1, 10),
    ("a", 1, 11),
    "serve: answered",
    ("pa", 1, 11, 4),
    ("A", 11, 5),
    "call: closed",
    ("FA", 11, 5),
    ("a", 5, 12),
    "serve: closed",
    ("fa", 5, 12),
    ("A", 12, 6),
]
"""A step, and the segments before its end: flags (capitals: the client's), then seq, ack and bytes."""

TOLD = [
    "serve: listening",
    "call: connected",
    "call: sent",
    "serve: answered",
    "call: closed",
    "serve: closed",
    "call to server: →S ←SA →A →data ←data →FIN ←FIN",
]


def play(story, client=CLIENT, server=SERVER, began_ns=0, shown=(3,), detail=""):
    """The timeline of a story: a step is added after what it caused, with a look that shows the holders."""
    timeline = Timeline(began_ns)
    now_ns = began_ns
    pending = None
    held = (at(server, client, 2), at(client, server, 3), LISTENING)

    def enter(step):
        if step:
            actor, _, name = step.partition(": ")
            if actor == "lab":
                timeline.add(Change(now_ns, name))
                return
            timeline.add(Step(now_ns, actor, name, detail if name in ("failed", "finished") else ""))
            timeline.add(Look(now_ns, held, ((1, "serve"), (2, "serve"), *((inode, "call") for inode in shown))))

    for each in story:
        now_ns += 1000
        if isinstance(each, str):
            enter(pending)
            pending = each
        else:
            flags, seq, ack, length = (*each, 0)[:4]
            ends = (client, server) if flags.isupper() else (server, client)
            timeline.add_captured(*frame(now_ns, *ends, flags.upper(), seq + 500, ack + 500, bytes(length)))
    enter(pending)
    return timeline


def at(local, remote, inode, state=State.TIME_WAIT):
    return Socket(state, local, remote, 0, 0, NONE, inode, 0)


def swapped(old, new, story=STORY):
    """The story with some parts replaced."""
    start = next(n for n in range(len(story)) if story[n : n + len(old)] == old)
    return [*story[:start], *new, *story[start + len(old) :]]


def test_a_story_in_a_few_lines():
    assert shape(play(STORY)) == TOLD


def test_a_socket_that_has_connected_to_itself_is_one_end():
    segments = [("S", 0, 0), ("SA", 0, 1), ("A", 1, 1), "call: sent", ("PA", 1, 1, 10), ("A", 11, 11), "call: read"]
    told = shape(play(["call: connected", *segments], client=CLIENT, server=CLIENT))
    assert told[-1] == "call to client: →S →SA →data"


SAME = {
    "data cut in two": swapped([("PA", 1, 1, 10)], [("A", 1, 1, 6), ("PA", 7, 1, 4)]),
    "an answer cut in two": swapped(
        [("pa", 1, 11, 4), ("A", 11, 5)], [("pa", 1, 11, 2), ("pa", 3, 11, 2), ("A", 11, 5)]
    ),
    "ACK that rides on data": swapped([("a", 1, 11)], []),
    "ACK of the FIN that comes with the answering FIN": swapped([("a", 5, 12)], []),
    "a repeated FIN": swapped([("FA", 11, 5)], [("FA", 11, 5), ("FA", 11, 5)]),
    "repeated data": swapped([("PA", 1, 1, 10)], [("PA", 1, 1, 10), ("PA", 1, 1, 10)]),
    "a repeated SYN-ACK": swapped(HANDSHAKE, [*HANDSHAKE, ("sa", 0, 1), ("A", 1, 1)]),
    "what comes after the last step": [*STORY, "lab: something", ("ra", 6, 12)],
    "a RST for a late ACK": swapped([("A", 12, 6)], [("A", 12, 6), ("a", 6, 12), ("R", 12, 0)]),
    "a RST for the second FIN": swapped([("A", 12, 6)], [("R", 12, 0)]),
}


@pytest.mark.parametrize("what", SAME)
def test_left_out_is(what):
    assert shape(play(SAME[what]))[:7] == TOLD


def test_ports_times_and_numbers_are_left_out():
    moved = play(STORY, ("192.0.2.1", 51234), ("192.0.2.2", 8017), began_ns=10**9)
    assert shape(moved) == TOLD


MORE = "→S ←SA →A →data ←data →data →FIN"
OTHER = {
    "a RST for a FIN": (swapped([("fa", 5, 12), ("A", 12, 6)], [("ra", 5, 12)]), "→S ←SA →A →data ←data →FIN ←RST"),
    "no ACK of the handshake": (swapped([("A", 1, 1)], []), "→S ←SA →data ←data →FIN ←FIN"),
    "one more message": (swapped([("FA", 11, 5)], [("PA", 11, 5, 3), ("FA", 14, 5)]), MORE),
    "one more message, with the FIN": (swapped([("FA", 11, 5)], [("FPA", 11, 5, 3)]), MORE),
    "no answer": (swapped([("pa", 1, 11, 4), ("A", 11, 5)], []), "→S ←SA →A →data →FIN ←FIN"),
    "a repeated SYN": (swapped([("S", 0, 0)], [("S", 0, 0), ("S", 0, 0)]), "→S →S ←SA →A →data ←data →FIN ←FIN"),
    "a SYN repeated twice": (swapped([("S", 0, 0)], [("S", 0, 0)] * 3), "→S →S ←SA →A →data ←data →FIN ←FIN"),
    "a challenge": (
        swapped(HANDSHAKE, [("S", 0, 0), ("a", 90, 70), ("R", 70, 0), *HANDSHAKE]),
        "→S ←A →RST →S ←SA →A →data ←data →FIN ←FIN",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHER)
def test_included_is(what):
    story, told = OTHER[what]
    *steps, connection = shape(play(story))
    assert steps == TOLD[:-1]
    assert connection.startswith(f"call to server: {told}")


def test_the_end_that_closes_first_is_included():
    first = ["serve: closed", ("fa", 5, 11), ("A", 11, 6), "call: closed", ("FA", 11, 6), ("a", 6, 12)]
    story = [*STORY[: STORY.index("call: closed")], *first]
    assert shape(play(story))[-1] == "call to server: →S ←SA →A →data ←data ←FIN →FIN"


def test_a_server_that_runs_on_has_its_answer_but_not_its_fin():
    free = [each for each in STORY if each not in ("serve: answered", "serve: closed")]
    *_, told = shape(play(free))
    assert told == "call to server: →S ←SA →A →data ←data →FIN"
    before = swapped([("FA", 11, 5), ("a", 5, 12), ("fa", 5, 12)], [("fa", 5, 11), ("FA", 11, 6)], free)
    assert shape(play(before))[-1] == told


def test_an_end_woken_by_data_may_close_before_or_after():
    woken = ["serve: listening", "call: connected", *HANDSHAKE, "call: blocked in recv", "serve: finished"]
    one = [*woken, ("pa", 1, 1, 4), ("fa", 5, 1), ("FA", 1, 6), ("a", 6, 2), "call: finished"]
    other = [*woken, ("pa", 1, 1, 4), ("FA", 1, 5), ("fa", 5, 2), ("A", 2, 6), "call: finished"]
    assert shape(play(one)) == shape(play(other))
    assert shape(play(one))[-1] == "call to server: →S ←SA →A ←data ↔FIN"


def test_a_client_that_no_look_shows_has_nothing_after_its_fin():
    unseen = [*HANDSHAKE, ("FA", 1, 1), ("a", 1, 2), "call: left"]
    lost = ["serve: listening", *unseen, ("RA", 2, 1), "serve: closed"]
    closed = ["serve: listening", *unseen, ("fa", 1, 2), ("A", 2, 2), "serve: closed"]
    for story in (lost, closed):
        assert shape(play(story, shown=()))[-1] == "somebody to server: →S ←SA →A →FIN"


def test_an_unanswered_syn_is_included_once():
    called = ["serve: listening", "call: calling", ("S", 0, 0), "call: blocked in connect"]
    waited = swapped([("S", 0, 0)], [("S", 0, 0), ("S", 0, 0)], called)
    assert shape(play(called)) == shape(play(waited))
    assert shape(play(waited))[-1] == "call to server: →S"
    refused = [*waited, ("sa", 0, 1), ("R", 1, 0), "call: failed"]
    assert shape(play(refused))[-1] == "call to server: →S ←SA →RST"


def test_a_syn_sent_again_after_a_challenge_is_included():
    lost = ["serve: listening", "call: calling", ("S", 0, 0), ("a", 90, 70), ("R", 70, 0), ("S", 0, 0), "call: failed"]
    assert shape(play(lost))[-1] == "call to server: →S ←A →RST →S"
    unheard = [
        "serve: listening",
        "call: calling",
        ("S", 0, 0),
        ("a", 90, 70),
        ("S", 0, 0),
        ("a", 90, 70),
        "call: failed",
    ]
    assert shape(play(unheard))[-1] == "call to server: →S ←A →S ←A"


def test_the_kernels_fin_for_an_ended_process_is_included():
    story = ["serve: listening", "call: connected", *HANDSHAKE, "call: finished", ("PA", 1, 1, 9), "serve: read",
             ("FA", 10, 1), ("a", 1, 11), "serve: read to the end"]  # fmt: skip
    assert shape(play(story))[-1] == "call to server: →S ←SA →A →data →FIN"


def test_results_are_shown_by_name():
    ending = [*STORY, "call 2: failed"]
    assert "call 2: failed (ECONNRESET)" in shape(
        play(ending, detail="ECONNRESET: [Errno 104] Connection reset by peer")
    )
    ending = [*STORY, "call 2: finished"]
    assert "call 2: finished (returned 'done')" in shape(play(ending, detail="returned 'done'"))
    assert "call 2: finished" in shape(play(ending, detail="returned ('EADDRNOTAVAIL', 0.0012)"))
    assert "call 2: finished" in shape(play(ending, detail=f"returned {bytes(100)}"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("net.ipv4.tcp_fin_timeout = 1", ["lab: net.ipv4.tcp_fin_timeout = 1"]),
        ("dropped from here on: tcp dport 8000", ["lab: dropped from here on: tcp dport (server)"]),
        ("provoked: R to client:51234", ["lab: provoked: R to client"]),
        ("provoked: FA to other server:8000", ["lab: provoked: FA to other server"]),
        ("3 state changes were lost: the tracepoint's buffer was full", []),
    ],
)
def test_the_labs_changes_are_shown_without_a_workers_port(text, told):
    assert [line for line in shape(play([f"lab: {text}", *STORY])) if line.startswith("lab")] == told


def test_a_finding_is_shown_by_its_name():
    timeline = play(STORY)
    timeline.add(Finding(0, "the quick retry", "8.1 ms"))
    timeline.add(Step(0, "call", "finished"))
    assert "finding: the quick retry" in shape(timeline)


def test_lasting_states_are_included_at_the_end():
    story = [*STORY[:6], "call: closed", ("FA", 1, 1), ("a", 1, 2)]
    left = (at(SERVER, CLIENT, 0, State.CLOSE_WAIT), at(CLIENT, SERVER, 0, State.FIN_WAIT2))
    timeline = play(story)
    timeline.add(Step(0, "call", "finished"))
    timeline.add(Look(0, left))
    assert shape(timeline)[-1] == "call to server: →S ←SA →A →FIN; server CLOSE_WAIT without owner"


def test_a_port_that_comes_round_again_begins_a_connection():
    again = [(flags, seq + 7000, ack + 9000) for flags, seq, ack in HANDSHAKE]
    told = shape(play([*STORY, "call: connected", *again, "call: sent"]))
    assert told[-2:] == [TOLD[-1], "call to server: →S ←SA →A"]


def test_many_connections_are_counted():
    timeline = Timeline(0)
    for port in range(41):
        for flags, seq, ack in HANDSHAKE if port else HANDSHAKE[:1]:
            ends = (("192.0.2.1", 40000 + port), SERVER)
            timeline.add_captured(*frame(port, *(ends if flags.isupper() else ends[::-1]), flags.upper(), seq, ack))
    timeline.add(Step(99, "call", "connected"))
    assert shape(timeline) == ["call: connected", "1 × somebody to server: →S",
                               "40 × somebody to server: →S ←SA →A"]  # fmt: skip


def test_of_two_similar_names_the_one_with_the_next_step_counts():
    """A look has only the first 15 bytes of a name."""
    timeline = Timeline(0)
    for number, actor in enumerate(["two_port_client", "two_port_client 2"]):
        client = ("192.0.2.1", 45000 + number)
        timeline.add_captured(*frame(0, client, SERVER, "S"))
        timeline.add(Step(0, actor, "connected"))
        timeline.add(Look(0, (at(client, SERVER, 9),), ((9, "two_port_client"),)))
    assert shape(timeline)[2:] == ["two_port_client to server: →S", "two_port_client 2 to server: →S"]


def test_a_story_without_a_step_has_no_shape():
    assert shape(Timeline(0)) == []
