"""The stories about timers hold under any values, and their findings change with each key that they observe."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.lessons import lessons
from tests.playing import run_pytest, scenario_file

LESSONS = ("waits_as_configured", "orphans_as_configured")
NOT_MEASURED = None
CONNECT, SYN_RECV = "connect() without an answer", "the server's SYN_RECV lasts"
DATA, USER_TIMEOUT = "data without an ACK", "data without an ACK, TCP_USER_TIMEOUT"
IDLE, KEEPALIVE, PROBES = "idle until keepalive's first probe", "keepalive without an answer", "keepalive's probes"
FIN_WAIT1, FIN_WAIT2 = "the client's FIN_WAIT1 lasts", "the client's FIN_WAIT2 lasts"
TIME_WAIT = "TIME_WAIT is set for"

RUNS = [
    # The values of each key that the stories observe, and seconds, as its repetitions say them: at an RTO of 0.2 s,
    # what is to be acknowledged takes a probe, and that RTO twice, until a timeout repeats it.
    {
        "tcp_rto_max_ms": 120_000,
        "tcp_syn_retries": 1, "tcp_syn_linear_timeouts": 0, CONNECT: 1 + 2,
        "tcp_synack_retries": 0, SYN_RECV: 1,
        "tcp_retries2": 0, DATA: 0.4 + 0.4, USER_TIMEOUT: 0.4 + 0.5,
        "tcp_keepalive_time": 1, "tcp_keepalive_intvl": 1, "tcp_keepalive_probes": 0, IDLE: "1 s", KEEPALIVE: 1,
        PROBES: 0,
        "tcp_orphan_retries": 1, FIN_WAIT1: 0.4 + 0.4 + 0.8,
        "tcp_fin_timeout": 0, FIN_WAIT2: 3.5 * 0.2, TIME_WAIT: "60 s",
    },
    {
        "tcp_rto_max_ms": 120_000,
        "tcp_syn_retries": 1, "tcp_syn_linear_timeouts": 1, CONNECT: 1 + 1 + 2,
        "tcp_synack_retries": 1, SYN_RECV: 1 + 2,
        "tcp_retries2": 1, DATA: 0.4 + 0.4 + 0.8, USER_TIMEOUT: 0.4 + 0.5,
        "tcp_keepalive_time": 0, "tcp_keepalive_intvl": 0, "tcp_keepalive_probes": 2, IDLE: NOT_MEASURED, KEEPALIVE: 0,
        PROBES: 2,
        "tcp_orphan_retries": 0, FIN_WAIT1: NOT_MEASURED,  # 107 s
        "tcp_fin_timeout": 1, FIN_WAIT2: 1, TIME_WAIT: "60 s",
    },
    {
        "tcp_rto_max_ms": 1500,
        "tcp_syn_retries": 2, "tcp_syn_linear_timeouts": 2, CONNECT: 1 + 1 + 1 + 1.5,
        "tcp_synack_retries": 255, SYN_RECV: NOT_MEASURED,
        "tcp_retries2": 2, DATA: 0.4 + 0.4 + 0.8 + 1.5, USER_TIMEOUT: 0.4 + 0.5,
        "tcp_keepalive_time": 2, "tcp_keepalive_intvl": 2, "tcp_keepalive_probes": 1, IDLE: "2 s", KEEPALIVE: 2 + 2,
        PROBES: 1,
        "tcp_orphan_retries": 2, FIN_WAIT1: 0.4 + 0.4 + 0.8 + 1.5,
        "tcp_fin_timeout": 61, FIN_WAIT2: 1 + 1, TIME_WAIT: "60 s",
    },
    {
        "tcp_rto_max_ms": 1000,
        "tcp_syn_retries": 3, "tcp_syn_linear_timeouts": 0, CONNECT: 1 + 1 + 1 + 1,
        "tcp_synack_retries": 0, SYN_RECV: 1,
        "tcp_retries2": 3, DATA: 0.4 + 0.4 + 0.8 + 1 + 1, USER_TIMEOUT: 0.4 + 0.5,
        "tcp_keepalive_time": 3, "tcp_keepalive_intvl": 1, "tcp_keepalive_probes": 1, IDLE: "3 s", KEEPALIVE: 3 + 1,
        PROBES: 1,
        "tcp_orphan_retries": 0, FIN_WAIT1: 0.4 + 0.4 + 0.8 + 1,
        "tcp_fin_timeout": -1, FIN_WAIT2: 3.5 * 0.2, TIME_WAIT: "60 s",
    },
    {
        "tcp_rto_max_ms": 2000,
        "tcp_syn_retries": 127, "tcp_syn_linear_timeouts": 127, CONNECT: NOT_MEASURED,
        "tcp_synack_retries": 2, SYN_RECV: 1 + 2 + 4,
        "tcp_retries2": 255, DATA: NOT_MEASURED, USER_TIMEOUT: 0.4 + 0.5,
        "tcp_keepalive_time": 8_589_934, "tcp_keepalive_intvl": 8_589_934, "tcp_keepalive_probes": 255,
        IDLE: NOT_MEASURED, KEEPALIVE: NOT_MEASURED,
        "tcp_orphan_retries": 255, FIN_WAIT1: NOT_MEASURED,
        "tcp_fin_timeout": 8_589_934, FIN_WAIT2: NOT_MEASURED, TIME_WAIT: "60 s",
    },
]  # fmt: skip


TRIES = 3


def found_under(run: dict, folder: Path) -> dict:
    """Play all stories; returns the findings by name.

    If processes waited too long for a processor, a run is inconclusive, and is repeated. Any other failure counts at
    once.
    """
    pairs = [f"--lab-sysctl=net.ipv4.{key}={value}" for key, value in run.items() if key.startswith("tcp_")]
    first, *others = (scenario_file(name) for name in LESSONS)
    for _ in range(TRIES):
        done = run_pytest(first, *map(str, others), *pairs, f"--lab-artifacts={folder}")
        if done.returncode == 0 or re.search(r" [1-9]\d* not,", done.stdout):
            break
    assert done.returncode == 0, done.stdout
    outcomes = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    assert len(outcomes) == 11
    return {finding["name"]: finding["value"] for outcome in outcomes for finding in outcome["findings"]}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The runs in parallel: nearly all their time is waiting for the kernel's timers, so they take as long as one."""
    folders = [tmp_path_factory.mktemp("run") for _ in RUNS]
    with ThreadPoolExecutor(len(RUNS)) as pool:
        return list(pool.map(found_under, RUNS, folders))


def agrees(value: object, expected: object) -> bool:
    match value:
        case {"predicted": _}:
            return expected is NOT_MEASURED
        case {"seconds": seconds, "from": earliest, "to": latest}:
            # An RTO is slightly more than 0.2 s, and no timer is early. The upper bound is not compared: it includes
            # the time that a call took, on a busy machine (expect_lifetime, begun_by).
            is_a_time = isinstance(expected, int | float)
            return is_a_time and expected <= seconds <= latest and earliest < expected * 1.15 + 0.2
    return value == expected


@pytest.mark.parametrize("number", range(len(RUNS)))
def test_the_findings_follow_the_current_values(found, number):
    expected = {name: value for name, value in RUNS[number].items() if not name.startswith("tcp_")}
    assert set(found[number]) == set(expected)
    differ = {name: value for name, value in found[number].items() if not agrees(value, expected[name])}
    assert differ == {}


def test_each_key_that_a_lesson_observes_was_moved():
    observed = {key for name in LESSONS for key in lessons.load(name).sysctls}
    keys = {key for run in RUNS for key in run if key.startswith("tcp_")}
    assert observed == {f"net.ipv4.{key}" for key in keys}
    assert all(len({run[key] for run in RUNS}) >= 4 for key in keys)
