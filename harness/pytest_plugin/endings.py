"""How a pytest run ends if it is interrupted (Ctrl-C), or if its output cannot be written."""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Generator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest

from harness.output import terminal
from harness.pytest_plugin.verdicts import was_interrupted

__tracebackhide__ = True

_NO_OUTPUT = 74
"""The exit status: EX_IOERR of sysexits.h, as `python -m harness` has it."""


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Ending(config), "lab-ending")


class _Ending:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._session: pytest.Session | None = None
        self._is_interrupted = False
        self._is_settled = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """If the output cannot be written, print one line instead of a traceback."""
        if (failure := _of_the_output(excinfo.value)) and not failure.is_closed_pipe:  # there, pytest ends silently
            self._end(failure)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Once everything is played, let an interrupt set the exit status without preventing files and summary."""
        try:
            return (yield)
        finally:
            self._take_interrupts(session)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        self._take_interrupts(session)
        if self._is_interrupted:  # after the loop, whose status pytest has set meanwhile
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        try:
            return (yield)
        except (OSError, terminal.OutputFailed) as error:
            if not (failure := _of_the_output(error)):
                raise
            if failure.is_closed_pipe:
                raise BrokenPipeError from None
            self._end(failure)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Mark the status as final: from now on an interrupt would only disturb Python's cleanup, with a traceback."""
        self._is_settled = True
        if signal.getsignal(signal.SIGINT) == self._interrupted and not _is_the_program():
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _take_interrupts(self, session: pytest.Session) -> None:
        self._session = session
        with contextlib.suppress(ValueError):  # in a worker's thread, which cannot handle signals
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._interrupted)

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        """Note the first interrupt; a second one, by a user who does not want the summary, ends the run at once."""
        assert self._session
        if self._is_settled or self._is_interrupted or was_interrupted(self._session):
            with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: the interrupt came during a write
                sys.stdout.flush()
            os._exit(pytest.ExitCode.INTERRUPTED)
        self._is_interrupted = True
        self._session.exitstatus = pytest.ExitCode.INTERRUPTED

    def _end(self, failure: terminal.OutputFailed) -> NoReturn:
        terminal.discard()
        self._config.pluginmanager.unregister(name="terminalreporter")  # it cannot write its summary
        pytest.exit(str(failure), returncode=_NO_OUTPUT)


def _of_the_output(error: BaseException) -> terminal.OutputFailed | None:
    """The error as OutputFailed, if writing the output failed, in pytest's terminal writer or in ours."""
    if isinstance(error, terminal.OutputFailed):
        return error
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (
        terminal.OutputFailed(error)
        if isinstance(error, OSError) and Path(last.filename).name == "terminalwriter.py"
        else None
    )


def _is_the_program() -> bool:
    """Whether this process is pytest only: a program that calls pytest.main() continues after it."""
    return any(part in ("pytest", "py.test") for part in Path(sys.argv[0]).parts[-2:])
