"""Whether all processes of a lab sleep: one that waits for a processor may still act."""

import os
import signal

import pytest

from harness.errors import ExpectationFailed
from harness.evidence.rest import Thread, still_acting

ASLEEP = Thread("server", runnable=False, switches=7, ticks=3)
RUNNABLE = ASLEEP._replace(runnable=True)


@pytest.mark.parametrize(
    ("before", "now", "acting"),
    [
        (ASLEEP, ASLEEP, []),
        (RUNNABLE, ASLEEP, ["server"]),
        (ASLEEP, RUNNABLE, ["server"]),
        (RUNNABLE, RUNNABLE, ["server"]),
        (ASLEEP, ASLEEP._replace(switches=8), ["server"]),  # it ran between the looks, and sleeps again
        (None, ASLEEP, ["server"]),  # it is new: who started it may still act
        (RUNNABLE, RUNNABLE._replace(ticks=7), ["server"]),
        (RUNNABLE, RUNNABLE._replace(ticks=8), []),  # it spins
    ],
)
def test_a_thread_rests_if_it_slept_in_both_looks_and_between(before, now, acting):
    first = {1: RUNNABLE}
    assert still_acting(first, {1: before} if before else {}, {1: now}) == acting


def test_a_thread_that_has_ended_does_not_act():
    assert still_acting({1: RUNNABLE}, {1: RUNNABLE}, {}) == []


def wait_for_a_signal(spins):
    child = os.fork()
    while child == 0 and spins:
        pass
    if child == 0:
        signal.pause()
    yield "forked"
    os.waitpid(child, 0)


@pytest.mark.parametrize("spins", [False, True])
def test_a_process_that_sleeps_or_spins_lets_another_stay_blocked(lab, spins):
    role = lab.start(wait_for_a_signal, spins, to="forked")
    role.stay_blocked(in_="wait")


def test_while_another_process_may_act_no_one_stays_blocked(lab, monkeypatch):
    """A child that spins, as long as it has used too little processor time to be known for it."""
    monkeypatch.setattr("harness.evidence.rest._SPINS_AFTER_TICKS", 1000)
    role = lab.start(wait_for_a_signal, True, to="forked")
    lab.deadline_s = 0.2
    with pytest.raises(ExpectationFailed, match=r"it sleeps in wait4\(\), but wait_for_a_sign may still act"):
        role.stay_blocked(in_="wait")
