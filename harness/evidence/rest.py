"""Whether all processes of a lab sleep, so that only a segment, a timer or the test can make one of them act."""

import os
from typing import NamedTuple

from harness.evidence import holders

_SPINS_AFTER_TICKS = 5
"""A thread that has used this much processor time (in clock ticks) and still runs is assumed never to sleep."""


class Thread(NamedTuple):
    """One thread: whether it is runnable (state R or D in proc(5)), the number of its context switches (voluntary and
    not, /proc/PID/status), and its processor time in clock ticks."""

    program: str
    runnable: bool
    switches: int
    ticks: int


def threads(keeper_pid: int) -> dict[int, Thread]:
    """Every thread of every process of the lab except the keeper, by TID."""
    found = {}
    for pid in holders.processes(keeper_pid):
        try:
            tids = [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for tid in tids:
            if thread := _thread(f"/proc/{pid}/task/{tid}"):
                found[tid] = thread
    return found


def _thread(folder: str) -> Thread | None:
    """One thread; None if it has ended meanwhile."""
    try:
        with open(f"{folder}/status", errors="replace") as file:
            status = dict(line.partition(":\t")[::2] for line in file.read().splitlines())
        with open(f"{folder}/stat", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    switches = int(status["voluntary_ctxt_switches"]) + int(status["nonvoluntary_ctxt_switches"])
    return Thread(status["Name"], status["State"][0] in "RD", switches, int(fields[11]) + int(fields[12]))


def still_acting(first: dict[int, Thread], before: dict[int, Thread], now: dict[int, Thread]) -> list[str]:
    """The programs that may act without being woken, from two looks; `first` is the look with which the wait began.

    A thread rests if it sleeps in both looks and has not run between them. A thread that does not rest, but has used
    more than _SPINS_AFTER_TICKS of processor time since the first look, is left out: it spins, and would never rest.
    """
    acting = []
    for tid, thread in now.items():
        earlier = before.get(tid)
        used = thread.ticks - first[tid].ticks if tid in first else 0
        rests = earlier and not thread.runnable and not earlier.runnable and thread.switches == earlier.switches
        if not rests and used < _SPINS_AFTER_TICKS:
            acting.append(thread.program)
    return sorted(acting)
