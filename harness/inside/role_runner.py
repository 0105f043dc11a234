"""The child's side of an actor: drive a role from step to step, and say how it ended.

A role is a generator function of ordinary socket code; a `yield` names a step.
"""

import errno
import faulthandler
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from harness.channel import Channel
from harness.inside.reports import Failed, Finished, Reached

_TRACEBACK_LIMIT = 10_000
_COMM_BYTES = 15  # TASK_COMM_LEN less the final NUL


def become_actor(channel_fd: int, output_fd: int, title: str) -> None:
    """Keep the channel and the output, drop every other fd: inherited fds are a fault that the lab studies."""
    for standard, fd in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output_fd), (2, output_fd)):
        os.dup2(fd, standard)
    os.closerange(3, channel_fd)
    os.closerange(channel_fd + 1, os.sysconf("SC_OPEN_MAX"))
    Path("/proc/self/comm").write_bytes(title.encode()[:_COMM_BYTES])
    os.setsid()
    sys.stdout = open(1, "w", buffering=1, closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    faulthandler.register(signal.SIGUSR1, sys.stderr)  # the harness asks a hanging role where it is


def run(channel: Channel, role: Callable[..., object], arguments: tuple[object, ...]) -> int:
    """Go one step for each word from the channel, and report it there; the exit status."""
    went_on = 0
    try:
        channel.receive()
        went_on = time.monotonic_ns()
        steps = iter(role(*arguments))  # type: ignore[call-overload]
        while True:
            step = next(steps)
            if not isinstance(step, str):
                raise TypeError(f"a role yields the name of a step, not {step!r}. Hint: yield a string")
            channel.send(Reached(went_on, time.monotonic_ns(), step))
            channel.receive()
            went_on = time.monotonic_ns()
    except StopIteration as end:
        return _finish(channel, Finished(went_on, time.monotonic_ns(), end.value))
    except EOFError:
        return 1
    except BaseException as error:
        at = time.monotonic_ns()
        number = error.errno if isinstance(error, OSError) else None
        name = errno.errorcode.get(number or 0, type(error).__name__)
        return _finish(channel, Failed(went_on, at, name, str(error), _role_traceback(error)))


def _finish(channel: Channel, report: Finished | Failed) -> int:
    try:
        channel.send(report)
    except Exception as error:
        text = f"the role's result cannot be sent: {error}"
        channel.send(Failed(report.went_on_ns, report.time_ns, type(error).__name__, text, ""))
    return 0


def _role_traceback(error: BaseException) -> str:
    """The traceback from the role's own first frame on."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))[-_TRACEBACK_LIMIT:]
