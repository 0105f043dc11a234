"""Plays scenarios that tests have written, in a separate pytest process."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.inside.channel import Channel

ROOT = Path(__file__).parent.parent
Play = Callable[..., subprocess.CompletedProcess[str]]

GENEROUS_S = 120.0
"""Seconds to wait for what happens at once: longer than any busy machine takes, and reached only by a failure."""

AS_ROOT_OF_A_USER_NAMESPACE = """
import ctypes, os, signal, subprocess, sys, time
from pathlib import Path
from harness.kernel import namespace

uid, gid = os.geteuid(), os.getegid()
namespace.unshare(namespace.CLONE_NEWUSER | namespace.CLONE_NEWNS)
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
"""
"""The beginning of a script, after which the script may change its limits on namespaces and its mounts."""


def scenario_file(name: str) -> Path:
    """The file of the scenario with that name, in any theme."""
    [path] = (ROOT / "scenarios").glob(f"*/{name}.py")
    return path


def pytest_command(path: Path, *arguments: str) -> list[str]:
    """The command that plays a file from any folder as if it were in scenarios/."""
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(path.parent), "-p", "harness.pytest_plugin"]
    return [sys.executable, "-m", "pytest", *settings, str(path), *arguments]


def clean_environment() -> dict[str, str]:
    """This process's environment without variables that would affect a nested pytest or make."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MAKE", "ARGS"))
    }
    return environment | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def run_pytest(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Play one file to its end; returns pytest's output and exit status."""
    return run_module("pytest", *pytest_command(path, *arguments)[3:], folder=Path.cwd())


def run_module(
    name: str, *arguments: str, folder: Path = ROOT, answer: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m NAME ARGUMENTS`; returns its output and exit status.

    `environment` is added to a clean one. A warm Python runs it (tests/warm.py), or a new one if a variable that Python
    reads at its start is added.
    """
    if any(variable.startswith(("PYTHON", "LC_")) for variable in environment or {}):
        return subprocess.run(
            [sys.executable, "-m", name, *arguments], cwd=folder, input=answer, capture_output=True, text=True,
            errors="surrogateescape", env=clean_environment() | (environment or {}),
        )  # fmt: skip
    (answers, told), *printed = pipes = [os.pipe() for _ in range(3)]
    with tempfile.TemporaryFile("w+") as stdin, ThreadPoolExecutor(2) as readers:
        stdin.write(answer)
        stdin.seek(0)
        request = ["-m", name, *arguments], str(folder), clean_environment() | (environment or {})
        WarmPython.one().run(request, (stdin.fileno(), *(end for _, end in printed), told))
        for _, end in pipes:
            os.close(end)
        texts = [readers.submit(_read, end) for end, _ in printed]
        with open(answers) as lines:
            number = int(lines.readline())
            try:
                status = int(lines.readline())
            except BaseException:  # a timeout, Ctrl-C
                os.kill(number, signal.SIGKILL)
                raise
        stdout, stderr = (text.result() for text in texts)
    return subprocess.CompletedProcess(["python", "-m", name, *arguments], status, stdout, stderr)


def _read(fd: int) -> str:
    with open(fd, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


_starting = threading.Lock()

EXECUTABLE = """#!/bin/sh
case "$1 $2" in
"-m pytest" | "-m harness" | "-u -c") exec {python} -I -S {client} {path} "$@" ;;
*) exec {python} "$@" ;;
esac
"""
"""A stand-in for sys.executable. `-u -c` starts an xdist worker; processes that do not import pytest start faster
without the warm Python."""


class WarmPython:
    """A warm Python that runs modules. This process starts at most one, when it is first needed.

    `executable` may replace sys.executable in a command, if the variables that Python reads at its start are as in
    clean_environment(), and if the standard files are open.
    """

    _one: "WarmPython | None" = None

    @classmethod
    def one(cls) -> "WarmPython":
        with _starting:
            cls._one = cls._one or cls()
        return cls._one

    @classmethod
    def end(cls) -> None:
        if cls._one:
            cls._one.close()

    def __init__(self) -> None:
        self._requests, theirs = Channel.pair()
        self._folder = tempfile.TemporaryDirectory()
        self.executable = f"{self._folder.name}/python"
        names = {
            "python": sys.executable,
            "client": f"{ROOT}/tests/warm_client.py",
            "path": f"{self._folder.name}/asked",
        }
        Path(self.executable).write_text(EXECUTABLE.format(**{name: shlex.quote(each) for name, each in names.items()}))
        Path(self.executable).chmod(0o700)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(names["path"])
            listener.listen(64)
            fds = theirs.fileno(), listener.fileno()
            command = [sys.executable, "-m", "tests.warm", *map(str, fds), self.executable]
            self._process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), pass_fds=fds)
        theirs.close()

    def close(self) -> None:
        self._requests.close()
        self._process.wait()
        self._folder.cleanup()

    def run(self, request: tuple[list[str], str, dict[str, str]], fds: tuple[int, ...]) -> None:
        self._requests.send(request, fds)
