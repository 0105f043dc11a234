"""Step by hand: before an actor goes on, wait for Enter, and say how to look inside meanwhile."""

from collections.abc import Iterator

from harness import terminal
from harness.evidence.sockets import Socket
from harness.views.transcript import told_socket

__tracebackhide__ = True

_WORTH_TYPING = (
    ("ss -tanpoe", "states, queues, timers, owners"),
    ("nstat -az", "counters: again after a step, for what has moved"),
    ("tcpdump -nli lo tcp", "segments, as they come"),
)


class Stepper:
    """One story, step by step, in a terminal. The kernel's timers do not wait for the reader."""

    def __init__(self, keeper_pid: int, isolation: str, story: str) -> None:
        user = "" if isolation == "root" else "--user --preserve-credentials "
        self._inside = f"nsenter {user}--net --target {keeper_pid}"
        self._greeting = [f"\n{story}", *self._ways_in()]

    def _ways_in(self) -> Iterator[str]:
        """What to type in another terminal, and what is to be seen there."""
        yield "Look inside from another terminal:"
        for command, sight in _WORTH_TYPING:
            yield f"  {self._inside} {command:<20} # {sight}"

    def wait(self, actor: str, step: str, sockets: list[Socket]) -> None:
        """Show where the story is, and wait for Enter. At the end of the input it goes on by itself."""
        lines = [*self._greeting, "", *(f"    {told_socket(row)}" for row in sockets)]
        self._greeting = []
        if not terminal.ask("\n".join([*lines, f"{actor}, {step}: goes on. Enter: "])):
            terminal.say("")
