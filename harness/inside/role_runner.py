"""The child's side of an actor: run a role from step to step, and report how it ended.

A role is a generator function of ordinary socket code; a `yield` names a step.
"""

import contextlib
import errno
import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import GeneratorType
from typing import NoReturn

from harness.inside.channel import Channel
from harness.inside.reports import Failed, Finished, Reached, Report

_TRACEBACK_LIMIT = 10_000
_COMM_BYTES = 15  # TASK_COMM_LEN less the final NUL
_NAMES_OF_ENDS = ("finished", "failed", "killed")


def become_actor(channel_fd: int, output_fd: int) -> None:
    """Keep the channel and the output, and close every other fd: an inherited fd is one of the lab's faults."""
    for standard, fd in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output_fd), (2, output_fd)):
        os.dup2(fd, standard)
    os.closerange(3, channel_fd)
    os.closerange(channel_fd + 1, os.sysconf("SC_OPEN_MAX"))
    os.setsid()
    sys.stdout = open(1, "w", buffering=1, closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    faulthandler.register(signal.SIGUSR1, sys.stderr)  # the harness asks a hanging role for its traceback
    faulthandler.enable(sys.stderr)  # and a role that crashes prints its own


def set_title(title: str) -> None:
    """Name this process, for `ss`, `ps` and the transcript; the kernel keeps the first 15 bytes."""
    Path("/proc/self/comm").write_bytes(title.encode()[:_COMM_BYTES])


class _HarnessGone(BaseException):
    """The harness has gone. (Not EOFError, which a role itself may raise.)"""


class _Line:
    """The actor's end of the channel, for the process that began the role."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self._inode = os.fstat(channel.fileno()).st_ino

    def wait(self) -> int:
        """Wait until the harness resumes the role, and return that time."""
        try:
            self._channel.receive()
        except EOFError:
            raise _HarnessGone from None
        return time.monotonic_ns()

    def report(self, report: Report) -> None:
        """Send a report. It does not return in a child of the role, nor if the role has closed the channel."""
        if os.getpid() != self._pid:
            self._end_both(report)
        while not self._is_open():  # the harness sees the other end closed and this process alive: it knows the cause
            signal.pause()
        self._channel.send(report)

    def _is_open(self) -> bool:
        """Whether the fd is still the channel: the role may have closed it, and got its number for another file."""
        try:
            return os.fstat(self._channel.fileno()).st_ino == self._inode
        except OSError:
            return False

    def _end_both(self, report: Report) -> NoReturn:
        """End this process, a child of the role, and the role: two processes cannot both be one actor."""
        reached = f"{report.name}: {report.text}" if isinstance(report, Failed) else f"step {report.step!r}"
        if self._is_open():
            self._channel.send(
                Failed(
                    report.resumed_ns, report.time_ns, "LabError",
                    f"it forked, and both processes run on: the child reached {reached}", "",
                    hint="end the child with os._exit(), or by exec, before the role's next step",
                )
            )  # fmt: skip
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os._exit(1)


def run(channel: Channel, role: Callable[..., object], arguments: tuple[object, ...]) -> int:
    """Run one step for each message from the channel, and report it there; returns the exit status."""
    line = _Line(channel)
    resumed_ns = 0
    try:
        resumed_ns = line.wait()
        steps = iter(role(*arguments))  # type: ignore[call-overload]
        while True:
            step = _checked(next(steps))
            line.report(Reached(resumed_ns, time.monotonic_ns(), step, _line_of(steps)))
            resumed_ns = line.wait()
    except _HarnessGone:
        return 1
    except StopIteration as end:
        _finish(line, Finished(resumed_ns, time.monotonic_ns(), end.value))
    except BaseException as error:
        at = time.monotonic_ns()
        number = error.errno if isinstance(error, OSError) else None
        name = errno.errorcode.get(number or 0, type(error).__name__)
        hint = "return from the role: sys.exit() is an exception here" if isinstance(error, SystemExit) else ""
        _finish(line, Failed(resumed_ns, at, name, str(error), _role_traceback(error), hint=hint))
    return 0


def _line_of(steps: Iterator[object]) -> int:
    """The line of the yield where a role waits: in the innermost generator, if it delegates to one in the same file."""
    line, file = 0, None
    inner: object = steps
    while isinstance(inner, GeneratorType) and inner.gi_frame and file in (None, inner.gi_code.co_filename):
        line, file = inner.gi_frame.f_lineno, inner.gi_code.co_filename
        inner = inner.gi_yieldfrom
    return line


def _checked(step: object) -> str:
    """The name of a step as a plain string: another process does not know the role's own subclasses of str."""
    if not isinstance(step, str):
        raise TypeError(f"a role yields the name of a step, not {step!r}. Hint: yield a string")
    if step in _NAMES_OF_ENDS:
        raise ValueError(f"{step!r} is reserved for a role's end. Hint: give the step another name")
    return str.__str__(step)


def _finish(line: _Line, report: Finished | Failed) -> None:
    try:
        line.report(report)
    except Exception as error:
        text = f"the role's result cannot be sent: {error}"
        hint = "return plain values (numbers, strings, tuples of them), and not too many"
        line.report(Failed(report.resumed_ns, report.time_ns, type(error).__name__, text, "", hint=hint))


def _role_traceback(error: BaseException) -> str:
    """The traceback from the role's own first frame on."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))[-_TRACEBACK_LIMIT:]
