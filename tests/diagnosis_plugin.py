"""A plugin of pytest (-p tests.diagnosis_plugin): takes a snapshot of each lab whenever it rests, and keeps them.

For each story, it writes $SNAPSHOTS/FILE.TEST: a pickled list of Moment, in order; the last one is the story's end. At
the moment at which a lesson's fault is to be seen, it also runs the lesson's `recognise` commands in the lab's network.
"""

import os
import pickle
import subprocess
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from weakref import WeakKeyDictionary

import pytest

from harness.diagnose import snapshot
from harness.errors import LabError
from harness.evidence import counters, holders, memory, sockets
from harness.lab.actor import Actor
from harness.lab.lab import Lab
from harness.lab.program import Process
from harness.lessons import lessons
from harness.lessons.lessons import Lesson
from harness.story.timeline import Moment as Timed
from tests.moments import at_each_rest, inside, last_step
from tests.playing import GENEROUS_S

RUNS = ("ss", "nstat", "netstat")
"""Commands of a lesson that can be run here; the others watch for longer, or need a placeholder filled in."""


@dataclass(frozen=True)
class Moment:
    """A moment of rest: the last step, and the output of each command of the lesson that was run.

    The step is "blocked in accept" or the like while a process sleeps in a call, and "stopped" before one that was
    stopped is resumed.
    """

    step: str
    snapshot: snapshot.Snapshot
    printed: dict[str, str] = field(default_factory=dict)


Taken = list[Moment]
_taken: Taken = []
_playing: list[Lesson] = []
"""The lesson whose fault is being played; empty in all other stories."""


def _take(lab: Lab, *, at_the_end: bool, step: str = "") -> None:
    try:
        lab._watch.settle()
    except LabError:
        return  # an ACK storm
    step = step or last_step(lab)
    now = _snapshot(lab)
    is_seen = _playing and (_playing[0].seen_at == step if _playing[0].seen_at else at_the_end)
    _taken.append(Moment(step, now, _printed(_playing[0].recognise, lab) if is_seen else {}))


def _snapshot(lab: Lab) -> snapshot.Snapshot:
    """Of every host of the lab together, as if all were in one namespace, as on loopback."""
    places = list(lab._keeper.places.values())
    rows = [row for place in places for row in sockets.read(place.table, detailed=True)]
    of_first = snapshot.take(rows, places[0].pid, holders.processes(lab.keeper_pid), dict(_sysctls(lab)))
    totals: Counter[str] = Counter(of_first.counters)
    stats: Counter[str] = Counter(of_first.sockstat)
    for place in places[1:]:
        totals.update(counters.numbers(counters.texts(place.pid)))
        stats.update(memory.sockstat(place.pid))
    return replace(of_first, counters=dict(totals), sockstat=dict(stats))


_sysctls_of: WeakKeyDictionary[Lab, dict[str, str]] = WeakKeyDictionary()
"""Each value costs a question to the lab's keeper, so all are asked for once, and again only if a story sets them."""


def _sysctls(lab: Lab) -> dict[str, str]:
    if lab not in _sysctls_of:
        _sysctls_of[lab] = {key: lab.sysctl(key, default="") for key in snapshot.SYSCTLS}
    return _sysctls_of[lab]


_set_sysctl = Lab.set_sysctl


def _set_sysctl_watched(lab: Lab, key: str, *arguments: object, **options: bool) -> None:
    _set_sysctl(lab, key, *arguments, **options)
    if key in _sysctls(lab):
        _sysctls(lab)[key] = lab.sysctl(key, default="")


Lab.set_sysctl = _set_sysctl_watched  # type: ignore[method-assign]


def _printed(commands: tuple[str, ...], lab: Lab) -> dict[str, str]:
    """The output of the commands that can be run here, in the lab's network.

    One shell runs them all: a story may have only a second until a timer expires.
    """
    run = [command for command in commands if command.split()[0] in RUNS]
    script = "\n".join(f"{command}; printf '\\0'" for command in run)
    done = subprocess.run([*inside(lab), "sh", "-c", script], capture_output=True, text=True, timeout=GENEROUS_S)
    return dict(zip(run, done.stdout.split("\0"), strict=False))


at_each_rest(lambda lab, at_the_end: _take(lab, at_the_end=at_the_end))
_stay_blocked = Actor.stay_blocked


def _stay_blocked_watched(actor: Actor, in_: str, for_s: float = 0.0) -> None:
    """A process that sleeps in a call stays there: a moment of rest, although no actor is about to move."""
    _stay_blocked(actor, in_, for_s)
    if isinstance(actor._lab, Lab):
        _take(actor._lab, at_the_end=False)


Actor.stay_blocked = _stay_blocked_watched  # type: ignore[method-assign]
_resume_process = Process.resume_process


def _resume_process_watched(process: Process) -> Timed:
    """Take the snapshot before the process is resumed, as the step "stopped"."""
    if isinstance(process._lab, Lab):
        _take(process._lab, at_the_end=False, step="stopped")
    return _resume_process(process)


_kill = Process.kill


def _kill_watched(process: Process) -> Timed:
    """Take the snapshot before the kill, because others may act at once after it."""
    if isinstance(process._lab, Lab):
        _take(process._lab, at_the_end=False)
    return _kill(process)


Process.resume_process = _resume_process_watched  # type: ignore[method-assign]
Process.kill = _kill_watched  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):  # type: ignore[no-untyped-def]
    _taken.clear()
    lesson = lessons.find(item.path.stem)
    _playing[:] = [lesson] if lesson and lesson.fault == item.name else []
    result = yield
    name = f"{item.path.stem}.{item.name}".replace("/", "_")
    Path(os.environ["SNAPSHOTS"], name).write_bytes(pickle.dumps(_taken))
    return result
