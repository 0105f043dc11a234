"""How long a state lasts: what a look sees, what its timer says where the next look is late, and what nobody saw."""

import socket
import time

import pytest

from harness import predict
from harness.errors import ExpectationFailed, Inconclusive
from harness.predict import Interval
from harness.timeline import Duration, Finding

IT_LASTS = predict.fin_wait2(1, predict.tick_s())


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
    """Expects an orphan's FIN_WAIT2, which lasts IT_LASTS, to last for an interval."""
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
    """The second look comes when the state is gone, and the time for its end as well."""
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


def test_a_late_look_is_no_late_end(expect_fin_wait2, second_look_late) -> None:
    assert expect_fin_wait2(IT_LASTS) >= 1.0, "its timer says when it ended"
    assert len(second_look_late) == 2


def test_an_end_that_nobody_saw_and_no_timer_told_is_inconclusive(expect_fin_wait2, second_look_late) -> None:
    with pytest.raises(Inconclusive, match="nobody looked between"):
        expect_fin_wait2(Interval(1.5, 1.6))
