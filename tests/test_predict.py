"""Predictions: known values, limits that hold for all settings, and the timer wheel's granularity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.predict import limits, timers
from harness.predict.timers import Interval

TICK_S = 0.004

ticks = st.sampled_from([0.001, 0.004, 1 / 300, 0.01])
retries = st.integers(1, 12)
linear = st.integers(0, 8)
rto_max = st.floats(1.0, 120.0)
lengths = st.floats(0.001, 200.0)


@pytest.mark.parametrize(
    ("hz", "starts_ms", "granularities_ms"),
    [
        # Where each level begins: 63 << 3n jiffies (kernel/time/timer.c, LVL_START).
        (1000, [0, 63, 504, 4032, 32256], [1, 8, 64, 512, 4096]),
        (250, [0, 252, 2016, 16128, 129024], [4, 32, 256, 2048, 16384]),
        (100, [0, 630, 5040, 40320, 322560], [10, 80, 640, 5120, 40960]),
    ],
)
def test_the_wheels_levels(hz, starts_ms, granularities_ms):
    for start_ms, granularity_ms in zip(starts_ms, granularities_ms, strict=True):
        at_start, before = ((start_ms + shift) / 1000 for shift in (0.01, -0.01))
        assert timers.wheel_granularity_s(at_start, 1 / hz) * 1000 == pytest.approx(granularity_ms)
        assert timers.wheel_granularity_s(before, 1 / hz) * 1000 == pytest.approx(max(granularity_ms / 8, 1000 / hz))


@given(lengths, lengths, ticks)
def test_a_longer_timer_is_not_more_exact(one, other, tick):
    short, long = sorted([one, other])
    assert tick <= timers.wheel_granularity_s(short, tick) <= timers.wheel_granularity_s(long, tick)


@given(lengths, ticks)
def test_a_timer_is_late_by_an_eighth_at_most(length, tick):
    late = timers.wheel_granularity_s(length, tick)
    assert late <= max(tick, length * 8 / 63)


@given(st.lists(lengths, max_size=5), ticks)
def test_timers_in_turn_take_their_sum_and_each_may_be_late(lengths_s, tick):
    interval = timers.timers_in_turn(lengths_s, tick)
    assert interval.at_least_s == sum(lengths_s)
    assert interval.at_most_s >= interval.at_least_s + len(lengths_s) * tick * 0.999


def test_only_an_intervals_upper_end_can_be_widened():
    interval = Interval(1.0, 1.032)
    assert 1.0 in interval
    assert 1.032 in interval
    assert 0.9999 not in interval
    assert 1.033 not in interval
    assert interval.with_allowance(0.25) == Interval(1.0, 1.282)
    assert str(interval) == "1.000 to 1.032 s"


def test_this_kernels_tick_is_a_possible_one():
    assert round(1 / timers.tick_s()) in {100, 250, 300, 1000}


@pytest.mark.parametrize(
    ("settings", "waits"),
    [
        ((3, 0, 120.0), [1, 2, 4, 8]),
        ((6, 4, 120.0), [1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64]),  # the defaults
        ((2, 0, 1.0), [1, 1, 1]),  # the reference profile
        ((1, 0, 120.0), [1, 2]),
        ((3, 0, 2.0), [1, 2, 2, 2]),
        ((1, 4, 120.0), [1, 1, 1]),  # ended by the time limit of an exponential schedule
        ((6, 4, 1.0), [1, 1, 1, 1, 1, 1, 1]),
    ],
)
def test_the_schedule_of_syns(settings, waits):
    assert timers.syn_timers_s(*settings) == waits


@pytest.mark.parametrize(
    ("interval", "measured_s"),
    [
        (timers.connect_timeout(3, 0, 120.0, TICK_S), 15.5),
        (timers.connect_timeout(6, 4, 120.0, TICK_S), 133.9),
        (timers.connect_timeout(2, 0, 1.0, TICK_S, timers.quick_syn_retry_s(TICK_S)), 2.04),
        (timers.fin_wait2(1, TICK_S), 1.02),
        (timers.fin_wait2(2, TICK_S), 2.01),
        (timers.fin_wait2(3, TICK_S), 3.08),
        (timers.one_timer(timers.TIME_WAIT_S, TICK_S), 60.1),
        (timers.one_timer(timers.TIME_WAIT_S, TICK_S), 62.0),
        (timers.syn_recv(0, 120.0, TICK_S), 1.03),
        (timers.syn_recv(1, 120.0, TICK_S), 3.05),
        (timers.syn_recv(2, 120.0, TICK_S), 7.2),
        (timers.fin_wait1_orphan(1, 0.204, 120.0, TICK_S), 1.66),
        (timers.fin_wait1_orphan(2, 0.204, 120.0, TICK_S), 3.30),
        (timers.fin_wait1_orphan(0, 0.204, 120.0, TICK_S), 107.0),
        (timers.fin_wait1_orphan(1, 0.204, 1.0, TICK_S, loss_probe=False), 1.473),
        (timers.fin_wait1_orphan(2, 0.204, 1.0, TICK_S), 2.694),
        (timers.fin_wait1_orphan(0, 0.204, 1.0, TICK_S), 2.705),
        (timers.fin_wait1_orphan(3, 0.204, 1.0, TICK_S), 3.711),
    ],
)
def test_the_predictions_match_measurements_on_linux_6_18(interval, measured_s):
    assert measured_s in interval
    assert interval.at_most_s - interval.at_least_s <= measured_s / 8


def test_late_timers_may_make_an_orphan_give_up_a_round_early():
    # After four rounds 30 RTOs of 204 ms have passed, 6.12 s and the timers' lateness, of the model's 6.2 s.
    interval = timers.fin_wait1_orphan(4, 0.204, 120.0, TICK_S)
    assert 6.617 in interval  # measured, as was 6.672
    assert 0.204 * (1 + 1 + 62) in interval


def test_fin_wait2_lasts_twice_its_excess_and_at_least_3_5_rto():
    assert timers.fin_wait2(90, TICK_S) == timers.timers_in_turn([30.0, 30.0], TICK_S)
    assert 2.06 in timers.fin_wait2(61, TICK_S)  # measured
    assert 4.03 in timers.fin_wait2(62, TICK_S)  # likewise
    for short in (-1, 0):
        assert timers.fin_wait2(short, TICK_S, rto_s=0.204) == timers.one_timer(3.5 * 0.204, TICK_S)
    assert 0.736 in timers.fin_wait2(0, TICK_S, rto_s=0.204)  # measured
    assert timers.fin_wait2(1, TICK_S, rto_s=2.0) == timers.one_timer(7.0, TICK_S)


@given(retries, linear, rto_max, ticks)
def test_connect_waits_longer_with_more_retransmissions(syn_retries, linear_timeouts, rto_max_s, tick):
    waits = timers.syn_timers_s(syn_retries, linear_timeouts, rto_max_s)
    assert 2 <= len(waits) <= syn_retries + linear_timeouts + 1
    assert waits == sorted(waits)
    assert waits[0] == 1.0
    assert waits[-1] <= rto_max_s
    interval = timers.connect_timeout(syn_retries, linear_timeouts, rto_max_s, tick)
    more = timers.connect_timeout(syn_retries + 1, linear_timeouts, rto_max_s, tick)
    assert interval.at_least_s < more.at_least_s
    assert interval.at_most_s < more.at_most_s
    longer = timers.connect_timeout(syn_retries, linear_timeouts, rto_max_s + 10, tick)
    assert interval.at_least_s <= longer.at_least_s


@given(st.integers(0, 8), rto_max, ticks)
def test_syn_recv_lasts_longer_with_more_retransmissions(synack_retries, rto_max_s, tick):
    interval = timers.syn_recv(synack_retries, rto_max_s, tick)
    assert 1.0 <= interval.at_least_s < interval.at_most_s
    assert interval.at_least_s < timers.syn_recv(synack_retries + 1, rto_max_s, tick).at_least_s


@given(st.integers(0, 12), st.floats(0.2, 1.0), rto_max, ticks, st.booleans())
def test_an_orphan_lives_at_least_as_long_as_its_model(orphan_retries, rto_s, rto_max_s, tick, loss_probe):
    interval = timers.fin_wait1_orphan(orphan_retries, rto_s, rto_max_s, tick, loss_probe=loss_probe)
    assert rto_s + 0.2 <= interval.at_least_s < interval.at_most_s
    if orphan_retries:
        model_s = sum(timers.backoff_s(0.2, orphan_retries + 1, rto_max_s))
        assert interval.at_least_s >= rto_s + model_s
        more = timers.fin_wait1_orphan(orphan_retries + 1, rto_s, rto_max_s, tick, loss_probe=loss_probe)
        assert interval.at_least_s <= more.at_least_s
        assert interval.at_most_s <= more.at_most_s


@pytest.mark.parametrize(
    ("retries2", "rto_max_s", "waits"),
    [
        # At an RTO of 204 ms: the probe and the RTO after it, then 2, 4, … times the RTO up to the maximum.
        (0, 120.0, [0.204, 0.204, 0.408]),
        (1, 120.0, [0.204, 0.204, 0.408, 0.816]),
        (3, 1.0, [0.204, 0.204, 0.408, 0.816, 1.0, 1.0]),  # the reference profile
        (8, 120.0, [0.204, 0.204, *(0.204 * 2**n for n in range(1, 9))]),
        (15, 120.0, [0.204, 0.204, *(0.204 * 2**n for n in range(1, 10)), *[120.0] * 6]),  # the default
    ],
)
def test_data_is_retransmitted_until_the_models_time_has_passed(retries2, rto_max_s, waits):
    interval = timers.unacknowledged_data(retries2, 0.204, rto_max_s, TICK_S)
    assert interval.at_most_s == pytest.approx(timers.timers_in_turn(waits, TICK_S).at_most_s)
    model_s = sum(timers.backoff_s(0.2, retries2 + 1, rto_max_s))
    assert 0.404 + model_s <= interval.at_least_s <= sum(waits)


def test_data_and_an_orphans_fin_differ_only_at_0():
    assert timers.unacknowledged_data(2, 0.204, 1.0, TICK_S) == timers.fin_wait1_orphan(2, 0.204, 1.0, TICK_S)
    assert timers.unacknowledged_data(0, 0.204, 1.0, TICK_S) != timers.fin_wait1_orphan(0, 0.204, 1.0, TICK_S)


def test_a_user_timeout_counts_from_the_first_timeout():
    interval = timers.user_timeout(0.5, 0.204, TICK_S)
    assert interval.at_least_s == pytest.approx(0.2 + 0.204 + 0.5 - 0.001)
    assert 0.204 + 0.204 + 0.5 in interval
    assert interval.at_most_s < 0.204 + 0.204 + 0.5 + 0.05
    bare = timers.user_timeout(0.5, 0.204, TICK_S, loss_probe=False)
    assert bare.at_least_s == pytest.approx(0.204 + 0.5 - 0.001)


@given(lengths, st.floats(0.2, 1.0), ticks, st.booleans())
def test_a_longer_user_timeout_ends_later(timeout_s, rto_s, tick, loss_probe):
    interval = timers.user_timeout(timeout_s, rto_s, tick, loss_probe=loss_probe)
    assert interval.at_least_s < interval.at_most_s
    more = timers.user_timeout(timeout_s + 0.1, rto_s, tick, loss_probe=loss_probe)
    assert interval.at_least_s < more.at_least_s


@pytest.mark.parametrize(
    ("settings", "nominal_s"), [((7200, 75, 9), 7875), ((1, 1, 1), 2), ((2, 1, 0), 2), ((0, 1, 2), 2)]
)
def test_keepalive_ends_one_interval_after_its_last_probe(settings, nominal_s):
    interval = timers.keepalive(*settings, TICK_S)
    assert interval.at_least_s == nominal_s
    assert nominal_s in interval


def test_a_backlog_is_cut_to_somaxconn_and_has_room_for_one_more():
    assert [limits.backlog(4, 4096), limits.backlog(65535, 4096), limits.backlog(4, 0)] == [4, 4096, 0]
    assert [limits.accept_queue_places(backlog) for backlog in (0, 4)] == [1, 5]


@pytest.mark.parametrize(
    ("backlog", "syncookies", "max_syn_backlog", "places"),
    [(4, 0, 4096, 5), (4, 1, 4096, 5), (4, 2, 4096, 0), (4, 1, 0, 5), (2000, 0, 512, 385), (2000, 0, 8, 7),
     (2000, 0, 1, 2), (2000, 0, 0, 1), (2000, 0, -4, 0), (0, 0, 512, 1)],
)  # fmt: skip
def test_half_open_places(backlog, syncookies, max_syn_backlog, places):
    assert limits.half_open_places(backlog, syncookies, max_syn_backlog) == places


@pytest.mark.parametrize(
    ("low", "high", "taken", "ports"),
    [
        (32768, 60999, (), (28232, 28232)),
        (45000, 45000, (), (1, 1)),
        (45000, 45000, {45000}, (0, 0)),
        (50000, 50006, (), (6, 7)),
        (50000, 50006, {50001, 50002, 8000}, (4, 5)),
        (50000, 50007, {50001, 50002}, (6, 6)),
        (50000, 50002, {50000, 50001, 50002}, (0, 0)),
    ],
)
def test_ports_for_connect(low, high, taken, ports):
    assert limits.connect_ports(low, high, taken) == ports


@given(st.sets(st.integers(1, 65535), max_size=20))
def test_a_list_of_ports_is_read_as_the_kernel_writes_it(ports):
    assert limits.port_set(",".join(map(str, sorted(ports)))) == ports
    assert limits.port_set("8080,50000-50002") == {8080, 50000, 50001, 50002}


def test_which_connect_reuses_a_time_wait():
    modes = [(mode, on) for mode in (0, 1, 2) for on in (False, True)]
    assert [limits.takes_time_wait_over(mode, 1, loopback=on) for mode, on in modes] == [False] * 2 + [
        True, True, False, True,
    ]  # fmt: skip
    assert not any(limits.takes_time_wait_over(mode, 0, loopback=on) for mode, on in modes)
    assert 0.201 in timers.time_wait_taken_over(200)  # measured
    assert 0.2 in timers.time_wait_taken_over(200)
    assert 0.199 not in timers.time_wait_taken_over(200)
    assert 1.0 in timers.time_wait_taken_over(None)


def test_the_limit_of_time_waits():
    assert [limits.time_waits(8, limit) for limit in (-1, 0, 5, 8, 9)] == [8, 0, 5, 8, 8]


@pytest.mark.parametrize(
    ("scaling", "tcp_most", "core_most", "scale"),
    [(1, 6291456, 212992, 7), (1, 33554432, 4194304, 10), (1, 65535, 65535, 0), (1, 65536, 0, 1), (0, 6291456, 0, 0),
     (1, 2**31 - 1, 0, 14), (1, 1, 1, 0)],
)  # fmt: skip
def test_window_scale(scaling, tcp_most, core_most, scale):
    assert limits.window_scale(scaling, tcp_most, core_most) == scale


def test_ecn_and_timestamps():
    assert [mode for mode in range(6) if limits.ecn_agreed(mode, "reno")] == [1, 3, 4]
    assert limits.ecn_agreed(0, "dctcp")
    assert [limits.timestamps(mode) for mode in (0, 1, 2, 255)] == [
        "none", "a clock of its own", "the machine's uptime", "the machine's uptime",
    ]  # fmt: skip


@given(st.integers(1, 2**31), st.integers(1, 2**31), st.integers(500, 65483))
def test_a_send_buffer_has_its_bounds(default, most, mss):
    least, largest = limits.send_buffer(default, most, mss)
    assert 0 < least <= largest <= max(default, most)
    assert limits.send_buffer(16384, 4194304, 32741) == (654820, 4194304)
    assert limits.send_buffer(100000, 50000, 21845) == (50000, 50000)  # measured
    assert limits.send_buffer(4194304, 6291456, 32741) == (4194304, 6291456)
