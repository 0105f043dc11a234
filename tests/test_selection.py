"""Which stories are played, in which order, by how many workers."""

import os
from types import SimpleNamespace

import pytest

from harness.pytest_plugin import selection
from harness.runs import workers
from tests.playing import ROOT, run_module


def story(name, waits=None):
    marker = SimpleNamespace(args=(waits,)) if waits else None
    return SimpleNamespace(name=name, get_closest_marker=lambda _: marker)


def run(*arguments):
    return run_module("pytest", "-q", "scenarios/", *arguments)


def collect(*arguments):
    return run("--collect-only", *arguments)


def test_long_waits_are_begun_early_and_nothing_is_lost():
    items = [story(f"works {n}") for n in range(12)] + [story("waits 1", 1), story("waits 2", 2)]
    names = [item.name for item in selection.dealt(items)]
    assert names[0] == "waits 2"
    assert names.index("waits 1") == 5
    assert sorted(names) == sorted(item.name for item in items)
    assert [name for name in names if "works" in name] == [f"works {n}" for n in range(12)]


@pytest.mark.parametrize("items", [[], [story("works")], [story("waits", 1)]])
def test_a_few_stories_are_dealt_too(items):
    assert selection.dealt(items) == items


@pytest.fixture
def machine(monkeypatch):
    """Make up a machine: its processors, and its available memory in bytes."""

    def make(processors, memory_bytes):
        monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(processors)))
        monkeypatch.setattr(workers, "available_bytes", lambda: memory_bytes)

    return make


SCENARIOS = SimpleNamespace(args=[str(ROOT / "scenarios")])
ONE = SimpleNamespace(
    args=[f"{ROOT}/scenarios/closing/close_with_unread_data.py::test_unread_data_turns_close_into_a_reset"]
)


@pytest.mark.parametrize(("config", "processors", "memory_bytes", "expected"), [
    (SCENARIOS, 1, 1 << 40, 3), (SCENARIOS, 2, 1 << 40, 6), (SCENARIOS, 8, 1 << 40, 24),
    (SCENARIOS, 64, 512 << 20, 2), (SCENARIOS, 2, 1, 1), (ONE, 64, 1 << 40, 1),
])  # fmt: skip
def test_auto_is_three_workers_a_processor_within_the_limits(machine, config, processors, memory_bytes, expected):
    machine(processors, memory_bytes)
    assert selection.pytest_xdist_auto_num_workers(config) == expected


def test_a_large_machine_has_no_more_workers_than_stories(machine):
    machine(256, 1 << 40)
    stories = len([line for line in collect().stdout.splitlines() if "::" in line])
    assert 100 < selection.pytest_xdist_auto_num_workers(SCENARIOS) <= stories


def test_auto_can_be_overruled(machine, monkeypatch):
    machine(2, 1 << 40)
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "1")
    assert selection.pytest_xdist_auto_num_workers(SCENARIOS) is None


def test_a_sysctl_selects_the_scenarios_that_it_governs():
    done = collect("--lab-affected-by", "net/ipv4/tcp_fin_timeout")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "scenarios/waiting/fin_timeout_leaves_time_wait_alone.py" in done.stdout
    assert "scenarios/opening/reset_before_accept.py" not in done.stdout


def test_several_sysctls_select_what_any_of_them_governs():
    done = collect("--lab-affected-by", "net.ipv4.tcp_tw_reuse", "--lab-affected-by=net.ipv4.tcp_abort_on_overflow")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "scenarios/sysctls/folklore_of_reuse.py" in done.stdout
    assert "scenarios/sysctls/folklore.py" in done.stdout
    assert "scenarios/opening/reset_before_accept.py" not in done.stdout


@pytest.mark.parametrize(("short", "key"), [("tcp_fin_timeout", "net.ipv4.tcp_fin_timeout"),
                                            ("core/somaxconn", "net.core.somaxconn")])  # fmt: skip
def test_a_sysctl_may_be_named_as_the_header_names_it(short, key):
    done = collect("--lab-affected-by", short)
    assert done.returncode == 0, done.stdout + done.stderr
    found, same = ([line for line in each.stdout.splitlines() if "::" in line]
                   for each in (done, collect("--lab-affected-by", key)))  # fmt: skip
    assert found == same != []


@pytest.mark.parametrize("workers", [[], ["-n", "1"]])
@pytest.mark.parametrize("typed", ["net.ipv4.tcp_fin_timeot", "tcp_fin_timout", "fin_timeout", "net.ipv4.tcp_fin_time"])
def test_a_sysctl_that_governs_nothing_is_a_usage_error(typed, workers):
    done = run("--lab-affected-by", typed, *workers)
    assert done.returncode == 4, done.stdout
    assert "Hint: did you mean net.ipv4.tcp_fin_timeout?" in done.stderr


def test_a_sysctl_like_no_other_lists_the_known_ones():
    done = run("--lab-affected-by", "vm.swappiness")
    assert done.returncode == 4, done.stdout
    assert "Hint: use one of net.core.somaxconn, " in done.stderr
