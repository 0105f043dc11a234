"""The parent's side of an actor: drive a role step by step; see it block, end, or fail."""

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
    """A role under way. It moves only while a verb of this class lets it."""

    def __init__(
        self, role: Callable[..., Any], role_arguments: tuple[Any, ...], channel: Channel, *arguments: Any
    ) -> None:
        super().__init__(*arguments)
        self._role = role
        self._role_arguments = role_arguments
        self._line: int | None = None
        self._channel = channel
        self._moving = False
        self._resumed_ns = 0
        self.moved = False
        """Whether any verb has let it go on."""
        self._last_step = "(not started)"
        self._moment: Moment | None = None
        self._came_ns: dict[str, int] = {}
        self._left_ns: dict[str, int] = {}
        self._unread_failure: Failed | None = None
        self._over = False
        self._finished = False

    def run_to(self, step: str, within_s: float | None = None) -> Moment:
        """Let it go on, through any steps before, until it reaches `step`; it stops there.

        The moment returned is when the wire had become quiet after it. ExpectationFailed where the step does not
        come in time, where the role ends before it, or dies.
        """
        what = f"{self.name} reaches step {step!r}"
        passed = list(self._came_ns)
        report = self._go_on(what, within_s, step)
        if isinstance(report, Failed):
            raise self._died(report, expected=f"step {step!r}")
        if isinstance(report, Finished):
            steps = ", ".join(map(repr, list(self._came_ns)[:-1])) or "none"
            raise failure(what, repr(step), f"the role's end; its steps were {steps}{_passed(step, passed)}", 0.0)
        assert self._moment is not None
        return self._moment

    def resume(self) -> None:
        """Let it go on without waiting: for a call that is meant to block."""
        if self._over:
            raise LabError(f"{self.name} has ended. Hint: start another actor")
        if not self._moving:
            self._lab.about_to_move(Move(self.name, self._role, self._role_arguments, self._last_step, self._line))
            self._moving = self.moved = True
            self._resumed_ns = time.monotonic_ns()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has died: whoever waits for it sees
                self._channel.send("go on")

    def stay_blocked(self, in_: str, for_s: float = 0.0) -> None:
        """Let it go on, and expect it to sleep in one system call (accept, connect, recv, send, poll, or any name).

        Blocked is a state that holds until somebody acts or a timer fires, so one look at a quiet wire is enough;
        `for_s` keeps looking, where the claim is about a timer that must not fire.
        """
        self.resume()
        deadline = time.monotonic() + self._lab.deadline_s
        until = None
        while until is None or time.monotonic() < until:
            seen = self.blocked_in()
            ended_or_stepped = bool(readable(self._channel.fileno(), self._pidfd, within_s=0.0))
            if blocked.same_call(in_, seen) and not ended_or_stepped:
                until = until or time.monotonic() + for_s
            elif until is not None or ended_or_stepped or time.monotonic() > deadline:
                raise self._not_blocked(f"asleep in {in_}()", for_s, self._received() if ended_or_stepped else None)
            self._lab.drain()
            time.sleep(POLL_S)
        self._lab.record(Step(time.monotonic_ns(), self.name, f"blocked in {in_}"))

    def finish(self, within_s: float | None = None) -> Any:
        """Let it go on to its end, through any steps; the role's return value.

        Its process is gone when this returns, so every fd that it alone held is closed.
        """
        report = self._go_on(f"{self.name} finishes", within_s)
        if isinstance(report, Failed):
            raise self._died(report)
        assert isinstance(report, Finished)
        return report.value

    def fail_with(self, name: str, within_s: float | None = None) -> None:
        """Let it go on, and expect it to end with this error: ECONNRESET, or the exception's class where no errno."""
        if name not in errno.errorcode.values() and not _is_exception(name):
            raise LabError(f"no error is called {name!r}. Hint: name an errno (ECONNRESET), or an exception's class")
        report = self._go_on(f"{self.name} fails with {name}", within_s)
        if isinstance(report, Finished):
            raise failure(f"{self.name} fails", name, f"success: it returned {report.value!r}", 0.0)
        assert isinstance(report, Failed)
        if report.name != name:
            raise self._died(report, expected=name)
        self._unread_failure = None

    def elapsed_s(self, since: str, until: str) -> float:
        """Seconds from its going on from one step to its coming to another, by its own clock.

        The end of a role is "finished" or "failed". The time that it stood at a step, waiting for the harness, is not
        counted at either end.
        """
        for step, times in ((since, self._left_ns), (until, self._came_ns)):
            if step not in times:
                raise LabError(f"{self.name} has not been through {step!r}. Hint: name one of {list(times)}")
        return (self._came_ns[until] - self._left_ns[since]) / 1e9

    def complain(self) -> None:
        """ExpectationFailed if it died and no verb has said so, or if its forked child comes back after its end."""
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

    def _go_on(self, what: str, within_s: float | None, step: str | None = None) -> Report:
        """Let it go on until it comes to `step`, or to its end; what it reported there."""
        limit_s = time_limit_s(within_s, self._lab.deadline_s)
        deadline = time.monotonic() + limit_s
        passed = list(self._came_ns)
        while True:
            asked = time.monotonic()
            self.resume()
            deadline += time.monotonic() - asked  # nobody's time: somebody may be looking (Lab.before_move)
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
                # A process that ends gives its memory up before its descriptors (kernel/exit.c, do_exit).
                if not blocked.has_ended(self.pid):
                    return self._closed_its_channel()
            except Exception as error:  # a class that only the role's own process knows
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
            how, hint = f"signal {signal.Signals(-status).name}", "see what sent it: another actor, or `dmesg`"
        else:
            how, hint = (
                f"exit status {status}",
                "a role ends by return; os._exit() leaves the harness without its result",
            )
        return _failed("death", f"its process ended without a report ({how})", hint)

    def _take(self, report: Report) -> None:
        """Keep what a report says, and enter it in the timeline; at an end, when the process is gone."""
        self._moving = False
        self._note_gaps(report)
        self._left_ns[self._last_step] = report.went_on_ns
        self._came_ns[report.step] = report.time_ns
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
        """How long it was kept from going on, and how long it waited for a processor on its way to what it reports."""
        between = f"between {self._last_step!r} and {report.step!r}"
        self._lab.note_gap((report.went_on_ns - self._resumed_ns) / 1e9, self.name, f"after {self._last_step!r}")
        self._lab.note_gap(self._run_delay.lap_s(), self.name, between)

    def _end(self) -> None:
        self._over = True
        self._wait_for_end(self._lab.deadline_s)

    def _died(self, trouble: Failed, expected: str = "a living role") -> ExpectationFailed:
        self._unread_failure = None
        hint = f"\nHint: {trouble.hint}" if trouble.hint else ""
        if trouble.name == "ECONNREFUSED" and (unmoved := ", ".join(self._lab.never_moved())):
            hint = f"\n{unmoved} was started but never moved, so it is not listening. Hint: {_FIRST_MOVE}"
        error = f"{trouble.name}: {trouble.text}" if trouble.text else trouble.name
        seen = f"{error}, after step {self._last_step!r}{hint}\n{trouble.traceback}"
        return failure(f"{self.name} died", expected, f"{seen}{self._output_tail()}", 0.0)

    def _not_blocked(self, expected: str, for_s: float, report: Report | None) -> ExpectationFailed:
        if report:
            self._take(report)
        match report:
            case Failed():
                return self._died(report, expected)
            case Reached():
                seen = f"step {report.step!r}"
            case _:
                what = "the role's end" if report else f"it {self.doing()}"
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
    """Built in, or a class of some library's ("xmlrpc.client" calls one Fault): those begin with a capital letter."""
    return hasattr(builtins, name) or (name[:1].isupper() and not name.isupper())


def _failed(name: str, text: str, hint: str) -> Failed:
    """An end that the role itself did not report."""
    now = time.monotonic_ns()
    return Failed(now, now, name, text, "", hint=hint)


def _passed(step: str | None, passed: list[str]) -> str:
    """What to add to a failure if a verb waits for a step that came before."""
    if step not in passed:
        return ""
    return f"; it had already passed {step!r}. Hint: run_to() waits for the next time; name a later step"


def check_role(role: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """LabError if `role` cannot be played with these arguments.

    It must be a generator function at the top level of its file.
    """
    import inspect

    name = getattr(role, "__qualname__", repr(role))
    if inspect.isgenerator(role):
        raise LabError(
            f"{name}(...) was called. Hint: give the function and its arguments separately: lab.start({name}, ...)"
        )
    if not inspect.isgeneratorfunction(role):
        raise LabError(f"{name} is not a role: it is not a generator function. Hint: `yield` the name of a step in it")
    if "<" in name:
        raise LabError(f"{name} cannot be found from another process. Hint: define it at the top level of its file")
    takes = inspect.signature(role)
    try:
        takes.bind(*arguments)
    except TypeError as error:
        raise LabError(f"{name}() does not take these arguments: {error}. Hint: it is {name}{takes}") from None
