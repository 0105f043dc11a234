"""Make the examples of pasted text in this folder: play the stories of five faults, and run the commands in their labs.

python -m tests.pasted.make                  writes NAME/first.txt and NAME/second.txt for each fault
python -m tests.pasted.make --moments        prints the moments at which the stories rest, to choose from
"""

import os
import sys
import tempfile
from pathlib import Path

from harness.lessons import lessons
from tests.playing import run_pytest

HERE = Path(__file__).parent
SYSCTLS = "ip_local_port_range ip_local_reserved_ports tcp_tw_reuse tcp_timestamps"
COMMANDS = ("ss -tanpeimo", "nstat -as", f"sysctl {' '.join(f'net.ipv4.{key}' for key in SYSCTLS.split())}")
WITH_NETSTAT = ("ss -tanpeimo", "netstat -s")

FAULTS = {
    "full_accept_queue": (WITH_NETSTAT, 4, 5),
    "close_wait_without_owner": (COMMANDS, 6, 7),
    "close_wait_piles_up": (WITH_NETSTAT, 20, 23),
    "time_wait_port_exhaustion": (COMMANDS, 13, 14),
    "reader_stops": (COMMANDS, 3, 4),
}
"""By the lesson's name: the commands, and the numbers of the two moments at which they are run."""


def looks(name: str, folder: Path) -> list[str]:
    """Play the fault, and return the outputs of its two moments; the steps are in folder/steps."""
    commands, *moments = FAULTS[name]
    os.environ |= {
        "PASTED": str(folder), "COMMANDS": "\n".join(commands), "MOMENTS": " ".join(map(str, moments)),
    }  # fmt: skip
    lesson = lessons.load(name)
    done = run_pytest(Path(f"{lesson.path}::{lesson.fault}"), "-p", "tests.pasted.plugin")
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)
    return [(folder / f"{moment}.txt").read_text() for moment in moments if (folder / f"{moment}.txt").exists()]


def main(arguments: list[str]) -> int:
    """Make all examples; the exit status."""
    for name in FAULTS:
        with tempfile.TemporaryDirectory() as folder:
            texts = looks(name, Path(folder))
            if arguments == ["--moments"]:
                print(f"## {name}", Path(folder, "steps").read_text(), sep="\n")
                continue
        (HERE / name).mkdir(exist_ok=True)
        for file, text in zip(("first.txt", "second.txt"), texts, strict=True):
            (HERE / name / file).write_text("".join(f"{line.rstrip()}\n" for line in text.splitlines()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
