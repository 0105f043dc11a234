"""The rules of other tools: each one below, at and above its threshold, and how they are scored."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.diagnose.snapshot import Snapshot
from harness.evidence.sockets import Socket, State, Timer
from harness.lessons import lessons
from tests import diagnosis, popular
from tests.diagnosis_plugin import Moment
from tests.popular_rules import RESETS, Rule, Source, in_state, per_second

SECONDS = 10
Looks = tuple[Snapshot, Snapshot]
RULES = {rule.name: rule for module in popular.ORIGINS.values() for rule in module.RULES}


def sockets(state: State, count: int, *, inode: int = 1) -> tuple[Socket, ...]:
    timer = Timer("none", 0.0, 0)
    return tuple(
        Socket(state, ("192.0.2.1", port), ("192.0.2.2", 80), 0, 0, timer, inode, 0)
        for port in range(40000, 40000 + count)
    )


def looks(before: Snapshot | None = None, **after: object) -> Looks:
    start = Snapshot(100.0, (), counters={})
    return before or start, dataclasses.replace(start, time_s=start.time_s + SECONDS, **after)  # type: ignore[arg-type]


def grows(counter: str) -> Callable[[int], Looks]:
    """A counter was 7,000, and grows within SECONDS."""
    return lambda by: looks(Snapshot(100.0, (), counters={counter: 7000}), counters={counter: 7000 + by})


def is_high(counter: str) -> Callable[[int], Looks]:
    """A counter does not grow."""
    return lambda height: looks(Snapshot(100.0, (), counters={counter: height}), counters={counter: height})


def of(number: str, sysctl: str, limits: str) -> Callable[[int], Looks]:
    return lambda used: looks(sockstat={number: used}, sysctls={sysctl: limits})


def tracked(entries: int) -> Looks:
    sysctls = {"net.netfilter.nf_conntrack_count": str(entries), "net.netfilter.nf_conntrack_max": "100"}
    return looks(sysctls=sysctls)


def are(state: State, **sysctls: str) -> Callable[[int], Looks]:
    named = {f"net.ipv4.{name}": value for name, value in sysctls.items()}
    return lambda count: looks(sockets=(*sockets(state, count), *sockets(State.LISTEN, 3)), sysctls=named)


def connected(count: int) -> Looks:
    return looks(counters={"TcpMaxConn": 100, "TcpCurrEstab": count})


def retransmitted(count: int) -> Looks:
    return looks(counters={"TcpOutSegs": 1000, "TcpRetransSegs": count})


def probing(count: int) -> Looks:
    timer = Timer("zero_window_probe", 0.2, 1)
    return looks(sockets=[dataclasses.replace(row, timer=timer) for row in sockets(State.ESTABLISHED, count)])


CASES: dict[str, tuple[Callable[[int], Looks], int, int, int]] = {
    "1m_tcp_accept_queue_overflows": (grows("TcpExtListenOverflows"), 9, 10, 11),
    "1m_tcp_accept_queue_drops": (grows("TcpExtListenDrops"), 9, 10, 11),
    "1m_tcp_syn_queue_drops": (grows("TcpExtTCPReqQFullDrop"), 9, 10, 11),
    "1m_tcp_syn_queue_cookies": (grows("TcpExtTCPReqQFullDoCookies"), 9, 10, 11),
    "10s_ip_tcp_resets_sent": (grows("TcpOutRsts"), 499, 500, 501),
    "10s_ip_tcp_resets_received": (grows("TcpAttemptFails"), 499, 500, 501),
    "tcp_orphans": (of("TCP orphan", "net.ipv4.tcp_max_orphans", "1000"), 249, 250, 251),
    "tcp_memory": (of("TCP mem", "net.ipv4.tcp_mem", "100 200 300"), 199, 200, 201),
    "tcp_connections": (connected, 79, 80, 81),
    "netfilter_conntrack_full": (tracked, 89, 90, 91),
    "network.listenoverflows": (grows("TcpExtListenOverflows"), 0, 0, 1),
    "network.tcpqfulldocookies": (grows("TcpExtTCPReqQFullDoCookies"), 0, 0, 1),
    "network.tcpqfulldrops": (grows("TcpExtTCPReqQFullDrop"), 0, 0, 1),
    "listenovf": (is_high("TcpExtListenOverflows"), 499, 500, 501),
    "ldrop": (is_high("TcpExtListenDrops"), 499, 500, 501),
    "rqfulld": (is_high("TcpExtTCPReqQFullDrop"), 499, 500, 501),
    "rqfullcook": (is_high("TcpExtTCPReqQFullDoCookies"), 499, 500, 501),
    "zwind": (is_high("TcpExtTCPZeroWindowDrop"), 499, 500, 501),
    "mem_pressure_prunec": (is_high("TcpExtPruneCalled"), 499, 500, 501),
    "backlogd": (is_high("TcpExtTCPBacklogDrop"), 499, 500, 501),
    "rcvqd": (is_high("TcpExtTCPRcvQDrop"), 499, 500, 501),
    "retrans_out_rate_gt_1pcent": (retransmitted, 9, 10, 11),
    "memusage_pct_high": (of("TCP mem", "net.ipv4.tcp_mem", "10 20 100"), 84, 85, 86),
    "TCPListenDrops": (grows("TcpExtListenDrops"), 0, 0, 1),
    "HighConnectionResets": (grows("TcpEstabResets"), 499, 500, 501),
    "HighTCPRetransmissions": (grows("TcpRetransSegs"), 999, 1000, 1001),
    "NodeHighNumberConntrackEntriesUsed": (tracked, 74, 75, 76),
    "Host conntrack limit": (tracked, 79, 80, 81),
    "tcpstate::close_wait": (are(State.CLOSE_WAIT), 99, 100, 101),
    "tcpstate::time_wait": (are(State.TIME_WAIT), 4999, 5000, 5001),
    "sockstat::listen_overflow": (grows("TcpExtListenOverflows"), 0, 1, 2),
    "check_ddos": (are(State.SYN_RECV), 49, 50, 51),
    "check_ephemeral_port_exhaustion": (are(State.ESTABLISHED, ip_local_port_range="40000 42100"), 51, 52, 53),
    "tcp_v4_send_reset, tcp_send_active_reset": (grows("TcpOutRsts"), 0, 0, 1),
    "tcp_retransmit_timer": (grows("TcpExtTCPTimeouts"), 0, 0, 1),
    "tcp_send_probe0": (probing, 0, 0, 1),
}
"""What each rule measures: a number below its threshold, at it, and above. (Used ports count towards free ones.)"""

RAISES_AT_ITS_THRESHOLD = {"tcpstate::close_wait", "tcpstate::time_wait", "sockstat::listen_overflow", "check_ddos"}


def test_every_rule_has_a_name_of_its_own_and_a_case() -> None:
    assert sum(len(module.RULES) for module in popular.ORIGINS.values()) == len(RULES)
    assert set(RULES) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_it_raises_an_alarm_above_its_threshold_and_not_below(name: str) -> None:
    looks_of, below, at, above = CASES[name]
    assert not RULES[name].raises(*looks_of(below))
    assert RULES[name].raises(*looks_of(at)) == (name in RAISES_AT_ITS_THRESHOLD)
    assert RULES[name].raises(*looks_of(above))


@pytest.mark.parametrize("name", CASES)
def test_without_what_it_reads_it_raises_none(name: str) -> None:
    assert not RULES[name].raises(*looks())
    assert not RULES[name].would_raise(*looks())


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.scales])
def test_at_any_size_one_of_what_it_counts_is_enough_and_none_is_not(name: str) -> None:
    looks_of, *_ = CASES[name]
    assert RULES[name].would_raise(*looks_of(1))
    assert not RULES[name].would_raise(*looks_of(0))


def test_a_rate_is_the_growth_divided_by_the_time_between_the_looks() -> None:
    before, after = grows("TcpOutRsts")(30)
    assert per_second("TcpOutRsts")(before, after) == 3
    assert per_second("TcpOutRsts")(before, dataclasses.replace(after, time_s=101.0)) == 30


def test_a_height_since_boot_raises_an_alarm_for_ever_although_nothing_happens() -> None:
    before, after = is_high("TcpExtListenOverflows")(501)
    assert RULES["listenovf"].raises(before, after)
    assert not RULES["network.listenoverflows"].raises(before, after)


def test_linux_has_no_limit_of_connections_so_netdatas_alarm_is_silent() -> None:
    assert not RULES["tcp_connections"].raises(*looks(counters={"TcpMaxConn": -1, "TcpCurrEstab": 1_000_000}))


def test_free_ports_are_counted_without_time_waits_and_without_destinations() -> None:
    rule = RULES["check_ephemeral_port_exhaustion"]
    sysctls = {"net.ipv4.ip_local_port_range": "40000 42100"}
    assert not rule.raises(*looks(sockets=sockets(State.TIME_WAIT, 2100), sysctls=sysctls))
    elsewhere = tuple(
        dataclasses.replace(row, remote=(f"192.0.2.{number}", 80))
        for number, row in enumerate(sockets(State.ESTABLISHED, 53))
    )
    assert rule.raises(*looks(sockets=elsewhere, sysctls=sysctls))


@pytest.mark.parametrize("name", RULES)
def test_what_it_claims_are_lessons_and_its_source_is_cited(name: str) -> None:
    rule = RULES[name]
    assert all(lessons.find(lesson) for lesson in rule.claims)
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", rule.source.date)
    assert rule.source.path
    assert re.fullmatch(r"[0-9a-f]{12}", rule.source.commit) or "/" not in rule.source.repository
    assert f"{rule.threshold:,g}" in rule.condition


@pytest.mark.parametrize("pattern", sorted({pattern for rule in RULES.values() for pattern in rule.right_in}))
def test_the_stories_in_which_an_alarm_is_right_exist(pattern: str) -> None:
    scenario, _, test = pattern.partition(".")
    source = lessons.load(scenario).source()
    assert re.search(rf"^def {test.replace('*', '.*')}", source, re.M)


# the score ------------------------------------------------------------------------------------------------------------

FAULT = "test_a_linux_client_sends_nothing_and_close_wait_stays"
PLAYS, ALSO, MISSED = (f"close_wait_without_owner.{name}" for name in (FAULT, "test_also", "test_missed"))
CONTROL, OTHER = "close_wait_without_owner.test_control_a_thread", "self_connect.test_x"
CLAIMING = Rule(
    "rule", Source("a/b", "0" * 12, "2026-01-01", "path"), "meaning", ("close_wait_without_owner",),
    in_state(State.CLOSE_WAIT), 2, "sockets",
)  # fmt: skip


def story(close_waits: int) -> list[Moment]:
    taken = Snapshot(1.0, sockets(State.CLOSE_WAIT, close_waits))
    return [Moment("begin", Snapshot(0.0, ())), Moment("end", taken)]


@pytest.fixture
def truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of truths, with a copy of its own."""
    monkeypatch.setattr(diagnosis, "DIAGNOSED", tmp_path)
    return tmp_path


def test_an_alarm_in_a_control_or_in_another_fault_is_false(truth: Path) -> None:
    (truth / "owners.toml").write_text(
        f'[close_wait_without_owner]\nfault = ["{PLAYS}"]\n'
        f'also = [{{ stories = ["{ALSO}"], because = "so" }}]\n'
        f'missed = [{{ stories = ["{MISSED}"], because = "so" }}]\n'
    )
    stories = {PLAYS: story(3), ALSO: story(3), MISSED: story(1), CONTROL: story(1), OTHER: story(3)}
    scored = popular.score(CLAIMING, stories)
    assert scored.plays == {PLAYS, MISSED}
    assert scored.alarms == {PLAYS, ALSO, OTHER}
    assert scored.false(scored.alarms) == {OTHER}
    assert scored.any_size == set(stories)
    assert scored.false(scored.any_size) == {CONTROL, OTHER}
    assert popular.conclusion(scored) == "sees all of the stories with its faults, but 2 of 5 alarms are false"


def test_an_alarm_in_a_story_that_is_named_beside_the_rule_is_right(truth: Path) -> None:
    del truth
    rule = dataclasses.replace(CLAIMING, right_in=("self_connect.test_*",))
    scored = popular.score(rule, {OTHER: story(3), CONTROL: story(3)})
    assert scored.false(scored.alarms) == {CONTROL}
    assert scored.plays == set()


def test_the_score_of_a_rule_that_depends_on_timers_has_no_numbers(truth: Path) -> None:
    del truth
    rows = []
    for others in (1, 2, 3):
        stories = {PLAYS: story(3)} | {f"self_connect.test_{number}": story(3) for number in range(others)}
        rows.append(popular._row(popular.score(dataclasses.replace(CLAIMING, timed=True), stories)))
    assert "sees all of its faults, but some of its alarms are false; the numbers depend on timers" in rows[0]
    assert "sees all of its faults, but most of its alarms are false; the numbers depend on timers" in rows[1]
    assert rows[1] == rows[2]


def test_without_a_truth_the_story_of_the_lesson_counts_and_its_variations_are_left_out(truth: Path) -> None:
    del truth
    scored = popular.score(CLAIMING, {PLAYS: story(3), ALSO: story(3), CONTROL: story(3)})
    assert (scored.plays, scored.false(scored.alarms)) == ({PLAYS}, {CONTROL})


@pytest.mark.parametrize(
    ("close_waits", "words"),
    [({}, "sees nothing, at any size"),
     ({PLAYS: 3}, "sees all of the stories with its faults, and nothing else"),
     ({PLAYS: 1}, "sees all of the stories with its faults, and nothing else; its own threshold is too high for a lab"),
     ({OTHER: 3}, "sees none of its faults; its only alarm is false"),
     ({OTHER: 3, CONTROL: 1}, "sees none of its faults; all of its 2 alarms are false")],
)  # fmt: skip
def test_the_conclusion_is_drawn_from_the_score(truth: Path, close_waits: dict[str, int], words: str) -> None:
    del truth
    stories = {name: story(close_waits.get(name, 0)) for name in (PLAYS, CONTROL, OTHER)}
    assert popular.conclusion(popular.score(CLAIMING, stories)) == words


def test_a_rule_whose_fault_no_lesson_has_is_not_blamed_for_missing_it(truth: Path) -> None:
    del truth
    rule = dataclasses.replace(CLAIMING, claims=())
    assert (
        popular.conclusion(popular.score(rule, {OTHER: story(0)})) == "no lesson has its fault, and it raises no alarm"
    )
    assert (
        popular.conclusion(popular.score(rule, {OTHER: story(3)})) == "no lesson has its fault, and it raises 1 alarm"
    )


def test_a_story_is_judged_as_if_it_were_alone_on_its_machine() -> None:
    (orphan, other) = sockets(State.FIN_WAIT2, 2, inode=0)
    ended = dataclasses.replace(other, timer=Timer("time_wait", 1.0, 0))
    orphans = (*sockets(State.FIN_WAIT1, 1, inode=0), orphan, ended, *sockets(State.FIN_WAIT2, 1))
    taken = Snapshot(0.1, orphans, sockstat={"TCP orphan": 70, "TCP tw": 4})
    ((before, after), *_) = popular.pairs(OTHER, [Moment("begin", Snapshot(0.0, ())), Moment("end", taken)])
    assert after.sockstat == {"TCP orphan": 2, "TCP tw": 4}
    assert after.time_s - before.time_s == pytest.approx(popular.INTERVAL_S)


def test_the_table_does_not_depend_on_times_nor_on_the_order_of_stories() -> None:
    stories = {PLAYS: story(3), CONTROL: story(120), OTHER: story(0)}
    late = {
        name: [
            dataclasses.replace(each, snapshot=dataclasses.replace(each.snapshot, time_s=9.0)) for each in stories[name]
        ]
        for name in reversed(stories)
    }
    text = popular.table(stories)
    assert popular.table(late) == text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert sorted(row[0].strip("| `") for row in rows) == sorted(
        name for name, rule in RULES.items() if not rule.unplayed
    )
    assert {len(row) for row in rows} == {8}


def test_attempt_fails_counts_connections_that_fail_and_not_resets() -> None:
    """netdata reads it as resets received. tcp_done() and tcp_check_req() count it, both before ESTABLISHED."""
    refused = "self_connect.test_control_with_a_range_apart_the_client_is_refused"
    timed_out = "waits_as_configured.test_connect_gives_up_after_as_many_syns_as_configured"
    reset = "close_with_unread_data.test_unread_data_turns_close_into_a_reset"
    stories = diagnosis.played("-k", " or ".join(name.partition(".")[2] for name in (refused, timed_out, reset)))
    text = popular.attempt_fails(stories)
    assert f"without any reset in `{timed_out}`." in text
    assert "In 2 stories" in text
    assert "TcpAttemptFails grows in 1 of them, and TcpEstabResets in" in text


def test_the_lessons_of_resets_are_about_resets() -> None:
    for name in RESETS:
        texts = lessons.load(name).texts
        assert re.search(r"reset|RST|ECONNRESET", f"{texts.symptom} {texts.claim} {texts.cause}"), name
