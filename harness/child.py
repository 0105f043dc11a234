"""pytest as a child of a command of ours: it ends with the command, however that ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from harness import terminal
from harness.kernel.namespace import die_with_parent


def pytest(arguments: Sequence[str], *, quietly: bool = False) -> subprocess.CompletedProcess[str]:
    """Run it to its end. `quietly`: what it prints is in `stdout`; otherwise it prints that itself.

    It is killed when this process is (its workers and labs see that, and end as well), when this process is
    interrupted, and when what it prints cannot be written: OutputFailed.
    """
    is_piped = quietly or not terminal.is_there()
    # No thread of ours can hold a lock at the fork: there is none.
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *arguments],
        stdout=subprocess.PIPE if is_piped else None,
        stderr=subprocess.STDOUT if quietly else None,
        preexec_fn=_leave_interrupts_to_the_command,  # noqa: PLW1509
        env=_environment(),
    ) as process:
        try:
            printed = _printed(process, quietly=quietly)
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, status, printed)


def _printed(process: subprocess.Popen[bytes], *, quietly: bool) -> str:
    """Everything that it prints into a pipe; or that is passed on, and the command learns that the output is full."""
    kept: list[bytes] = []
    while process.stdout and (some := os.read(process.stdout.fileno(), 1 << 16)):
        if quietly:
            kept.append(some)
        else:
            terminal.pass_on(some)
    return b"".join(kept).decode(errors="replace")


def _leave_interrupts_to_the_command() -> None:
    """Ctrl-C reaches all processes of the terminal's group. This one says nothing of it: the command kills it."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _environment() -> dict[str, str]:
    """Without the user's own options for pytest, which might leave stories out."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
