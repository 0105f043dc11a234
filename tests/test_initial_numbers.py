"""time_wait_port_exhaustion is as strict about the number that a server in TIME_WAIT chooses before Linux 6.10."""

import pytest

from harness.predict.timers import initial_numbers_by_clock
from tests.playing import ROOT

STEPS_ASIDE = (
    "-k",
    "time_wait_steps_aside",
    "-n",
    "0",
    "--lab-slow",
)  # otherwise a busy machine could make one inconclusive
STORY = (ROOT / "scenarios" / "ports" / "time_wait_port_exhaustion.py").read_text()
OLDER_KERNEL = """
from dataclasses import replace
from harness.lab.lab import Lab

segments = Lab.segments

def as_an_older_kernel_would(self, *arguments, **named):
    every = [each for each in segments(self) if each.flags == "SA"]
    def changed(each):
        if each.flags != "SA" or each is every[0]:
            return each
        return replace(each, seq=(every[0].seq + (each.time_ns - every[0].time_ns) // 64 + {more}) % 2**32)
    return [changed(each) for each in segments(self, *arguments, **named)]

sysctl = Lab.sysctl

def without_the_delay(self, key, default=None):
    return default if key == "net.ipv4.tcp_tw_reuse_delay" and default is not None else sysctl(self, key, default)

Lab.segments, Lab.sysctl = as_an_older_kernel_would, without_the_delay
"""


@pytest.mark.parametrize(("more", "passed"), [(0, 3), (10_000_000, 1), (-10_000_000, 1)])
def test_a_number_by_the_clock_is_expected_to_be_right(play, tmp_path, more: int, passed: int) -> None:
    """In the third story the answer is an ACK, which TIME_WAIT itself sends."""
    (tmp_path / "conftest.py").write_text(OLDER_KERNEL.format(more=more))
    done = play(STORY, *STEPS_ASIDE)
    failed = f"{3 - passed} failed, " if passed < 3 else ""
    assert f"{failed}{passed} passed" in done.stdout, done.stdout


def test_with_a_number_from_time_wait_the_clock_is_a_failure(play, tmp_path) -> None:
    newer = OLDER_KERNEL.replace("Lab.segments, Lab.sysctl = as_an_older_kernel_would, without_the_delay",
                                 "Lab.segments = as_an_older_kernel_would")  # fmt: skip
    (tmp_path / "conftest.py").write_text(newer.format(more=0))
    done = play(STORY, *STEPS_ASIDE)
    assert "2 failed, 1 passed" in done.stdout, done.stdout


def test_any_other_number_than_that_of_time_wait_is_a_failure(play) -> None:
    old = "ABOVE_THE_OLD = 65539"
    assert old in STORY
    done = play(STORY.replace(old, "ABOVE_THE_OLD = 65540"), *STEPS_ASIDE)
    assert "2 failed, 1 passed" in done.stdout, done.stdout


def test_the_number_grows_by_one_in_64_ns() -> None:
    assert initial_numbers_by_clock(64_000_000, 128_000_000) == range(984_375, 2_015_626)
