"""A story without its answer, for a class to explain: what was seen, without the author's words.

Kept are the capture, the states, the sockets with their queues, timers and owners, the counters, and those steps of a
role that name the result of a socket call. Left out are the lab's own changes (a firewall rule is often the answer),
the findings, and all other steps. Roles are renamed after the end that they play.
"""

import re
from collections import Counter
from dataclasses import replace

from harness.evidence.transitions import Transition
from harness.story.timeline import Change, Entry, Finding, Look, Step, Timeline
from harness.views.rows import lanes_of_actors

_SEEN = re.compile(
    "bound|listening|connected|accepted|sent|read|half closed|shut down|closed|reset|"
    "finished|failed|killed|blocked in .*"
)
"""Steps that are the same in every program; "blocked in recv" comes from the kernel."""

_RETURNED = re.compile(r"returned ('E[A-Z0-9]+'|-?[\d.]+)|exit status \d+")
"""An errno's name or a number: the result of a system call."""

_COMM = 15
"""The number of bytes of a process's name that the kernel keeps (TASK_COMM_LEN)."""


def plain(timeline: Timeline) -> Timeline:
    """A copy without the answer; the timeline itself is unchanged."""
    names = _neutral(timeline)
    programs = {actor[:_COMM]: name for actor, name in names.items()}

    def seen(entry: Entry | Transition) -> Entry | Transition | None:
        match entry:
            case Change() | Finding():
                return None
            case Step():
                return _step(entry, names[entry.actor])
            case Look():
                owners = tuple((inode, programs.get(program, program)) for inode, program in entry.owners)
                return replace(entry, owners=owners)
        return entry

    return timeline.rewritten(seen)


def _neutral(timeline: Timeline) -> dict[str, str]:
    """For each actor "client" or "server", with a number from the second one on."""
    count: Counter[str] = Counter()
    names = {}
    for actor, lane in lanes_of_actors(list(timeline)).items():
        count[lane] += 1
        names[actor] = str(lane) if count[lane] == 1 else f"{lane} {count[lane]}"
    return names


def _step(step: Step, name: str) -> Step | None:
    if not _SEEN.fullmatch(step.name):
        return None
    detail = step.detail.partition(":")[0] if step.name == "failed" else step.detail
    if step.name != "failed" and not _RETURNED.fullmatch(detail):
        detail = ""
    return replace(step, actor=name, detail=detail)
