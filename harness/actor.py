"""The parent's side of an actor: drive a role step by step; see it block, end, or fail."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.channel import Channel
from harness.errors import ExpectationFailed, LabError
from harness.evidence import blocked
from harness.expect import POLL_S, failure
from harness.program import Process, readable
from harness.timeline import Moment, Step

__tracebackhide__ = True


@dataclass(frozen=True, slots=True)
class _Failure:
    time_ns: int
    name: str
    text: str
    traceback: str


class Actor(Process):
    """A role under way. It moves only while a verb of this class lets it."""

    def __init__(self, channel: Channel, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._channel = channel
        self._moving = False
        self._last_step = "(not started)"
        self._times_ns: dict[str, int] = {}
        self._unread_failure: _Failure | None = None
        self._over = False

    def run_to(self, step: str, within_s: float | None = None) -> Moment:
        """Let it go on, through any steps before, until it reaches `step`; it stops there.

        The moment returned is when the wire had become quiet after it. ExpectationFailed where the step does not
        come in time, where the role ends before it, or dies.
        """
        limit = within_s or self._lab.deadline_s
        deadline = time.monotonic() + limit
        passed: list[str] = []
        while True:
            message = self._next_message(deadline, limit, f"{self.name} reaches step {step!r}")
            if message[0] == "step":
                reached = self._lab.record(Step(message[1], self.name, message[2]))
                if message[2] == step:
                    return reached
                passed.append(message[2])
            elif message[0] == "finished":
                self._conclude(message)
                steps = ", ".join(map(repr, passed)) or "no step"
                raise failure(f"{self.name} reaches step {step!r}", repr(step), f"the role's end, after {steps}", 0.0)
            else:
                raise self._died(self._conclude(message))

    def resume(self) -> None:
        """Let it go on without waiting: for a call that is meant to block."""
        if self._over:
            raise LabError(f"{self.name} has ended. Mend: start another actor")
        if not self._moving:
            self._moving = True
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
                what = "a step, or its end" if ended_or_stepped else self._whereabouts()
                raise failure(f"{self.name} stays blocked", f"asleep in {in_}()", what, for_s)
            time.sleep(POLL_S)
        self._lab.record(Step(time.monotonic_ns(), self.name, f"blocked in {in_}"))

    def finish(self, within_s: float | None = None) -> Any:
        """Let it go on to its end, through any steps; the role's return value.

        Its process is gone when this returns, so every fd that it alone held is closed.
        """
        limit = within_s or self._lab.deadline_s
        deadline = time.monotonic() + limit
        while True:
            message = self._next_message(deadline, limit, f"{self.name} finishes")
            if message[0] == "step":
                self._lab.record(Step(message[1], self.name, message[2]))
            elif message[0] == "finished":
                self._conclude(message)
                return message[2]
            else:
                raise self._died(self._conclude(message))

    def fail_with(self, name: str, within_s: float | None = None) -> None:
        """Let it go on, and expect it to end with this error: ECONNRESET, or the exception's class where no errno."""
        limit = within_s or self._lab.deadline_s
        deadline = time.monotonic() + limit
        while True:
            message = self._next_message(deadline, limit, f"{self.name} fails with {name}")
            if message[0] == "step":
                self._lab.record(Step(message[1], self.name, message[2]))
                continue
            trouble = self._conclude(message)
            if trouble is None:
                raise failure(f"{self.name} fails", name, f"success: it returned {message[2]!r}", 0.0)
            if trouble.name != name:
                raise self._died(trouble, expected=name)
            self._unread_failure = None
            return

    def elapsed_s(self, since: str, until: str) -> float:
        """Seconds between two of its steps, by its own clock; the end of a role is "finished" or "failed"."""
        for step in (since, until):
            if step not in self._times_ns:
                raise LabError(f"{self.name} has not reached {step!r}. Mend: name one of {list(self._times_ns)}")
        return (self._times_ns[until] - self._times_ns[since]) / 1e9

    def complain(self) -> None:
        """ExpectationFailed if it died and no verb has said so: nothing dies quietly."""
        if not self._over and readable(self._channel.fileno(), within_s=0.0):
            message = self._received()
            if message[0] == "failed":
                self._conclude(message)
        if self._unread_failure:
            raise self._died(self._unread_failure)

    def kill(self) -> Moment:
        self._over = True
        return super().kill()

    def close(self) -> None:
        self._channel.close()
        super().close()

    def _next_message(self, deadline: float, limit_s: float, what: str) -> tuple[Any, ...]:
        if self._over:
            raise LabError(f"{self.name} has ended. Mend: start another actor")
        self.resume()
        remaining_s = max(0.0, deadline - time.monotonic())
        ready = readable(self._channel.fileno(), self._pidfd, within_s=remaining_s)
        if not ready:
            raise self._hangs(what, limit_s)
        message = self._received()
        self._moving = False
        self._times_ns[message[2] if message[0] == "step" else message[0]] = message[1]
        if message[0] == "step":
            self._last_step = message[2]
        return message

    def _received(self) -> tuple[Any, ...]:
        # The role's last message is in the channel before its process ends, so an empty channel means a sudden death.
        if self._channel.fileno() in readable(self._channel.fileno(), within_s=0.0):
            try:
                message, _ = self._channel.receive()
            except EOFError:
                pass
            else:
                assert isinstance(message, tuple)
                return message
        status = self._wait_for_end(self._lab.deadline_s)
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        return ("failed", time.monotonic_ns(), "death", f"its process ended without a word ({how})", "")

    def _conclude(self, message: tuple[Any, ...]) -> _Failure | None:
        self._over = True
        self._wait_for_end(self._lab.deadline_s)
        if message[0] == "finished":
            detail = "" if message[2] is None else f"returned {message[2]!r}"
            self._lab.record(Step(message[1], self.name, "finished", detail))
            return None
        trouble = _Failure(*message[1:])
        self._unread_failure = trouble
        self._lab.record(Step(trouble.time_ns, self.name, "failed", f"{trouble.name}: {trouble.text}"))
        return trouble

    def _died(self, trouble: _Failure | None, expected: str = "a living role") -> ExpectationFailed:
        assert trouble is not None
        self._unread_failure = None
        seen = (
            f"{trouble.name}: {trouble.text}, after step {self._last_step!r}\n{trouble.traceback}{self._output_tail()}"
        )
        return failure(f"{self.name} died", expected, seen, 0.0)

    def _hangs(self, what: str, limit_s: float) -> ExpectationFailed:
        where = self._whereabouts()
        self._keeper.ask("kill", pid=self._inner_pid, number=signal.SIGUSR1)  # faulthandler writes where it is
        self._lab_wait_for("File ")
        return failure(what, "in time", f"{where}, after step {self._last_step!r}{self._output_tail()}", limit_s)

    def _lab_wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 1
        while text not in self.output() and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _output_tail(self) -> str:
        return f"\nits output:\n{self.output()[-2000:]}" if self.output() else ""


def check_role(role: Callable[..., Any]) -> None:
    """LabError where `role` cannot be played: it must be a generator function at the top level of its file."""
    import inspect

    name = getattr(role, "__qualname__", repr(role))
    if not inspect.isgeneratorfunction(role):
        raise LabError(f"{name} is no role: it is not a generator function. Mend: `yield` the name of a step in it")
    if "<" in name:
        raise LabError(f"{name} cannot be found from another process. Mend: define it at the top level of its file")
