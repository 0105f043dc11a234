"""The record of a run: its content for a real story, what two similar runs share, and that it obeys its schema."""

import copy
import json
import math
import random
import re
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence.sockets import TIMERS, Socket, State, Timer
from harness.evidence.transitions import Transition
from harness.story import outcome as room
from harness.story.outcome import outcome, written
from harness.story.timeline import Change, Counted, Finding, Look, Step, Timeline
from tests.playing import ROOT
from tests.test_timeline import frame

SCHEMA = json.loads((ROOT / "harness" / "story" / "outcome.schema.json").read_text())
CLIENT, SERVER, OTHER_SERVER = "192.0.2.1", "192.0.2.2", "192.0.2.3"
WORDS = {"story": "a.py::test_b", "verdict": "passed", "kernel": "6.18.0", "profile": "reference"}
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
         "null": type(None)}  # fmt: skip
ANNOTATIONS = {"$schema", "title", "description"}


def is_a(value, name):
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def complaints(value, schema, at="$"):
    """The violations of a schema by a value, for exactly those keywords of JSON Schema that ours uses."""
    for word, rule in schema.items():
        if word not in ANNOTATIONS:
            yield from RULES[word](value, rule, at, schema)


def of_type(value, rule, at, _):
    if not any(is_a(value, name) for name in ([rule] if isinstance(rule, str) else rule)):
        yield f"{at} is no {rule}"


def one_of(value, rule, at, _):
    if value not in rule or isinstance(value, bool):
        yield f"{at} is none of {rule}"


def any_of(value, rule, at, _):
    if not any(not list(complaints(value, schema, at)) for schema in rule):
        yield f"{at} is none of {rule}"


def written_as(value, rule, at, _):
    if not isinstance(value, str) or not re.search(rule, value):
        yield f"{at} is not written as {rule}"


def at_least(value, rule, at, _):
    if isinstance(value, int) and value < rule:
        yield f"{at} is less than {rule}"


def at_most_items(value, rule, at, _):
    if isinstance(value, list) and len(value) > rule:
        yield f"{at} has more than {rule}"


def with_all(value, rule, at, _):
    if isinstance(value, dict):
        yield from (f"{at} has no {name}" for name in rule if name not in value)


def each_item(value, rule, at, _):
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from complaints(each, rule, f"{at}[{number}]")


def each_known(value, rule, at, _):
    if isinstance(value, dict):
        for name in value.keys() & rule.keys():
            yield from complaints(value[name], rule[name], f"{at}.{name}")


def each_other(value, rule, at, schema):
    if isinstance(value, dict):
        for name in value.keys() - schema.get("properties", {}).keys():
            yield from [f"{at} may have no {name}"] if rule is False else complaints(value[name], rule, f"{at}.{name}")


RULES = {
    "type": of_type, "enum": one_of, "anyOf": any_of, "pattern": written_as,
    "const": lambda value, rule, *rest: one_of(value, [rule], *rest),
    "minimum": at_least, "maxItems": at_most_items, "required": with_all, "items": each_item,
    "properties": each_known, "additionalProperties": each_other,
}  # fmt: skip


def recorded(timeline):
    """The record, after checking it against the schema, also after a round trip through JSON."""
    record = outcome(timeline, **WORDS)
    assert list(complaints(record, SCHEMA)) == []
    assert json.loads(written(record)) == record
    return record


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    listener.accept()
    yield "accepted"


def reset(address):
    connection = socket.create_connection(address)
    yield f"connected from port {connection.getsockname()[1]}"
    yield "connected"
    connection.sendall(b"hello")
    yield "sent"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def test_a_real_storys_record_has_no_ports_and_first_numbers(lab):
    lab.start(serve, lab.server_address, to="listening")
    client = lab.start(reset, lab.server_address)
    client.run_to("connected")
    client.run_to("sent")
    lab.expect_wire(["client PA", "server A"], since="reset: connected")
    lab.drop(f"tcp sport {lab.server_address[1]}")
    client.finish()
    lab.finding("port of the server", lab.server_address[1])
    lab.finding("address of the server", lab.server_address)
    lab.sockets()
    lab.count()
    record = recorded(lab.timeline)

    first, back = {"from": "client#1", "to": "server#1"}, {"from": "server#1", "to": "client#1"}
    assert record["segments"] == [
        first | {"flags": "S", "length": 0, "seq": 0, "ack": None},
        back | {"flags": "SA", "length": 0, "seq": 0, "ack": 1},
        first | {"flags": "A", "length": 0, "seq": 1, "ack": 1},
        first | {"flags": "PA", "length": 5, "seq": 1, "ack": 1},
        back | {"flags": "A", "length": 0, "seq": 1, "ack": 6},
        first | {"flags": "RA", "length": 0, "seq": 6, "ack": 1},
    ]
    assert [(row["kind"], row["who"], row["text"]) for row in record["timeline"]] == [
        ("step", "serve", "listening"),
        ("segment", "client#1", "S"),
        ("state", "client#1", "SYN_SENT"),
        ("segment", "server#1", "SA"),
        ("state", "server#1", "SYN_RECV"),
        ("segment", "client#1", "A"),
        ("state", "client#1", "ESTABLISHED"),
        ("state", "server#1", "ESTABLISHED"),
        ("step", "reset", "connected from port client#1"),
        ("step", "reset", "connected"),
        ("segment", "client#1", "PA 5"),
        ("segment", "server#1", "A"),
        ("step", "reset", "sent"),
        ("change", "lab", "dropped from here on: tcp sport server#1"),
        ("segment", "client#1", "RA"),
        ("state", "client#1", "CLOSED"),
        ("state", "server#1", "CLOSED"),
        ("step", "reset", "finished"),
    ]
    assert record["sockets"] == [
        {"state": "LISTEN", "local": "server#1", "remote": "*", "recv_q": 1, "send_q": 128, "timer": "none",
         "owned": True}
    ]  # fmt: skip
    assert record["findings"][1] == {"name": "address of the server", "value": "('192.0.2.2', server#1)"}
    assert record["counters"]["TcpExtTCPAbortOnData"] == 1
    assert record["left_out"] == {"timeline": 0, "segments": 0, "sockets": 0}
    listening = next(entry for entry in lab.timeline if isinstance(entry, Step))
    assert record["timeline"][0]["ms"] == round((listening.time_ns - lab.timeline.start_ns) / 1e6, 3) > 0


def run(start_ns, client_port, server_port, first_seq, inode, reported):
    """A story in which a port is used again against a leaked CLOSE_WAIT, whose challenge ACK has an old number."""
    client, server, other = (CLIENT, client_port), (SERVER, server_port), (OTHER_SERVER, server_port)
    timeline = Timeline(start_ns)

    def enter(at, source, destination, flags, seq, ack=0):
        numbers = {"seq": (first_seq + seq) % 2**32, "ack": (first_seq + ack) % 2**32 if "A" in flags else 0}
        timeline.add_captured(*frame(start_ns + at, source, destination, flags, **numbers))

    timeline.add(Step(start_ns + 1, "serve", "listening", f"port {server_port}"))
    enter(10, client, server, "S", 100)
    enter(11, server, client, "SA", 5000, 101)
    enter(12, client, server, "A", 101, 5001)
    if reported:
        timeline.add(Transition(start_ns + 13, client, server, State.SYN_SENT, State.ESTABLISHED, inferred=False))
    timeline.add(Step(start_ns + 9, "call", "connected"))  # its time stamp is before what it caused
    enter(20, client, server, "FA", 101, 5001)
    enter(21, server, client, "A", 5001, 102)
    enter(30, client, server, "S", 90_000)
    enter(31, server, client, "A", 5001, 102)
    enter(40, client, other, "S", 7)
    timeline.add(Look(start_ns + 45, ()))
    rows = [
        Socket(State.CLOSE_WAIT, server, client, 1, 0, Timer("none", 0.0, 0), 0, 0),
        Socket(State.LISTEN, other, ("0.0.0.0", 0), 0, 128, Timer("none", 0.0, 0), inode, 0),
        Socket(State.TIME_WAIT, client, other, 0, 0, Timer("time_wait", 60 - inode / 1e3, 0), 0, 0),
    ]
    timeline.add(Look(start_ns + 50, tuple(rows if reported else rows[::-1])))
    timeline.add(Counted(start_ns + 60, (("TcpExtB", 2), ("TcpExtA", 1))[:: 1 if reported else -1]))
    return timeline


def test_two_similar_runs_have_similar_records():
    one = recorded(run(0, 40001, 8000, 0, inode=7, reported=True))
    two = recorded(run(10**15, 51234, 8005, 2**32 - 3000, inode=9, reported=False))
    assert one == two, "times too: these two runs were equally fast"
    assert list(one["counters"]) == ["TcpExtA", "TcpExtB"]


def test_what_a_step_caused_comes_before_it():
    texts = [row["text"] for row in recorded(run(0, 40001, 8000, 0, 7, reported=False))["timeline"]]
    assert texts[:3] == ["listening (port server#1)", "S", "SYN_SENT"]
    assert texts.index("connected") == texts.index("FA") - 1


def test_a_number_from_before_the_connection_is_null():
    *_, challenge, to_other = recorded(run(0, 40001, 8000, 0, 7, reported=True))["segments"]
    assert (challenge["seq"], challenge["ack"]) == (1, None)
    assert (to_other["to"], to_other["seq"]) == ("other server#1", 0)


def test_sockets_are_those_of_the_last_look_by_state_and_port():
    rows = recorded(run(0, 40001, 8000, 0, 7, reported=True))["sockets"]
    assert [(row["state"], row["local"], row["remote"], row["owned"]) for row in rows] == [
        ("CLOSE_WAIT", "server#1", "client#1", False),
        ("LISTEN", "other server#1", "*", True),
        ("TIME_WAIT", "client#1", "other server#1", False),
    ]


def test_a_difference_is_one_line_of_the_diff():
    one = recorded(run(0, 40001, 8000, 0, 7, reported=True))
    two = copy.deepcopy(one)
    two["sockets"][0]["recv_q"] = 6
    two["segments"].append(one["segments"][0])
    before, after = written(one).splitlines(), written(two).splitlines()
    assert len(before) + 1 == len(after)
    assert len(set(after) - set(before)) == 3  # the socket, the new segment, and a comma behind the last one before
    assert len(before) < 60


@pytest.mark.parametrize(
    ("text", "told"),
    [("tcp dport 8003.", "tcp dport server#1."), ("('192.0.2.2', 8003)", "('192.0.2.2', server#1)"),
     ("192.0.2.2:8003 is down", "192.0.2.2:server#1 is down"), ("tcp sport 40001 drop", "tcp sport client#1 drop"),
     ("port 8003.5, port 80030, port 8003x", "port 8003.5, port 80030, port 8003x"),
     ("returned 8003", "returned 8003"), ("8003 ms", "8003 ms"), ("port 99", "port 99"),
     ("x" * 300, "x" * 200 + "…"), ("\ud800", "?")],
)  # fmt: skip
def test_texts_have_the_names_of_ports_in_them(text, told):
    timeline = Timeline(0)
    timeline.add_captured(*frame(1, (CLIENT, 40001), (SERVER, 8003), "S"))
    timeline.add(Change(3, text))
    assert recorded(timeline)["timeline"][-1]["text"] == told


@pytest.mark.parametrize(
    ("value", "told"),
    [(3, 3), (0.5, 0.5), (True, True), (None, None), ("x", "x"), (math.nan, "nan"), (math.inf, "inf"), ([1], "[1]"),
     (b"\xff", "b'\\xff'"), (State.CLOSED, "CLOSED"), ({1: 2}, "{1: 2}")],
)  # fmt: skip
def test_a_finding_may_be_anything(value, told):
    timeline = Timeline(0)
    timeline.add(Finding(1, "it", value))
    [finding] = recorded(timeline)["findings"]
    assert (finding["value"], type(finding["value"])) == (told, type(told))


def test_long_lists_are_cut_with_a_note():
    timeline = Timeline(0)
    for number in range(1200):
        timeline.add_captured(*frame(number, (CLIENT, 1024 + number), (SERVER, 8000), "S"))
    rows = [Socket(State.SYN_SENT, (CLIENT, 1024 + n), (SERVER, 8000), 0, 1, Timer("none", 0, 0), 0, 0)
            for n in range(1001)]  # fmt: skip
    timeline.add(Look(2000, tuple(rows)))
    record = recorded(timeline)
    assert record["left_out"] == {"timeline": 1400, "segments": 200, "sockets": 1}
    assert [len(record[name]) for name in record["left_out"]] == [1000, 1000, 1000]
    assert [row["local"] for row in record["sockets"]] == [f"client#{n + 1}" for n in range(1000)], "2 before 10"


def test_an_empty_run_has_a_record():
    record = recorded(Timeline(0))
    assert [record[name] for name in ("findings", "counters", "timeline", "segments", "sockets")] == [
        [],
        {},
        [],
        [],
        [],
    ]


@given(st.text(), st.text(), st.text(), st.floats(), st.integers())
def test_any_text_and_value_fits_the_schema(step, detail, change, number, integer):
    timeline = run(0, 40001, 8000, 0, 7, reported=True)
    timeline.add(Step(70, "actor", step, detail))
    timeline.add(Change(71, change))
    timeline.add(Finding(72, "number", number))
    timeline.add(Finding(73, "integer", integer))
    recorded(timeline)


def test_the_schema_knows_every_state_timer_and_limit():
    sockets = SCHEMA["properties"]["sockets"]["items"]["properties"]
    assert sockets["state"]["anyOf"] == [{"enum": list(State)}, {"pattern": "^state [0-9]+$"}]
    assert sockets["timer"]["anyOf"] == [{"enum": list(TIMERS)}, {"pattern": "^timer [0-9]+$"}]
    assert SCHEMA["properties"]["version"]["const"] == room.VERSION
    assert f"Version {room.VERSION}" in room.__doc__
    assert {SCHEMA["properties"][name]["maxItems"] for name in ("timeline", "segments", "sockets")} == {1000}


def places(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


def test_the_schema_refuses_what_is_damaged():
    whole = recorded(run(0, 40001, 8000, 0, 7, reported=True))
    timeline = Timeline(0)
    timeline.add(Finding(1, "it", 2))
    whole["findings"] = recorded(timeline)["findings"]
    for path in list(places(whole))[1:]:
        damaged = copy.deepcopy(whole)
        holder = damaged
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = [{"forged": 1.5}]
        assert list(complaints(damaged, SCHEMA)), path
        if isinstance(holder, dict) and path[0] != "counters":
            del holder[path[-1]]
            assert list(complaints(damaged, SCHEMA)), f"without {path}"
            holder["forged"] = random.random()
            assert list(complaints(damaged, SCHEMA)), f"with something forged beside {path}"
