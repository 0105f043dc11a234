"""Step by hand: before an actor goes on, wait for Enter, and say how to look inside meanwhile."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from harness import terminal
from harness.evidence.sockets import Socket
from harness.views.transcript import told_socket

__tracebackhide__ = True

_ROOT = Path(__file__).parent.parent
_WORTH_TYPING = (
    ("ss -tanpoe", "states, queues, timers, owners"),
    ("nstat -azs", "counters: again after a step, for what has moved"),
    ("tcpdump -nli lo tcp", "segments, as they come"),
)


class Stepper:
    """One story, step by step, in a terminal. The kernel's timers do not wait for the reader."""

    def __init__(self, keeper_pid: int, isolation: str, story: str) -> None:
        self._greeting = [f"\n{story}", *_ways_in(keeper_pid, isolation)]

    def wait(self, actor: str, step: str, sockets: list[Socket]) -> None:
        """Show where the story is, and wait for Enter. At the end of the input it goes on by itself."""
        lines = [*self._greeting, "", *(f"    {told_socket(row)}" for row in sockets)]
        self._greeting = []
        if not terminal.ask("\n".join([*lines, f"{actor}, {step}: goes on. Enter: "])):
            terminal.say("")


def _ways_in(pid: int, isolation: str) -> Iterator[str]:
    """What to type in another terminal, and what is to be seen there."""
    yield "Look inside from another terminal:"
    user = "" if isolation == "root" else "--user --preserve-credentials "
    python = f"env PYTHONPATH={shlex.quote(str(_ROOT))} {shlex.quote(sys.executable)}"
    for command, sight in _WORTH_TYPING:
        inside = f"nsenter {user}--net --target {pid}"
        if user and command.startswith("tcpdump"):  # it needs a capability, which nsenter does not keep for it
            inside = f"{python} -m harness.inside.enter {pid}"
        yield f"  {inside} {command:<20} # {sight}"
