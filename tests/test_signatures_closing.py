"""The signatures of scenarios/closing/ and scenarios/data/, in snapshots that no story has."""

import dataclasses

import pytest

from harness.diagnose.pasted import looks
from harness.diagnose.signatures import SIGNATURES, closing, data
from harness.diagnose.snapshot import Snapshot
from harness.evidence.sockets import Socket, State, Timer
from harness.evidence.tcp_info import Details

SERVER, CLIENT = ("192.0.2.2", 80), ("192.0.2.1", 40001)
NONE = Timer("none", 0.0, 0)
SENT = Timer("retransmit", 0.2, 0)
PERSIST = Timer("zero_window_probe", 0.4, 0)
ALL = [*closing.SIGNATURES, *data.SIGNATURES]


def row(state, timer=NONE, *, local=SERVER, remote=CLIENT, send_q=0, details=None):
    return Socket(State(state), local, remote, 0, send_q, timer, 1, 0, details)


def look(*rows, **counters):
    return Snapshot(0.0, rows, counters=counters)


def grown(signature, before, after):
    """What it finds if these counters grow, on a machine that has no socket."""
    return signature(look(**before), look(**after))


def in_both(signature, *rows):
    """What it finds in two looks at the same rows."""
    return signature(look(*rows), look(*rows))


def retransmitted(times):
    return dataclasses.replace(SENT, retransmits=times)


@pytest.mark.parametrize(
    ("signature", "counter", "certainty"),
    [
        (closing.close_with_unread_data, "TcpExtTCPAbortOnClose", "found"),
        (data.last_segment_lost, "TcpExtTCPLossProbeRecovery", "found"),
        (closing.keep_alive_race, "TcpExtTCPAbortOnData", "possible"),
        (closing.linger_zero_truncates, "TcpExtTCPAbortOnData", "possible"),
    ],
)
class TestACounter:
    def test_counts_if_it_grows_however_high_it_is(self, signature, counter, certainty):
        finding = grown(signature, {counter: 7}, {counter: 8})
        assert finding.certainty == certainty
        assert [(each.counter, each.text) for each in finding.evidence] == [(counter, f"{counter} +1")]
        assert grown(signature, {counter: 7}, {counter: 7}) is None

    def test_that_was_reset_has_not_grown(self, signature, counter, certainty):
        assert grown(signature, {counter: 7}, {counter: 1}) is None

    def test_that_a_snapshot_lacks_has_not_grown(self, signature, counter, certainty):
        assert grown(signature, {}, {counter: 7}) is None
        assert grown(signature, {counter: 7}, {}) is None


def test_without_the_reset_of_an_open_connection_it_was_not_so_linger():
    before, after = {"TcpExtTCPAbortOnData": 0, "TcpEstabResets": 5}, {"TcpExtTCPAbortOnData": 2, "TcpEstabResets": 5}
    assert grown(closing.linger_zero_truncates, before, after) is None
    assert grown(closing.keep_alive_race, before, after).certainty == "possible"
    assert grown(closing.linger_zero_truncates, before, after | {"TcpEstabResets": 6}).certainty == "possible"


@pytest.mark.parametrize(
    ("timeouts", "of_syns", "last_ones", "possible"),
    [(1, 0, 0, True), (3, 1, 1, True), (2, 1, 1, False), (2, 2, 0, False), (1, 2, 0, False), (0, 0, 0, False)],
)
def test_only_a_timeout_after_which_a_connection_goes_on_may_be_a_lost_tail(timeouts, of_syns, last_ones, possible):
    before = dict.fromkeys(("TcpExtTCPTimeouts", "TcpExtTCPSynRetrans", "TcpExtTCPAbortOnTimeout"), 10)
    after = {name: 10 + by for name, by in zip(before, (timeouts, of_syns, last_ones), strict=True)}
    finding = grown(data.last_segment_lost, before, after)
    assert (finding is not None) is possible
    assert not finding or finding.certainty == "possible"


@pytest.mark.parametrize("known", ["TcpExtTCPSynRetrans", "TcpExtTCPAbortOnTimeout"])
def test_timeouts_mean_nothing_if_it_is_not_known_which_they_are(known):
    before, after = {"TcpExtTCPTimeouts": 1, known: 0}, {"TcpExtTCPTimeouts": 9, known: 0}
    assert grown(data.last_segment_lost, before, after) is None


@pytest.mark.parametrize(
    ("repaired", "needless", "certainty"), [(2, 1, "found"), (1, 1, "possible"), (1, 9, "possible")]
)
def test_probes_that_were_mostly_needless_are_not_sure(repaired, needless, certainty):
    before = {"TcpExtTCPLossProbeRecovery": 0, "TcpExtTCPDSACKRecv": 0}
    finding = grown(
        data.last_segment_lost, before, {"TcpExtTCPLossProbeRecovery": repaired, "TcpExtTCPDSACKRecv": needless}
    )
    assert finding.certainty == certainty
    assert finding.evidence[0].counter == "TcpExtTCPLossProbeRecovery"
    assert grown(data.last_segment_lost, before, before | {"TcpExtTCPDSACKRecv": needless}) is None


@pytest.mark.parametrize(("signature", "state"), [(closing.fin_wait1_made_visible, "FIN_WAIT1")])
class TestAFinWithoutAnAck:
    def test_has_been_repeated_at_least_once(self, signature, state):
        assert in_both(signature, row(state, retransmitted(0), send_q=1)) is None
        finding = in_both(signature, row(state, retransmitted(1), send_q=1))
        assert finding.certainty == "found"
        assert finding.evidence[0].row.state == state

    def test_is_not_waited_for_with_a_timer_that_the_kernel_may_set_for_other_reasons(self, signature, state):
        for name in ("none", "keepalive", "delayed_ack"):
            assert in_both(signature, row(state, Timer(name, 1.0, 3), send_q=1)) is None

    def test_waits_behind_a_window_that_nothing_passes(self, signature, state):
        then, now = (row(state, PERSIST, send_q=size) for size in (2000, 1000))
        assert signature(look(then), look(now)) is None
        assert signature(look(now), look(now)).certainty == "found"
        opened = row(state, retransmitted(0), send_q=1000)
        assert signature(look(opened), look(now)) is None
        assert signature(look(now), look(opened)) is None

    def test_lasts(self, signature, state):
        stays = row(state, retransmitted(3), send_q=1)
        assert signature(look(), look(stays)) is None
        assert signature(look(stays), look()) is None
        assert signature(look(row("ESTABLISHED", retransmitted(3))), look(stays)) is None

    def test_in_another_state_is_another_fault(self, signature, state):
        for other in set(State) - {State(state)}:
            assert in_both(signature, row(other, retransmitted(3), send_q=1)) is None

    def test_is_found_in_ipv6(self, signature, state):
        finding = in_both(signature, row(state, PERSIST, local=("::1", 80), remote=("2001:db8::1", 4), send_q=1))
        assert finding.evidence[0].text.startswith(f"[::1]:80 {state} [2001:db8::1]:4: ")


class TestAReaderThatStops:
    INFO = Details(bytes_acked=5000, backoff=2, notsent=1000, snd_wnd=0)

    def blocked(self, state="ESTABLISHED", send_q=1000, timer=PERSIST, **values):
        return row(state, timer, send_q=send_q, details=self.INFO._replace(**values))

    @pytest.mark.parametrize("state", ["ESTABLISHED", "CLOSE_WAIT"])
    def test_has_taken_nothing_between_the_looks(self, state):
        finding = in_both(data.reader_stops, self.blocked(state))
        assert finding.certainty == "found"
        assert "Send-Q 1000, 2 probes since the window closed" in finding.evidence[0].text

    def test_that_takes_a_little_is_slow(self):
        """What it takes, the program may write again, so that Send-Q is as before."""
        assert data.reader_stops(look(self.blocked()), look(self.blocked(bytes_acked=5001))) is None

    def test_is_not_a_cork_that_holds_what_would_fit(self):
        """TCP_CORK runs the same timer, but the peer's window has room for all of Send-Q."""
        assert in_both(data.reader_stops, self.blocked(snd_wnd=1000)) is None
        assert in_both(data.reader_stops, self.blocked(snd_wnd=999)).certainty == "found"
        assert in_both(data.reader_stops, self.blocked(snd_wnd=None)).certainty == "found"

    def test_whose_own_queue_shrinks_is_slow(self):
        """Its kernel opens the window only once there is room for a segment, and a sixteenth of the buffer."""
        reader = row("ESTABLISHED", local=CLIENT, remote=SERVER)
        ends = [(self.blocked(), dataclasses.replace(reader, recv_q=recv_q)) for recv_q in (9000, 9000, 8000)]
        assert data.reader_stops(look(*ends[0]), look(*ends[1])).certainty == "found"
        assert data.reader_stops(look(*ends[1]), look(*ends[2])) is None

    def test_had_its_window_shut_in_both_looks(self):
        flowing = self.blocked(timer=retransmitted(0))
        assert data.reader_stops(look(flowing), look(self.blocked())) is None
        assert data.reader_stops(look(self.blocked()), look(flowing)) is None

    def test_may_be_slow_if_only_the_queue_is_known(self):
        blocked = dataclasses.replace(self.blocked(), details=None)
        finding = in_both(data.reader_stops, blocked)
        assert (finding.certainty, "bytes_acked" in finding.missing) == ("possible", True)
        assert data.reader_stops(look(blocked), look(dataclasses.replace(blocked, send_q=999))) is None

    def test_is_not_one_that_this_end_no_longer_writes_to(self):
        assert in_both(data.reader_stops, self.blocked("FIN_WAIT1")) is None


class TestWhatNagleHolds:
    INFO = Details(mss=1000, unacked=1, notsent=5, cwnd=10, snd_wnd=5000)

    def held(self, state="ESTABLISHED", send_q=9, timer=SENT, **values):
        return row(state, timer, send_q=send_q, details=self.INFO._replace(**values))

    def test_is_less_than_a_segment_behind_one_without_an_ack(self):
        finding = in_both(data.nagle_meets_delayed_ack, self.held())
        assert (finding.certainty, "TCP_CORK" in finding.missing) == ("possible", True)
        assert in_both(data.nagle_meets_delayed_ack, self.held(notsent=999)) is not None

    @pytest.mark.parametrize(
        ("what_holds_it_instead", "values"),
        [
            ("nothing is held", {"notsent": 0}),
            ("a whole segment", {"notsent": 1000}),
            ("nothing is in flight", {"unacked": 0}),
            ("the congestion window", {"unacked": 10}),
            ("the peer's window", {"snd_wnd": 8}),
            ("an older kernel does not show the window", {"snd_wnd": None}),
            ("a loss", {"timer": retransmitted(1)}),
        ],
    )
    def test_is_not_what_something_else_holds(self, what_holds_it_instead, values):
        assert in_both(data.nagle_meets_delayed_ack, self.held(**values)) is None
        assert data.nagle_meets_delayed_ack(look(self.held(**values)), look(self.held())) is None

    def test_goes_out_with_fin(self):
        assert in_both(data.nagle_meets_delayed_ack, self.held("FIN_WAIT1")) is None


def test_a_pasted_table_has_no_details_and_breaks_nothing(tmp_path):
    text = tmp_path / "ss.txt"
    text.write_text(
        "State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"
        "ESTAB 0 9 192.0.2.1:40001 192.0.2.2:80 timer:(persist,1sec,0)\n"
        "ESTAB 0 9 [::1]:40001 [::1]:80 timer:(on,1sec,4)\n"
        "FIN-WAIT-1 0 9 192.0.2.1:40002 192.0.2.2:80 timer:(on,1sec,4)\n"
        "CLOSING 0 1 192.0.2.1:40003 192.0.2.2:80 timer:(persist,1sec,0)\n"
    )
    _, pasted = looks.take([str(text)])
    assert [row.details for row in pasted.sockets] == [None] * 4
    found = {each.__name__: finding.certainty for each in ALL if (finding := each(pasted, pasted))}
    assert found == {"fin_wait1_made_visible": "found", "reader_stops": "possible"}


def test_all_of_them_are_in_the_table():
    assert all(SIGNATURES[each.__name__] is each for each in ALL)
