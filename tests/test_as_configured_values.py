"""The findings of the "as configured" stories change with the sysctls that they name: each under several values."""

import re
from pathlib import Path

import pytest

from harness.lessons import lessons
from tests.playing import run_pytest, scenario_file

NOT_MEASURED = "not measured"
HANDSHAKE, QUEUES, PORTS = "agreed_at_the_handshake", "queues_as_configured", "ports_as_configured"
LAST_CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control").read_text().split()[-1]

SACK, ECN, TIMESTAMPS = "SACK is agreed on", "ECN is agreed on", "timestamps"
SCALED, SCALE = "windows are scaled", "the receive window's scale"
RECEIVES, SENDS, SENDS_LATER = "SO_RCVBUF of a new socket", "SO_SNDBUF of a new socket", "SO_SNDBUF once connected"
CONGESTION = "congestion control"
BACKLOG, LET_IN = "listen(2147483647) is given a backlog of", "clients that listen(4) lets in"
HALF_OPEN, NEXT_SYN = "half-open requests of listen(4)", "the SYN after them"
WITHOUT_COOKIES, LAST_ACK = "half-open requests without cookies", "a last ACK that finds the accept queue full"
OFF_LOOPBACK, ON_LOOPBACK = (f"a TIME_WAIT {where} loopback is taken over" for where in ("off", "on"))
AGE, BUCKETS, AFTER_RST = "a TIME_WAIT's age when it is taken over", "TIME_WAITs at most", "a TIME_WAIT after a RST"
FREE_PORTS = "ports towards one server"

STORIES = [
    (
        HANDSHAKE,
        {
            "tcp_sack": "0", "tcp_timestamps": "0", "tcp_ecn": "0", "tcp_window_scaling": "0",
            "tcp_rmem": "4096 16384 65536", "tcp_wmem": "4096 8192 65536", "tcp_congestion_control": "reno",
        },
        {
            SACK: "no", TIMESTAMPS: "none", ECN: "no", SCALED: "no", SCALE: "0",
            RECEIVES: "16384", SENDS: "8192", SENDS_LATER: "65536", CONGESTION: "reno",
        },
    ),
    (
        HANDSHAKE,
        {
            "tcp_sack": "1", "tcp_timestamps": "1", "tcp_ecn": "1", "tcp_window_scaling": "1",
            "tcp_rmem": "4096 87380 134217728", "tcp_wmem": "4096 100000 50000",
            "tcp_congestion_control": LAST_CONGESTION_CONTROL,
        },
        {
            SACK: "yes", TIMESTAMPS: "a clock of its own", ECN: "yes", SCALED: "yes", SCALE: "12",
            RECEIVES: "87380", SENDS: "100000", SENDS_LATER: "50000", CONGESTION: LAST_CONGESTION_CONTROL,
        },
    ),
    (
        HANDSHAKE,
        {
            "tcp_sack": "255", "tcp_timestamps": "2", "tcp_ecn": "2", "tcp_window_scaling": "255",
            "tcp_rmem": "4096 131072 2147483647", "tcp_wmem": "4096 16384 1000000",
        },
        {
            SACK: "yes", TIMESTAMPS: "the machine's uptime", ECN: "no", SCALED: "yes", SCALE: "14",
            RECEIVES: "131072", SENDS: "16384", SENDS_LATER: "1000000",
        },
    ),
    (
        HANDSHAKE,
        {"tcp_sack": "0", "tcp_timestamps": "255", "tcp_ecn": "0", "tcp_rmem": "4096 1048576 536870912"},
        {SACK: "no", TIMESTAMPS: "the machine's uptime", ECN: "no", SCALE: "14", RECEIVES: "1048576"},
    ),
    (
        QUEUES,
        {"somaxconn": "0", "tcp_syncookies": "0", "tcp_max_syn_backlog": "0", "tcp_abort_on_overflow": "0"},
        {
            BACKLOG: "0", LET_IN: "1", HALF_OPEN: "5", NEXT_SYN: "dropped",
            WITHOUT_COOKIES: "1", LAST_ACK: "ignored",
        },
    ),
    (
        QUEUES,
        {"somaxconn": "2", "tcp_syncookies": "1", "tcp_max_syn_backlog": "8", "tcp_abort_on_overflow": "1"},
        {
            BACKLOG: "2", LET_IN: "3", HALF_OPEN: "5", NEXT_SYN: "answered with a cookie",
            WITHOUT_COOKIES: "7", LAST_ACK: "reset",
        },
    ),
    (
        QUEUES,
        {"somaxconn": "2147483647", "tcp_syncookies": "2", "tcp_max_syn_backlog": "1024"},
        {
            BACKLOG: "2147483647", LET_IN: "5", HALF_OPEN: "0", NEXT_SYN: "answered with a cookie",
            WITHOUT_COOKIES: "769", LAST_ACK: "ignored",
        },
    ),
    (
        QUEUES,
        {"somaxconn": "4", "tcp_max_syn_backlog": "2147483647", "tcp_abort_on_overflow": "255"},
        {BACKLOG: "4", LET_IN: "5", WITHOUT_COOKIES: NOT_MEASURED, LAST_ACK: "reset"},
    ),
    (
        PORTS,
        {
            "tcp_tw_reuse": "0", "tcp_tw_reuse_delay": "1", "tcp_max_tw_buckets": "0", "tcp_rfc1337": "0",
            "ip_local_port_range": "50000 50000",
        },
        {
            OFF_LOOPBACK: "no", ON_LOOPBACK: "no", AGE: range(1, 100), BUCKETS: "0", AFTER_RST: "CLOSED",
            FREE_PORTS: "1",
        },
    ),
    (
        PORTS,
        {
            "tcp_tw_reuse": "1", "tcp_tw_reuse_delay": "300", "tcp_max_tw_buckets": "5", "tcp_rfc1337": "1",
            "ip_local_port_range": "50000 50007", "ip_local_reserved_ports": "45000,50001-50002",
        },
        {
            OFF_LOOPBACK: "yes", ON_LOOPBACK: "yes", AGE: range(300, 560), BUCKETS: "5", AFTER_RST: "TIME_WAIT",
            FREE_PORTS: "6",
        },
    ),
    (
        PORTS,
        {
            "tcp_tw_reuse": "2", "tcp_tw_reuse_delay": "60000", "tcp_max_tw_buckets": "-1", "tcp_rfc1337": "255",
            "ip_local_port_range": "50000 50006",
        },
        {
            OFF_LOOPBACK: "no", ON_LOOPBACK: "yes", AGE: NOT_MEASURED, BUCKETS: NOT_MEASURED,
            AFTER_RST: "TIME_WAIT", FREE_PORTS: "6 or 7",
        },
    ),
    (
        PORTS,
        {
            "tcp_tw_reuse": "1", "tcp_timestamps": "0", "tcp_max_tw_buckets": "1000",
            "ip_local_port_range": "1024 65535",
        },
        {OFF_LOOPBACK: "no", ON_LOOPBACK: "no", BUCKETS: "1000", FREE_PORTS: NOT_MEASURED},
    ),
]  # fmt: skip


def key_of(short):
    return f"net.core.{short}" if short == "somaxconn" else f"net.ipv4.{short}"


def found(scenario, values):
    """The findings of a scenario under these values, by name; NOT_MEASURED for those that were not measured."""
    pairs = [argument for short, value in values.items() for argument in ("--lab-sysctl", f"{key_of(short)}={value}")]
    done = run_pytest(scenario_file(scenario), "-q", "-rP", "-k", "not test_control_", "-n", "0", "--lab-slow", *pairs)
    assert done.returncode == 0, done.stdout
    measured = dict(re.findall(r"found: (.+?): (.+)", done.stdout))
    left = re.findall(r"^not measured: .*?::.*?: (.+?): .* by the prediction of", done.stdout, re.M)
    return measured | dict.fromkeys(left, NOT_MEASURED)


@pytest.mark.parametrize(("scenario", "values", "expected"), STORIES)
def test_what_is_found_is_as_configured(scenario, values, expected):
    seen = found(scenario, values)
    age = seen.get(AGE, "")
    if isinstance(expected.get(AGE), range):
        assert float(age.removesuffix(" s")) * 1000 >= expected[AGE].start
        assert float(age.removesuffix(" s")) * 1000 <= expected[AGE].stop
        expected = expected | {AGE: age}
    assert {name: seen.get(name) for name in expected} == expected


@pytest.mark.parametrize("scenario", [HANDSHAKE, QUEUES, PORTS])
def test_every_finding_moves(scenario):
    rows = [expected for name, _, expected in STORIES if name == scenario]
    for finding in set().union(*rows):
        assert len({str(row[finding]) for row in rows if finding in row}) > 1, finding


@pytest.mark.parametrize("scenario", [HANDSHAKE, QUEUES, PORTS])
def test_every_key_of_the_lesson_has_been_tried(scenario):
    tried = {key_of(short) for name, values, _ in STORIES if name == scenario for short in values}
    assert tried == set(lessons.load(scenario).sysctls)
