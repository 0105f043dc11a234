"""Runs pytest as a child process of a command; it ends with the command, however that ends."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.kernel.namespace import die_with_parent
from harness.output import terminal

_CHECKOUT = Path(__file__).parent.parent.parent
_OURS = ["-c", str(_CHECKOUT / "pyproject.toml"), "--rootdir", str(_CHECKOUT)]
"""Options with which pytest finds this program (`pythonpath`) and no other settings, from any current folder. With -P
(safe path), no module in that folder replaces another."""


def pytest(arguments: Sequence[str]) -> int:
    """Run pytest to its end, with its output on the standard output; returns its exit status.

    It is killed if this process is killed (its workers and labs notice that, and end, too) or interrupted, and if its
    output cannot be written: OutputFailed.
    """
    with _killed_on_error(_started(arguments, subprocess.PIPE if not terminal.is_there() else None, None)) as process:
        while process.stdout and (some := os.read(process.stdout.fileno(), 1 << 16)):
            terminal.pass_on(some)
        return process.wait()


def pytest_kept(arguments: Sequence[str]) -> tuple[int, str]:
    """The same, but with its output captured; returns its exit status and that output."""
    with _killed_on_error(_started(arguments, subprocess.PIPE, None)) as process:
        printed, _ = process.communicate()
        encoding = (sys.stdout and sys.stdout.encoding) or "utf-8"
        return process.returncode, printed.decode(encoding, errors="replace")


def pytest_with_progress(
    arguments: Sequence[str], pipe: tuple[int, int], on_line: Callable[[str], None]
) -> subprocess.CompletedProcess[str]:
    """The same, with its output in `stdout`; `on_line` is called with each line that it writes into the pipe.

    Closes both ends of the pipe.
    """
    reading, writing = pipe
    printed, unfinished = bytearray(), bytearray()
    with open(reading, "rb", buffering=0), _killed_on_error(_quietly(arguments, writing)) as process:
        os.close(writing)
        assert process.stdout
        output = process.stdout.fileno()
        open_ends = {output, reading}
        while open_ends:
            for fd in select.select(list(open_ends), (), ())[0]:
                if not (some := os.read(fd, 1 << 16)):
                    open_ends.discard(fd)
                elif fd == output:
                    printed += some
                else:
                    *lines, unfinished = (unfinished + some).split(b"\n")
                    for line in lines:
                        on_line(line.decode())
        status = process.wait()
    return subprocess.CompletedProcess(process.args, status, printed.decode(errors="replace"))


def _quietly(arguments: Sequence[str], writing: int) -> "subprocess.Popen[bytes]":
    try:
        return _started(arguments, subprocess.PIPE, subprocess.STDOUT, pass_fds=[writing])
    except BaseException:
        os.close(writing)
        raise


def _started(
    arguments: Sequence[str], stdout: int | None, stderr: int | None, pass_fds: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    # preexec_fn is safe: this process has no other threads, which could hold a lock at the fork.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pytest", *_OURS, *arguments],
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        preexec_fn=_leave_interrupts_to_the_command,  # noqa: PLW1509
        env=_environment(),
    )


@contextmanager
def _killed_on_error(process: "subprocess.Popen[bytes]") -> "Iterator[subprocess.Popen[bytes]]":
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _leave_interrupts_to_the_command() -> None:
    """Ignore Ctrl-C, which reaches all processes of the terminal's group: the command kills this one."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _environment() -> dict[str, str]:
    """The environment with the terminal's width, and without the user's pytest options, which may deselect stories."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    return environment | {"COLUMNS": str(terminal.width())}
