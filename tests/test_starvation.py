"""A story that fails while its processes waited for a processor is inconclusive, and reports for how long."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.evidence.starvation import RunDelay, is_counted
from tests.stress import BUSY

STARVED = """
import time
from pathlib import Path

def be_slow():
    yield "here"
    yield "there"

def test_fails(lab):
    actor = lab.start(be_slow, to="here")
    told = actor._channel.send
    def late(message):
        actor._asked_ns -= GAP_NS
        told(message)
    actor._channel.send = late
    actor.run_to("there")
    assert lab.state("client") == "ESTABLISHED"
"""


def test_a_failure_after_a_long_gap_is_inconclusive(play):
    done = play(STARVED.replace("GAP_NS", str(26 * 10**8)))
    assert done.returncode == 1
    assert "1 story from 1 file: 0 as expected, 0 not, 1 inconclusive" in done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("inconclusive: "))
    assert float(line.partition("be_slow waited ")[2].split()[0]) >= 2.6
    assert "for a processor after 'here'; AssertionError: assert <State.CLOSED: 'CLOSED'> == 'ESTABLISHED'" in line
    assert "the limit is 0.25 s. Hint: run it again with less load, or with --lab-slow" in done.stdout


@pytest.mark.parametrize("gap_ns", [0, 26 * 10**8])
def test_a_gap_within_the_allowance_excuses_nothing(play, gap_ns):
    done = play(STARVED.replace("GAP_NS", str(gap_ns)), "--lab-slow")
    assert "1 story from 1 file: 0 as expected, 1 not, 0 inconclusive" in done.stdout


def test_the_longest_gap_is_kept_with_what_it_was_between(lab):
    actor = lab.start(be_at_two_places, to="here")
    lab.longest_gap = type(lab.longest_gap)(0.0, "", "")
    actor.resume()
    actor._asked_ns -= 3 * 10**8
    actor.run_to("there")
    assert (lab.longest_gap.who, lab.longest_gap.when) == ("be_at_two_places", "after 'here'")
    assert lab.longest_gap.seconds >= 0.3
    lab.note_gap(0.1, "another", "later")
    assert lab.longest_gap.who == "be_at_two_places"


def be_at_two_places():
    yield "here"
    yield "there"


def test_the_scheduler_counts_waits_for_a_processor():
    """Two processes compete for one processor: each waits for half of the time."""
    allowed = os.sched_getaffinity(0)
    one = min(allowed)
    spin = f"import os\nos.sched_setaffinity(0, {{{one}}})\n{BUSY}"
    other = subprocess.Popen([sys.executable, "-I", "-S", "-c", spin, str(os.getpid())])
    delay = RunDelay("self")
    try:
        os.sched_setaffinity(0, {one})
        waited_s, deadline = 0.0, time.monotonic() + 30
        while waited_s < 0.05 and time.monotonic() < deadline:
            waited_s += delay.lap_s()
    finally:
        os.sched_setaffinity(0, allowed)
        other.kill()
        other.wait()
        delay.close()
    assert waited_s >= 0.05


def test_a_process_that_is_gone_has_no_counts():
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", ""]) as ended:
        pass
    with contextlib.closing(RunDelay(ended.pid)) as delay:
        assert delay.lap_s() == 0.0


def test_a_kernel_that_does_not_count_is_recognised(monkeypatch):
    assert is_counted()
    monkeypatch.setattr(Path, "read_text", lambda _: "0 0 0\n")
    assert not is_counted()
