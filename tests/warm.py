"""A Python process that has imported what pytest and the project's commands need, and forks for each run.

python -m tests.warm FD FD EXECUTABLE

Most runs that the tests start take less time than Python needs to start and to import. Each run still has a separate
process, with its own arguments, environment, folder and files. It imports the pytest plugins itself, so that pytest can
rewrite their assertions.

The first FD is a channel for requests from one process of the tests. EXECUTABLE is a script that runs its arguments as
Python would, through another fork: tests/warm_client.py asks for that at the second FD, a listening socket. In a run,
EXECUTABLE is sys.executable, with which the run starts its own pytest or workers.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
from pathlib import Path

from _pytest.config import default_plugins

import harness.views
from harness.inside.channel import Channel
from harness.kernel.namespace import die_with_parent

_OURS = ("lab.lab", "lab.nursery", "explain.profile", "lessons.lessons", "runs.record", "runs.compare",
         "explain.explain", "sysctl_files.read")  # fmt: skip

Request = tuple[list[str], str, dict[str, str]]
"""A request: a run's arguments (-m MODULE or -c CODE, and further ones), folder and environment."""


def prepare() -> None:
    """Import everything, and keep the garbage collector from writing to, and so copying, what the forks share."""
    for name in default_plugins:
        importlib.import_module(f"_pytest.{name}")
    for name in _OURS:
        importlib.import_module(f"harness.{name}")
    for module in pkgutil.iter_modules(harness.views.__path__):
        importlib.import_module(f"harness.views.{module.name}")
    for name in ("execnet.gateway", "execnet.gateway_base"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


class Forks:
    """The current runs: the pidfd, the PID and the client of each.

    A client is the writing end of a pipe, or a connection of tests/warm_client.py: if that ends, so does the run.
    """

    def __init__(self, requests: Channel, listener: socket.socket, executable: str) -> None:
        self._requests, self._listener, self._executable = requests, listener, executable
        self._runs: dict[int, tuple[int, int]] = {}
        self._clients: dict[int, int] = {}

    def serve(self) -> list[str]:
        """Fork for each request, and send its client the PID and later the exit status. Returns in the forks."""
        while True:
            ready = select.select([self._requests, self._listener, *self._runs, *self._clients], [], [])[0]
            for each in ready:
                if each in self._runs:
                    self._ended(each)
                elif each in self._clients:
                    os.kill(self._clients.pop(each), signal.SIGKILL)
                elif each in (self._requests, self._listener) and (arguments := self._forked(each)):
                    return arguments

    def _ended(self, pidfd: int) -> None:
        number, asker = self._runs.pop(pidfd)
        _, status = os.waitpid(number, 0)
        with contextlib.suppress(BrokenPipeError):  # the client was interrupted, and has killed it
            os.write(asker, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        self._clients.pop(asker, None)
        os.close(asker)
        os.close(pidfd)

    def _forked(self, source: object) -> list[str] | None:
        """The arguments of the run, in the fork; None in its parent."""
        try:
            (arguments, folder, environment), (*files, asker) = (
                self._requests.receive() if source is self._requests else _received(self._listener.accept()[0])
            )
        except EOFError:
            if source is self._requests:
                sys.exit()
            return None  # the client was killed before its request
        if (number := os.fork()) == 0:
            die_with_parent()
            for standard, file in enumerate(files):
                os.dup2(file, standard)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            sys.executable = self._executable
            return arguments
        try:
            os.write(asker, f"{number}\n".encode())
        except BrokenPipeError:  # the client was interrupted before it knew which process to kill
            os.kill(number, signal.SIGKILL)
        self._runs[os.pidfd_open(number)] = number, asker
        if source is self._listener:
            self._clients[asker] = number
        for file in files:
            os.close(file)
        return None


def _received(connection: socket.socket) -> tuple[Request, list[int]]:
    """A client's request and fds, the last of which is its connection. EOFError if the request is incomplete."""
    begun, files, _, _ = socket.recv_fds(connection, 4096, 3)
    length, _, text = begun.partition(b"\n")
    while len(text) < int(length or 1):
        if not (more := connection.recv(1 << 20)):
            raise EOFError
        text += more
    return tuple(json.loads(text)), [*files, connection.detach()]


def run(arguments: list[str]) -> None:
    """Run the arguments as `python ARGUMENTS` would."""
    how = arguments.index("-m" if "-m" in arguments[:1] else "-c")
    what, sys.argv[1:] = arguments[how + 1], arguments[how + 2 :]
    if arguments[how] == "-m":
        sys.path[0] = str(Path.cwd())
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        sys.path[0], sys.argv[0] = "", "-c"
        exec(what, {"__name__": "__main__"})


if __name__ == "__main__":
    prepare()
    channel, listener = map(int, sys.argv[1:3])
    run(Forks(Channel.from_fd(channel), socket.socket(fileno=listener), sys.argv[3]).serve())
