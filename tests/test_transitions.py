"""State changes: the kernel reports the same as the segments imply.

Both ends are in one process, and the second close follows the first before a delayed ACK is due, so that no change
depends on a timer. On one machine perf silently omitted the changes in the softirq of one idle CPU, which sends delayed
ACKs; ftrace reported them all. (A wrong recursion count would explain it, but this is not proved: kernel/events/core.c,
perf_swevent_get_recursion_context.)
"""

import contextlib
import errno
import os
import resource
import socket
import struct
import time

import pytest

from harness.evidence import transitions
from harness.evidence.transitions import Transition
from harness.inside.channel import Channel
from harness.kernel import processors
from harness.lab.nursery import Nursery

OPENED = {"client": ["SYN_SENT", "ESTABLISHED"], "server": ["SYN_RECV", "ESTABLISHED"]}
FIRST_TO_CLOSE, SECOND_TO_CLOSE = ["FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"], ["CLOSE_WAIT", "LAST_ACK", "CLOSED"]
WITH_FIN, WITH_RST = struct.pack("=ii", 0, 0), struct.pack("=ii", 1, 0)  # struct linger


def be_both_ends(address, source, linger, order):
    listener = socket.create_server(address)
    ends = {"client": socket.create_connection(address, source_address=source), "server": listener.accept()[0]}
    yield "connected"
    for name in order:
        ends[name].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        ends[name].close()
    yield "closed"


def call_in_vain(address, source):
    try:
        socket.create_connection(address, source_address=source)
    except ConnectionRefusedError:
        yield "refused"


def connect(lab, linger, order):
    actor = lab.start(be_both_ends, lab.server_address, lab.client_address(40001), linger, order)
    actor.run_to("connected")
    return actor


def expect_paths(lab, **after_the_handshake):
    """Both sources show this. The change to a minisock (TIME_WAIT) is reported as CLOSED."""
    wanted = {end: OPENED[end] + states for end, states in after_the_handshake.items()}
    assert {end: lab.path(end) for end in wanted} == wanted
    told = {end: ["CLOSED" if state == "TIME_WAIT" else state for state in states] for end, states in wanted.items()}
    assert {end: reported(lab, end) for end in wanted} == told


def reported(lab, end):
    """The states that one end reached, as the timeline shows them, without those of listeners (no remote port).

    For root, the kernel reports them (tracepoint sock:inet_sock_set_state); for other users they are inferred.
    """
    local = lab.client_address(40001) if end == "client" else lab.server_address
    changes = [each for each in lab.timeline if isinstance(each, Transition)]
    assert {each.inferred for each in changes} == {lab._watch._events is None}
    assert all(lab.timeline.start_ns < each.time_ns < time.monotonic_ns() for each in changes)
    ours = [each.new for each in changes if each.local == local and each.remote[1]]
    return ["CLOSED" if state == "TIME_WAIT" else state for state in ours]


def test_a_handshake_is_reported_as_the_segments_imply(lab):
    connect(lab, WITH_FIN, [])
    expect_paths(lab, client=[], server=[])


@pytest.mark.parametrize(("first", "second"), [("client", "server"), ("server", "client")])
def test_a_close_is_reported_as_the_segments_imply(lab, first, second):
    connect(lab, WITH_FIN, [first, second]).run_to("closed")
    expect_paths(lab, **{first: FIRST_TO_CLOSE, second: SECOND_TO_CLOSE})


def test_a_reset_is_reported_as_the_segments_imply(lab):
    connect(lab, WITH_RST, ["client"]).run_to("closed")
    expect_paths(lab, client=["CLOSED"], server=["CLOSED"])


def test_a_refused_connection_was_in_syn_sent(lab):
    lab.start(call_in_vain, lab.server_address, lab.client_address(40001)).run_to("refused")
    assert (lab.path("client"), lab.path("server")) == (["SYN_SENT", "CLOSED"], [])
    assert reported(lab, "client") == ["SYN_SENT", "CLOSED"]


@contextlib.contextmanager
def refusing_address():
    """An address of the host that refuses connections: its port is bound, so that no other process can listen on it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()


def drown():
    """More changes of other sockets on each CPU than its buffer has room for, which is 2,600."""
    cpus = os.sched_getaffinity(0)
    with refusing_address() as address:
        for cpu in cpus:
            os.sched_setaffinity(0, {cpu})
            for _ in range(2000):
                with socket.socket() as stranger:
                    stranger.connect_ex(address)
    os.sched_setaffinity(0, cpus)


def test_other_connections_do_not_crowd_out_any_event(lab):
    actor = connect(lab, WITH_RST, ["client"])
    drown()
    actor.run_to("closed")
    expect_paths(lab, client=["CLOSED"], server=["CLOSED"])


def test_what_they_did_before_a_lab_began_does_not_count():
    with contextlib.closing(Nursery([])) as nursery:
        drown()
        if events := nursery.events:
            with refusing_address() as (host, port), socket.socket() as ours:
                events.follow(port)
                ours.connect_ex((host, port))
            assert [change.new for change in events.read(port)] == ["SYN_SENT", "CLOSED"]
            assert events.lost == 0
        else:
            assert nursery.isolation != "root"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root opens the tracepoint: the states of others are inferred")
@pytest.mark.parametrize("count", [65, 254])
def test_all_events_of_many_processors_are_read(count):
    online = processors.online()
    made_up = [online[number % len(online)] for number in range(count)]
    fds = transitions.open_events(made_up)
    ours, theirs = Channel.pair()
    ours.send("events", tuple(fds))
    _, received = theirs.receive()
    with contextlib.closing(transitions.Events(received)) as events:
        with refusing_address() as (host, port), socket.socket() as stranger:
            events.follow(port)
            stranger.connect_ex((host, port))
        heard = [change.new for change in events.read(port)]
    assert len(heard) >= count // len(online) * 2  # each buffer of the processor on which they happened has both
    assert set(heard) == {"SYN_SENT", "CLOSED"}
    for fd in fds:
        os.close(fd)
    for end in (ours, theirs):
        end.close()


def test_buffers_shrink_with_processors_and_are_powers_of_two():
    assert [transitions.pages(count) for count in (1, 2, 8, 9, 65, 254)] == [64, 64, 64, 32, 4, 4]


def test_with_too_many_processors_states_are_inferred():
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        transitions.open_events(range(soft))
