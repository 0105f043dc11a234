"""Workers for pytest that are forks of the process that has collected the tests.

A what-if plays each story several times, and many of its plays wait for the kernel's timers. An xdist worker would
import and collect everything again (0.9 s of processor time). A fork need not, so there can be many of them.
"""

import gc
import os
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import NoReturn

import pytest

from harness.kernel.namespace import die_with_parent

__tracebackhide__ = True

_FOR_ONE_PROCESS = ("terminalreporter", "lab-recorder")
"""Plugins that need every report, so they run only in the process that collects all reports."""


def run(
    session: pytest.Session, count: int, next_item: Callable[[], int | None], played: Callable[[int], None]
) -> None:
    """Play items of the session in `count` forks, and pass their reports to this process's plugins.

    `next_item` returns the index of the next item, or None if none can start before another has ended. `played` is
    called with the index of each item that has ended. RuntimeError if a fork dies.
    """
    gc.freeze()  # the garbage collector would write into every object, and so copy every page
    workers = [_started(session) for _ in range(count)]
    idle, busy = [connection for _, connection in workers], dict[Connection, int]()
    while True:
        while idle and (index := next_item()) is not None:
            idle[-1].send(index)
            busy[idle.pop()] = index
        if not busy:
            break
        for connection in wait(list(busy)):
            assert isinstance(connection, Connection)
            if (report := _received(connection, session.items[busy[connection]])) is not None:
                hook = session.config.hook
                hook.pytest_runtest_logreport(
                    report=hook.pytest_report_from_serializable(config=session.config, data=report)
                )
            else:
                played(busy.pop(connection))
                idle.append(connection)
    for pid, connection in workers:
        connection.send(None)
        os.waitpid(pid, 0)


def _received(connection: Connection, item: pytest.Item) -> object:
    """A report as plain data, or None once the item has been played."""
    try:
        return connection.recv()
    except (EOFError, ConnectionResetError):
        raise RuntimeError(f"a worker died while it played {item.nodeid}") from None


def _started(session: pytest.Session) -> tuple[int, Connection]:
    ours, theirs = Pipe()
    if (pid := os.fork()) == 0:
        die_with_parent()
        ours.close()
        _work(session, theirs)
    theirs.close()
    return pid, ours


def _work(session: pytest.Session, connection: Connection) -> NoReturn:
    """Play the items whose indices arrive, until None arrives. The stories' own output is discarded.

    `workerinput` tells the other plugins that this process is a worker, so that its labs also end with its parent.
    """
    status = 1
    try:
        config = session.config
        config.workerinput = {}  # type: ignore[attr-defined]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        for name in _FOR_ONE_PROCESS:
            if config.pluginmanager.has_plugin(name):
                config.pluginmanager.unregister(name=name)
        config.pluginmanager.register(_Sender(config, connection))
        while (index := connection.recv()) is not None:
            config.hook.pytest_runtest_protocol(item=session.items[index], nextitem=None)
            connection.send(None)
        status = 0
    finally:
        os._exit(status)


class _Sender:
    def __init__(self, config: pytest.Config, connection: Connection) -> None:
        self._config, self._connection = config, connection

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send the report to the process that has collected the tests."""
        self._connection.send(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))
