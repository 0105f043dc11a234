"""The parent's side of an actor: run a role step by step, and see it block, end or fail."""

import builtins
import contextlib
import errno
import signal
import time
from collections.abc import Callable
from typing import Any

from harness.errors import ExpectationFailed, LabError
from harness.evidence import blocked
from harness.inside.channel import Channel
from harness.inside.reports import Failed, Finished, Reached, Report
from harness.lab.expect import POLL_S, failure, time_limit_s
from harness.lab.program import Move, Process, readable
from harness.story.timeline import Moment, Step

__tracebackhide__ = True

_FIRST_MOVE = 'move it to a step first, e.g. by run_to("listening")'


class Actor(Process):
    """A role in a process of its own. It runs only when a verb of this class resumes it."""

    def __init__(
        self, role: Callable[..., Any], role_arguments: tuple[Any, ...], channel: Channel, *arguments: Any
    ) -> None:
        super().__init__(*arguments)
        self._role = role
        self._role_arguments = role_arguments
        self._line: int | None = None
        self._channel = channel
        self._moving = False
        self._asked_ns = 0
        self.moved = False
        """Whether any verb has resumed it."""
        self._last_step = "(not started)"
        self._moment: Moment | None = None
        self._reached_ns: dict[str, int] = {}
        self._left_ns: dict[str, int] = {}
        self._unread_failure: Failed | None = None
        self._over = False
        self._finished = False

    def run_to(self, step: str, within_s: float | None = None) -> Moment:
        """Resume the role, through any steps before, until it reaches `step`, where it stops.

        Returns the moment when the wire was quiet after that step. ExpectationFailed if the role does not reach the
        step in time, ends before it, or dies.
        """
        what = f"{self.name} reaches step {step!r}"
        passed = list(self._reached_ns)
        report = self._resume_until(what, within_s, step)
        if isinstance(report, Failed):
            raise self._died(report, expected=f"step {step!r}")
        if isinstance(report, Finished):
            steps = ", ".join(map(repr, list(self._reached_ns)[:-1])) or "none"
            raise failure(what, repr(step), f"the role's end; its steps were {steps}{_passed(step, passed)}", 0.0)
        assert self._moment is not None
        return self._moment

    def resume(self) -> None:
        """Resume the role without waiting, for a call that is meant to block."""
        if self._over:
            raise LabError(f"{self.name} has ended. Hint: start another actor")
        if not self._moving:
            self._lab.about_to_move(Move(self.name, self._role, self._role_arguments, self._last_step, self._line))
            self._moving = self.moved = True
            self._asked_ns = time.monotonic_ns()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died: the next wait for it fails
                self._channel.send("resume")

    def stay_blocked(self, in_: str, for_s: float = 0.0) -> None:
        """Resume the role, and expect it to sleep in a system call: accept, connect, recv, send, poll, wait or close.

        A blocked process stays blocked until something else acts or a timer expires. So one look is enough once the
        wire is quiet and every other process of the lab sleeps, too: a server that waits for a processor may still be
        about to answer. For a timer that must not expire, `for_s` keeps looking for that many seconds.
        """
        self.resume()
        deadline = time.monotonic() + self._lab.deadline_s
        acting = self._lab.acting()
        until: float | None = None
        others: list[str] | None = None
        while until is None or time.monotonic() < until:
            if until is None and blocked.same_call(in_, self.blocked_in()):
                others = next(acting)
            seen = self.blocked_in()
            ended_or_stepped = bool(readable(self._channel.fileno(), self._pidfd, within_s=0.0))
            if blocked.same_call(in_, seen) and not ended_or_stepped and others == []:
                until = until or time.monotonic() + for_s
            elif until is not None or ended_or_stepped or time.monotonic() > deadline:
                report = self._received() if ended_or_stepped else None
                raise self._not_blocked(f"asleep in {in_}()", for_s, report, others or [])
            self._lab.drain()
            time.sleep(POLL_S)
        self._lab.record(Step(time.monotonic_ns(), self.name, f"blocked in {in_}"))

    def finish(self, within_s: float | None = None) -> Any:
        """Resume the role until it ends, through any steps, and return its value.

        Its process is gone when this returns, so every fd that it alone held is closed.
        """
        report = self._resume_until(f"{self.name} finishes", within_s)
        if isinstance(report, Failed):
            raise self._died(report)
        assert isinstance(report, Finished)
        return report.value

    def fail_with(self, name: str, within_s: float | None = None) -> None:
        """Resume the role, and expect it to end with this error: an errno (ECONNRESET), else the exception's class."""
        if name not in errno.errorcode.values() and not _is_exception(name):
            raise LabError(f"no error is called {name!r}. Hint: name an errno (ECONNRESET), or an exception's class")
        report = self._resume_until(f"{self.name} fails with {name}", within_s)
        if isinstance(report, Finished):
            raise failure(f"{self.name} fails", name, f"success: it returned {report.value!r}", 0.0)
        assert isinstance(report, Failed)
        if report.name != name:
            raise self._died(report, expected=name)
        self._unread_failure = None

    def elapsed_s(self, since: str, until: str) -> float:
        """Seconds between leaving step `since` and reaching step `until`, by the role's own clock.

        The end of a role is "finished" or "failed". Time spent at either step, waiting for the harness, is not counted.
        """
        for step, times in ((since, self._left_ns), (until, self._reached_ns)):
            if step not in times:
                raise LabError(f"{self.name} has not been through {step!r}. Hint: name one of {list(times)}")
        return (self._reached_ns[until] - self._left_ns[since]) / 1e9

    def raise_unreported_death(self) -> None:
        """ExpectationFailed if it died and no verb has reported it, or if a child that it forked runs on after it."""
        if not self._over and readable(self._channel.fileno(), within_s=0.0):
            self._take(self._received())
        elif self._finished and readable(self._channel.fileno(), within_s=0.0):
            with contextlib.suppress(EOFError):
                report, _ = self._channel.receive()
                assert isinstance(report, Failed)
                self._unread_failure = report
        if self._unread_failure:
            raise self._died(self._unread_failure)

    def kill(self) -> Moment:
        self._over = True
        return super().kill()

    def close(self) -> None:
        self._over = True
        self._channel.close()
        super().close()

    def _resume_until(self, what: str, within_s: float | None, step: str | None = None) -> Report:
        """Resume the role until it reaches `step` or ends, and return its report."""
        limit_s = time_limit_s(within_s, self._lab.deadline_s)
        deadline = time.monotonic() + limit_s
        passed = list(self._reached_ns)
        while True:
            asked = time.monotonic()
            self.resume()
            deadline += time.monotonic() - asked  # a user who steps by hand may take any time (Observer.before_move)
            remaining_s = max(0.0, deadline - time.monotonic())
            if not self._lab.wait_for(self._channel.fileno(), self._pidfd, within_s=remaining_s):
                raise self._hangs(what, limit_s, _passed(step, passed))
            report = self._received()
            self._take(report)
            if not isinstance(report, Reached) or report.step == step:
                return report

    def _received(self) -> Report:
        # The role's last report is in the channel before its process ends, so an empty channel means a sudden death.
        if self._channel.fileno() in readable(self._channel.fileno(), within_s=0.0):
            try:
                report, _ = self._channel.receive()
                assert isinstance(report, Report)
                return report
            except EOFError:
                # A process that ends frees its memory before it closes its fds (kernel/exit.c, do_exit).
                if not blocked.has_ended(self.pid):
                    return self._closed_its_channel()
            except Exception as error:  # a class that exists only in the role's process
                text = f"the role's result cannot be read outside its process: {error}"
                return _failed(type(error).__name__, text, "return plain values (numbers, strings, tuples of them)")
        return self._ended_without_a_report()

    def _closed_its_channel(self) -> Failed:
        self._signal(signal.SIGKILL)
        return _failed(
            "LabError", "it closed the channel to the harness (os.closerange(), exec and the like)",
            "close only what the role has opened, and start a program with lab.run_program()",
        )  # fmt: skip

    def _ended_without_a_report(self) -> Failed:
        status = self._wait_for_end(self._lab.deadline_s)
        if status < 0:
            how, hint = f"signal {signal.Signals(-status).name}", "find what sent it: another actor, or see `dmesg`"
        else:
            how, hint = (
                f"exit status {status}",
                "end a role by return: os._exit() leaves the harness without a result",
            )
        return _failed("death", f"its process ended without a report ({how})", hint)

    def _take(self, report: Report) -> None:
        """Keep a report and add it to the timeline: the report of a role's end once its process is gone."""
        self._moving = False
        self._note_gaps(report)
        self._left_ns[self._last_step] = report.resumed_ns
        self._reached_ns[report.step] = report.time_ns
        detail = ""
        match report:
            case Reached():
                self._last_step, self._line = report.step, report.line
            case Finished():
                self._end()
                self._finished = True
                detail = "" if report.value is None else f"returned {report.value!r}"
            case Failed():
                self._end()
                self._unread_failure = report
                detail = f"{report.name}: {report.text}"
        self._moment = self._lab.record(Step(report.time_ns, self.name, report.step, detail))

    def _note_gaps(self, report: Report) -> None:
        """Note how long it took to resume, and how long it then waited for a processor before its report."""
        between = f"between {self._last_step!r} and {report.step!r}"
        self._lab.note_gap((report.resumed_ns - self._asked_ns) / 1e9, self.name, f"after {self._last_step!r}")
        self._lab.note_gap(self._run_delay.lap_s(), self.name, between)

    def _end(self) -> None:
        self._over = True
        self._wait_for_end(self._lab.deadline_s)

    def _died(self, trouble: Failed, expected: str = "a living role") -> ExpectationFailed:
        self._unread_failure = None
        hint = f"\nHint: {trouble.hint}" if trouble.hint else ""
        if trouble.name == "ECONNREFUSED" and (unmoved := ", ".join(self._lab.never_moved())):
            hint = f"\n{unmoved}: started but never run, so not listening yet. Hint: {_FIRST_MOVE}"
        error = f"{trouble.name}: {trouble.text}" if trouble.text else trouble.name
        seen = f"{error}, after step {self._last_step!r}{hint}\n{trouble.traceback}"
        return failure(f"{self.name} died", expected, f"{seen}{self._output_tail()}", 0.0)

    def _not_blocked(self, expected: str, for_s: float, report: Report | None, others: list[str]) -> ExpectationFailed:
        if report:
            self._take(report)
        match report:
            case Failed():
                return self._died(report, expected)
            case Reached():
                seen = f"step {report.step!r}"
            case _:
                acting = f", but {', '.join(others)} may still act" if others else ""
                what = "the role's end" if report else f"it {self.doing()}{acting}"
                seen = f"{what}, after step {self._last_step!r}"
        return failure(f"{self.name} stays blocked", expected, seen, for_s)

    def _hangs(self, what: str, limit_s: float, passed: str) -> ExpectationFailed:
        where = f"it {self.doing()}"
        self._signal(signal.SIGUSR1)  # faulthandler writes where it is
        self._wait_for_output("File ")
        seen = f"{where}, after step {self._last_step!r}{passed}{self._output_tail()}"
        return failure(what, "in time", seen, limit_s)

    def _wait_for_output(self, text: str) -> None:
        deadline = time.monotonic() + 1
        while text not in self.output() and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _output_tail(self) -> str:
        return f"\nits output:\n{self.output()[-2000:]}" if self.output() else ""


def _is_exception(name: str) -> bool:
    """Whether it is a built-in exception or may be a library's class (xmlrpc.client.Fault): a capital letter first."""
    return hasattr(builtins, name) or (name[:1].isupper() and not name.isupper())


def _failed(name: str, text: str, hint: str) -> Failed:
    """A report of an end that the role itself did not report."""
    now = time.monotonic_ns()
    return Failed(now, now, name, text, "", hint=hint)


def _passed(step: str | None, passed: list[str]) -> str:
    """What to add to a failure if a verb waits for a step that the role has already passed."""
    if step not in passed:
        return ""
    return f"; it had already passed {step!r}. Hint: run_to() waits until the role reaches it again; name a later step"


def check_role(role: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """LabError unless `role` is a generator function at the top level of its file that takes these arguments."""
    import inspect

    name = getattr(role, "__qualname__", repr(role))
    if inspect.isgenerator(role):
        raise LabError(
            f"{name}(...) was called. Hint: give the function and its arguments separately: lab.start({name}, ...)"
        )
    if not inspect.isgeneratorfunction(role):
        raise LabError(f"{name} is not a role: it is not a generator function. Hint: `yield` the name of a step in it")
    if "<" in name:
        raise LabError(f"another process cannot import {name}. Hint: define it at the top level of its file")
    takes = inspect.signature(role)
    try:
        takes.bind(*arguments)
    except TypeError as error:
        raise LabError(
            f"{name}() does not take these arguments: {error}. Hint: its signature is {name}{takes}"
        ) from None
