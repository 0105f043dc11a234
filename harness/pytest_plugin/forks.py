"""pytest's side: workers that are forks of the process that has collected.

A what-if plays each story several times, and many of its plays wait for the kernel's timers. A worker of xdist would
import and collect everything anew (0.9 s of processor time); a fork has it already, so there can be many of them.
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
"""Plugins that are told of every report: in the process that has them all."""


def run(
    session: pytest.Session, count: int, next_item: Callable[[], int | None], played: Callable[[int], None]
) -> None:
    """Play items of the session in `count` forks, and hand their reports to this process's plugins.

    `next_item` gives the index of the next item, or None if none can be started before another has been played;
    `played` is told of each that has been. RuntimeError if a fork dies.
    """
    gc.freeze()  # the collector would write into each object, and so copy each page
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
    """Play what is asked for, until that is None. What stories print goes nowhere: pytest does not capture it.

    `workerinput` is what makes a worker of a process for the other plugins: its labs end with its parent, too.
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
        """So that the process that has collected sees it."""
        self._connection.send(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))
