"""Step by hand: before an actor goes on, wait for Enter, and say how to look inside meanwhile."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from harness.evidence.sockets import Socket
from harness.output import terminal
from harness.views.transcript import told_socket

__tracebackhide__ = True

_ROOT = Path(__file__).parent.parent.parent
_WORTH_TYPING = ("ss -tanpoe", "nstat -azs", "tcpdump -nli lo tcp")
_WORDS = {
    "en": ("Look inside from another terminal:", "{}, {}: goes on. Enter: ", (
        "states, queues, timers, owners", "counters: again after a step, for what has moved", "segments, as they come",
    )),
    "zh": ("在另一个终端里查看内部：", "{}，{}：按 Enter 继续：", (
        "状态、队列、定时器、持有者", "计数器：走一步之后再敲一次，看什么变了", "报文段，随到随看",
    )),
}  # fmt: skip


class Stepper:
    """One story, step by step, in a terminal. The kernel's timers do not wait for the reader."""

    def __init__(self, keeper_pid: int, isolation: str, story: str, language: str) -> None:
        self._language = language
        self._greeting = [f"\n{story}", *_ways_in(keeper_pid, isolation, language)]

    def wait(self, actor: str, step: str, sockets: list[Socket]) -> None:
        """Show where the story is, and wait for Enter. At the end of the input it goes on by itself."""
        lines = [*self._greeting, "", *(f"    {told_socket(row, self._language)}" for row in sockets)]
        self._greeting = []
        if not terminal.ask("\n".join([*lines, _WORDS[self._language][1].format(actor, step)])):
            terminal.say("")


def _ways_in(pid: int, isolation: str, language: str) -> Iterator[str]:
    """What to type in another terminal, and what is to be seen there."""
    greeting, _, sights = _WORDS[language]
    yield greeting
    user = "" if isolation == "root" else "--user --preserve-credentials "
    python = f"env PYTHONPATH={shlex.quote(str(_ROOT))} {shlex.quote(sys.executable)}"
    for command, sight in zip(_WORTH_TYPING, sights, strict=True):
        inside = f"nsenter {user}--net --target {pid}"
        if user and command.startswith("tcpdump"):  # it needs a capability, which nsenter does not keep for it
            inside = f"{python} -m harness.inside.enter {pid}"
        yield f"  {inside} {command:<20} # {sight}"
