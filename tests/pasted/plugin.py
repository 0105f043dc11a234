"""A plugin of pytest (-p tests.pasted.plugin): runs commands in a lab's network whenever the lab rests.

$PASTED is a folder, in which the outputs of each moment are written as 0.txt, 1.txt and so on, as a user would paste
them: each command after a prompt, and what it prints. $COMMANDS has one command in each line; $MOMENTS the numbers of
the moments in question, so that nothing delays the story at the others.
"""

import os
import subprocess
from pathlib import Path

from harness.errors import LabError
from harness.lab.lab import Lab
from tests.moments import at_each_rest, inside, last_step
from tests.playing import GENEROUS_S

FOLDER = Path(os.environ["PASTED"])
COMMANDS = os.environ["COMMANDS"].splitlines()
MOMENTS = os.environ["MOMENTS"].split()
_count = 0


def _look(lab: Lab, at_the_end: bool) -> None:
    del at_the_end
    global _count
    name, _count = str(_count), _count + 1
    with open(FOLDER / "steps", "a") as file:
        print(name, last_step(lab), file=file)
    if name not in MOMENTS:
        return
    try:
        lab._watch.settle()
    except LabError:
        return
    script = "".join(f"echo '$ {command}'; {command} 2>&1; " for command in COMMANDS)
    done = subprocess.run([*inside(lab), "sh", "-c", script], capture_output=True, text=True, timeout=GENEROUS_S)
    assert done.stdout, done.stderr
    (FOLDER / f"{name}.txt").write_text(done.stdout)


at_each_rest(_look)
