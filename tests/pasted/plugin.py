"""A plugin of pytest (-p tests.pasted.plugin): runs commands in a lab's network whenever the lab rests.

$PASTED is a folder, in which the outputs of each moment are written as 0.txt, 1.txt and so on, as a user would paste
them: each command after a prompt, and what it prints. $COMMANDS has one command in each line; $MOMENTS the numbers of
the moments in question, so that nothing delays the story at the others.
"""

import os
import subprocess
import sys
from pathlib import Path

from harness.errors import LabError
from harness.lab.lab import Lab
from harness.story.timeline import Step
from tests.playing import GENEROUS_S

FOLDER = Path(os.environ["PASTED"])
COMMANDS = os.environ["COMMANDS"].splitlines()
MOMENTS = os.environ["MOMENTS"].split()
_count = 0


def _entering(pid: int) -> list[str]:
    """The beginning of a command that runs in the network of a process, whose user namespace may be our own."""
    if os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user"):
        return ["nsenter", f"--net=/proc/{pid}/ns/net"]
    return [sys.executable, "-m", "harness.inside.enter", str(pid)]


def _look(lab: Lab) -> None:
    global _count
    name, _count = str(_count), _count + 1
    steps = [event for event in lab.timeline.entered() if isinstance(event, Step)]
    with open(FOLDER / "steps", "a") as file:
        print(name, steps[-1].name if steps else "", file=file)
    if name not in MOMENTS:
        return
    try:
        lab._watch.settle()
    except LabError:
        return
    script = "".join(f"echo '$ {command}'; {command} 2>&1; " for command in COMMANDS)
    done = subprocess.run(
        [*_entering(lab._keeper.pid), "sh", "-c", script],
        capture_output=True, text=True, timeout=GENEROUS_S,
    )  # fmt: skip
    assert done.stdout, done.stderr
    (FOLDER / f"{name}.txt").write_text(done.stdout)


def _about_to_move(lab: Lab, move: object) -> None:
    del move
    _look(lab)


Lab.about_to_move = _about_to_move  # type: ignore[method-assign, assignment]
_close = Lab.close


def _close_watched(lab: Lab) -> None:
    try:
        _look(lab)
    finally:
        _close(lab)


Lab.close = _close_watched  # type: ignore[method-assign]
