"""pytest's side: how a run ends that is interrupted (Ctrl-C), or whose output cannot be written."""

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
        """If it is the output that cannot be written, one line says so, in place of a traceback."""
        if (failure := _of_the_output(excinfo.value)) and not failure.is_closed_pipe:  # pytest ends that in silence
            self._end(failure)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Once all is played, an interrupt is the run's status, and lets files and summary be written."""
        try:
            return (yield)
        finally:
            self._take_interrupts(session)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        self._take_interrupts(session)
        if self._is_interrupted:  # since the loop, whose status pytest has entered meanwhile
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
        """The status is settled, and an interrupt could but end Python's own tidying up, with a traceback of it."""
        self._is_settled = True
        if signal.getsignal(signal.SIGINT) == self._interrupted and not _is_the_program():
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _take_interrupts(self, session: pytest.Session) -> None:
        self._session = session
        with contextlib.suppress(ValueError):  # in a worker's thread, where no signal is handled
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._interrupted)

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        """A second interrupt, of a user who does not want to wait for the summary, ends the run at once."""
        assert self._session
        if self._is_settled or self._is_interrupted or was_interrupted(self._session):
            with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: it is just being written
                sys.stdout.flush()
            os._exit(pytest.ExitCode.INTERRUPTED)
        self._is_interrupted = True
        self._session.exitstatus = pytest.ExitCode.INTERRUPTED

    def _end(self, failure: terminal.OutputFailed) -> NoReturn:
        terminal.discard()
        self._config.pluginmanager.unregister(name="terminalreporter")  # it has nowhere to write its summary to
        pytest.exit(str(failure), returncode=_NO_OUTPUT)


def _of_the_output(error: BaseException) -> terminal.OutputFailed | None:
    """Whether it is pytest's writing to the terminal, or ours, that has failed."""
    if isinstance(error, terminal.OutputFailed):
        return error
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (
        terminal.OutputFailed(error)
        if isinstance(error, OSError) and Path(last.filename).name == "terminalwriter.py"
        else None
    )


def _is_the_program() -> bool:
    """Whether this process is pytest and nothing else: a program that calls pytest.main() goes on after it."""
    return any(part in ("pytest", "py.test") for part in Path(sys.argv[0]).parts[-2:])
