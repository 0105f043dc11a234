"""A Python that has imported what pytest and our commands need, and forks for each run: python -m tests.warm FD.

Most runs that the tests start take less time than Python needs to start and to import. Each run has a process of its
own all the same, with its own arguments, environment, folder and files; and it imports the plugins of pytest itself, as
pytest then rewrites their assertions.
"""

import contextlib
import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import sys

from _pytest.config import default_plugins

import harness.views
from harness.channel import Channel
from harness.kernel.namespace import die_with_parent

_OURS = ("lab", "nursery", "profile", "lessons", "record", "compare", "stepping", "tuning.explain", "tuning.read")


def prepare() -> None:
    """Import it; and let no collection of garbage touch, and so copy, what the forks share."""
    for name in default_plugins:
        importlib.import_module(f"_pytest.{name}")
    for name in _OURS:
        importlib.import_module(f"harness.{name}")
    for module in pkgutil.iter_modules(harness.views.__path__):
        importlib.import_module(f"harness.views.{module.name}")
    gc.collect()
    gc.freeze()


class Forks:
    """The runs that are under way: the pidfd, the number and the asker (the pipe to it) of each."""

    def __init__(self, requests: Channel) -> None:
        self._requests = requests
        self._runs: dict[int, tuple[int, int]] = {}

    def serve(self) -> tuple[str, list[str]]:
        """Fork for each request, tell its asker the process's number, and later its exit status. Returns in forks."""
        while True:
            for fd in select.select([self._requests, *self._runs], [], [])[0]:
                if fd is not self._requests:
                    self._ended(fd)
                elif request := self._forked():
                    return request

    def _ended(self, pidfd: int) -> None:
        number, asker = self._runs.pop(pidfd)
        _, status = os.waitpid(number, 0)
        with contextlib.suppress(BrokenPipeError):  # the asker was interrupted, and has killed it
            os.write(asker, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os.close(asker)
        os.close(pidfd)

    def _forked(self) -> tuple[str, list[str]] | None:
        """What is to be run, in the fork; nothing in its parent."""
        try:
            (module, arguments, folder, environment), fds = self._requests.receive()
        except EOFError:
            sys.exit()
        *files, asker = fds
        if (number := os.fork()) == 0:
            die_with_parent()
            for standard, file in enumerate(files):
                os.dup2(file, standard)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            sys.path[0] = folder
            return module, arguments
        try:
            os.write(asker, f"{number}\n".encode())
        except BrokenPipeError:  # the asker was interrupted before it knew whom to kill
            os.kill(number, signal.SIGKILL)
        self._runs[os.pidfd_open(number)] = number, asker
        for file in files:
            os.close(file)
        return None


if __name__ == "__main__":
    prepare()
    module, sys.argv[1:] = Forks(Channel.from_fd(int(sys.argv[1]))).serve()
    runpy.run_module(module, run_name="__main__", alter_sys=True)
