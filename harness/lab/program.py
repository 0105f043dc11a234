"""A process inside a lab, as the harness sees it from outside, and the real programs among them."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from harness.errors import LabError
from harness.evidence import blocked
from harness.evidence.starvation import RunDelay
from harness.lab import expect
from harness.lab.asking import KeeperHandle
from harness.lab.expect import POLL_S, failure, time_limit_s
from harness.lab.nursery import pid_of
from harness.story.timeline import Change, Moment, Step

__tracebackhide__ = True


class Move(NamedTuple):
    """An actor that is about to be resumed from a step, at this line of its source, or (None) from its start."""

    actor: str
    role: Callable[..., Any]
    arguments: tuple[Any, ...]
    step: str
    line: int | None


class LabForProcess(Protocol):
    """What a process needs from its lab: methods of recorder.Recorder and of Lab."""

    deadline_s: float

    def record(self, entry: Step | Change) -> Moment:
        """Wait until the wire is quiet, then add one entry to the timeline."""

    def wait_for(self, *fds: int, within_s: float) -> list[int]:
        """The readable ones of `fds`, as soon as there is one; the capture is drained meanwhile."""

    def note_gap(self, seconds: float, who: str, when: str) -> None:
        """Note that a process waited this long for a processor: the longest such gap is kept."""

    def drain(self) -> None:
        """Take what was captured so far out of the ring, for loops that do not wait in wait_for()."""

    def acting(self) -> Iterator[list[str]]:
        """The programs that may act without being woken, anew at each next()."""

    def never_moved(self) -> list[str]:
        """The names of the actors that have never been resumed."""

    def about_to_move(self, move: Move) -> None:
        """Called before an actor is resumed, so that a user who steps by hand can look."""


class Process:
    """A process inside the lab: a role or a real program."""

    def __init__(
        self, name: str, lab: LabForProcess, keeper: KeeperHandle, inner_pid: int, pidfd: int, output: int
    ) -> None:
        self.name = name
        self._lab = lab
        self._keeper = keeper
        self._inner_pid = inner_pid
        self._pidfd = pidfd
        self._output = output
        self.pid = pid_of(pidfd)
        """The process's PID on the host."""
        self._run_delay = RunDelay(self.pid)

    def output(self) -> str:
        """Everything that it and its children have written to stdout and stderr so far."""
        size = os.fstat(self._output).st_size
        return os.pread(self._output, size, 0).decode(errors="replace")

    def blocked_in(self) -> str | None:
        """The kernel's name of the system call that its main thread sleeps in; None while it runs."""
        return blocked.blocked_in(self.pid)

    def doing(self) -> str:
        """What its main thread does, in words: "runs", "sleeps in accept4()", or "is stopped"."""
        if blocked.is_stopped(self.pid):
            return "is stopped"
        call = self.blocked_in()
        return f"sleeps in {call}()" if call else "runs"

    def stop(self) -> Moment:
        """Send SIGSTOP, and wait until it is stopped: from then on only the kernel acts on its sockets."""
        self._signal(signal.SIGSTOP)
        stopped = f"{self.name} is stopped"
        expect.poll(stopped, True, self._is_stopped, self._lab.deadline_s)
        return self._lab.record(Change(time.monotonic_ns(), stopped))

    def resume_process(self) -> Moment:
        """Send SIGCONT, after stop()."""
        self._signal(signal.SIGCONT)
        return self._lab.record(Change(time.monotonic_ns(), f"{self.name} is resumed"))

    def kill(self) -> Moment:
        """Send SIGKILL, and wait until it is gone: the kernel has then closed every fd that it alone held."""
        self._signal(signal.SIGKILL)
        self._wait_for_end(self._lab.deadline_s)
        return self._lab.record(Change(time.monotonic_ns(), f"{self.name} is killed"))

    def _is_stopped(self) -> bool:
        if self._has_ended():
            raise LabError(f"{self.name} has ended. Hint: stop it while it runs")
        return blocked.is_stopped(self.pid)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended: the next wait for it notices
            signal.pidfd_send_signal(self._pidfd, number)

    def _has_ended(self, within_s: float = 0.0) -> bool:
        return self._lab.wait_for(self._pidfd, within_s=within_s) == [self._pidfd]

    def _wait_for_end(self, within_s: float) -> int:
        if not self._has_ended(within_s):
            raise failure(f"{self.name} ends", "an ended process", f"it {self.doing()}", within_s)
        self.note_starvation()  # before the process is reaped: after that it cannot be read
        status: int = self._keeper.ask("exit_status", pid=self._inner_pid)
        return status

    def note_starvation(self) -> None:
        """Note how long it has waited for a processor since the last call."""
        self._lab.note_gap(self._run_delay.lap_s(), self.name, "while it ran")

    def close(self) -> None:
        self._run_delay.close()
        for fd in (self._pidfd, self._output):
            os.close(fd)


class Program(Process):
    """A real program: the harness sees its end and keeps its output."""

    def expect_output(self, text: str, within_s: float | None = None) -> None:
        """Wait until it has written `text`."""
        limit_s = time_limit_s(within_s, self._lab.deadline_s)
        deadline = time.monotonic() + limit_s
        while True:
            ended = self._has_ended()  # before reading its output, which is then complete
            if text in self.output():
                return
            if ended or time.monotonic() >= deadline:
                raise failure(f"{self.name} writes", repr(text), repr(self.output()), limit_s)
            self._lab.drain()
            time.sleep(POLL_S)

    def finish(self, within_s: float | None = None) -> int:
        """Wait until it ends, and return its exit status, or -N if signal N ended it."""
        status = self._wait_for_end(time_limit_s(within_s, self._lab.deadline_s))
        self._lab.record(Step(time.monotonic_ns(), self.name, "finished", f"exit status {status}"))
        return status


def readable(*fds: int, within_s: float) -> list[int]:
    """The readable ones of `fds`, as soon as there is one; empty after `within_s` seconds."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    return [fd for fd, _ in poller.poll(max(0.0, within_s) * 1000)]  # a negative timeout would wait for ever
