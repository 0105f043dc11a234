"""How long a state lasts: from looks, from its timer if the next look is late, and an end that no look shows."""

import math
import re
import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ExpectationFailed, Inconclusive
from harness.evidence.sockets import Socket, State, Timer
from harness.lab import observer
from harness.predict import timers
from harness.predict.timers import Interval
from harness.story.timeline import Duration, Finding, Moment, Timeline

IT_LASTS = timers.fin_wait2(1, timers.tick_s())


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.close()


def call(address):
    connection = socket.create_connection(address)
    yield "connected"
    connection.close()


@pytest.fixture
def expect_fin_wait2(lab):
    """Expect an orphan's FIN_WAIT2, which lasts IT_LASTS, to last for an interval."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 1)
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address)
    connected = client.run_to("connected")
    server.run_to("accepted")
    client.finish()
    lab.expect_states(client="FIN_WAIT2")

    def expect(interval):
        closed = lab.timeline.find("call: finished")
        lab.expect_lifetime("client", "FIN_WAIT2", interval, since=connected, begun_by=closed)
        [finding] = [each for each in lab.timeline if isinstance(each, Finding)]
        assert isinstance(finding.value, Duration)
        return finding.value.seconds

    return expect


@pytest.fixture
def second_look_late(lab):
    """The second look comes when the state is gone, and the time for its end has passed, too."""
    look, looks = lab.socket, []

    def look_late(end, port):
        looks.append(end)
        if len(looks) == 2:
            over = time.monotonic() + IT_LASTS.at_most_s + 1.0
            lab.expect_table(LISTEN=1, CLOSE_WAIT=1)
            while time.monotonic() < over:
                lab.sockets()
        return look(end, port)

    lab.allowance_s = 0.0
    lab.socket = look_late
    return looks


def test_it_ends_when_it_should(expect_fin_wait2) -> None:
    assert expect_fin_wait2(IT_LASTS) >= 1.0


def test_too_early_and_too_late_are_failures(expect_fin_wait2) -> None:
    with pytest.raises(ExpectationFailed, match=r"FIN_WAIT2 ends\n +expected: +after 0.100 to"):
        expect_fin_wait2(Interval(0.1, 0.2))
    with pytest.raises(ExpectationFailed, match=r"last seen: CLOSED"):
        expect_fin_wait2(Interval(9.0, 9.1))


def test_a_late_look_is_not_a_late_end(expect_fin_wait2, second_look_late) -> None:
    assert expect_fin_wait2(IT_LASTS) >= 1.0, "its timer shows when it ended"
    assert len(second_look_late) == 2


def test_an_end_that_no_look_and_no_timer_shows_is_inconclusive(expect_fin_wait2, second_look_late) -> None:
    with pytest.raises(Inconclusive, match="no look came between"):
        expect_fin_wait2(Interval(1.5, 1.6))


class Played:
    """A state with made-up looks, and a clock that only waits and looks advance: exact, and without real waiting."""

    LOOK_S = 0.001

    def __init__(self, monkeypatch, lab, timers_s, ends_s, timer="time_wait"):
        self.now_s = 1000.0
        self.began_s = self.now_s
        self.looks_s = []
        self.expiries_s = [sum(timers_s[: n + 1]) for n in range(len(timers_s))]
        self.ends_s = ends_s
        self.timer = timer
        monkeypatch.setattr(observer.time, "monotonic_ns", lambda: round(self.now_s * 1e9))
        monkeypatch.setattr(lab, "wait_for", self.wait_for)
        monkeypatch.setattr(lab, "socket", self.socket)
        self.lab = lab
        lab.max_wait_s = math.inf

    def wait_for(self, within_s):
        self.now_s += within_s

    def socket(self, end, port):
        self.now_s += self.LOOK_S
        passed_s = self.now_s - self.began_s
        self.looks_s.append(passed_s)
        if passed_s >= self.ends_s:
            return None
        left_s = next((expiry - passed_s for expiry in self.expiries_s if expiry > passed_s), 0.0)
        address = self.lab.client_address(40001)
        timer = Timer(self.timer, round(max(0.0, left_s), 3), 0)
        return Socket(State.SYN_RECV, address, self.lab.server_address, 0, 0, timer, 0, 0)

    def expect(self, interval):
        since = Moment(0, round(self.began_s * 1e9), "began")
        self.lab.expect_lifetime("client", "SYN_RECV", interval, since=since)
        [finding] = [each for each in self.lab.timeline if isinstance(each, Finding)]
        return finding.value.seconds


SYN_RECV_S = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]


@pytest.fixture
def lasting(lab, monkeypatch):
    return lambda *arguments, **named: Played(monkeypatch, lab, *arguments, **named)


@pytest.mark.parametrize("late_s", [0.0, 0.004, 0.3, 2.0])
def test_a_minute_of_syn_recv_takes_few_looks_to_time_its_end(lasting, late_s) -> None:
    interval = timers.syn_recv(5, 120.0, 0.004)
    played = lasting(SYN_RECV_S, ends_s=63.0 + late_s)
    assert 63.0 + late_s <= played.expect(interval) <= 63.0 + late_s + 0.03
    assert len(played.looks_s) < 700


@pytest.mark.parametrize("ends_s", [0.5, 3.1, 20.0, 40.0, 62.0, 62.9, 62.99])
def test_any_early_end_is_a_failure(lasting, ends_s) -> None:
    played = lasting(SYN_RECV_S, ends_s=ends_s)
    with pytest.raises(ExpectationFailed, match="last seen: CLOSED") as failed:
        played.expect(timers.syn_recv(5, 120.0, 0.004))
    dated_s = float(re.search(r"for: +([0-9.]+) s", str(failed.value))[1])
    assert ends_s <= dated_s <= ends_s + 0.3
    assert dated_s < 63.0


@given(st.floats(0.0, 8.0) | st.floats(4.9, 5.6), st.lists(st.floats(0.05, 3.0), max_size=4))
@settings(derandomize=True, max_examples=200, suppress_health_check=list(HealthCheck))
def test_no_early_end_passes_whatever_the_row_s_timers_say(lab, ends_s, timers_s) -> None:
    """An end more than 20 ms too early never passes, and a correct one always does, if no look is late."""
    with pytest.MonkeyPatch.context() as patched:
        lab.timeline = Timeline(0)
        lab.record = lab.timeline.add
        played = Played(patched, lab, timers_s, ends_s)
        try:
            took_s = played.expect(Interval(5.0, 5.5))
        except (ExpectationFailed, Inconclusive):
            took_s = None
    if 5.0 <= ends_s <= 5.5:
        assert took_s is not None
        assert ends_s <= took_s <= ends_s + 0.03
    if ends_s < 5.0 - 0.02 or ends_s > 5.5 + lab.allowance_s + 0.03:
        assert took_s is None
