"""What the plugins tests.diagnosis_plugin and tests.pasted.plugin share: the moments at which a lab rests."""

from collections.abc import Callable
from pathlib import Path

from harness.lab.lab import Lab
from harness.story.timeline import Step


def at_each_rest(look: Callable[[Lab, bool], None]) -> None:
    """Call look(lab, whether it is the end) before an actor moves, and before a lab is closed."""
    close = Lab.close

    def about_to_move(lab: Lab, move: object) -> None:
        del move
        look(lab, False)

    def close_watched(lab: Lab) -> None:
        try:
            look(lab, True)
        finally:
            close(lab)

    Lab.about_to_move = about_to_move  # type: ignore[method-assign, assignment]
    Lab.close = close_watched  # type: ignore[method-assign]


def last_step(lab: Lab) -> str:
    """The name of the last step so far; empty before the first one."""
    steps = [event.name for event in lab.timeline.entered() if isinstance(event, Step)]
    return steps[-1] if steps else ""


def inside(lab: Lab) -> list[str]:
    """The beginning of a command that runs on the server's host. Python would take 30 ms more to start than nsenter."""
    pid = str(lab._keeper.place_of("server").pid)
    is_ours = Path(f"/proc/{pid}/ns/user").samefile("/proc/self/ns/user")
    return ["nsenter", *([] if is_ours else ["--user", "--preserve-credentials"]), "--net", "--target", pid]
