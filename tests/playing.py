"""Playing a scenario of the tests' own making in a pytest of its own."""

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
"""For what happens at once, and is waited for: no busy machine takes as long, and where it does happen nobody waits."""

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
"""The beginning of a script: there, the limits on namespaces and the mounts are the script's own to change."""


def scenario_file(name: str) -> Path:
    """The file of the scenario of that name, whichever theme it belongs to."""
    [path] = (ROOT / "scenarios").glob(f"*/{name}.py")
    return path


def pytest_command(path: Path, *arguments: str) -> list[str]:
    """The command that plays one file, wherever it lies, as if it lay in scenarios/."""
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(path.parent), "-p", "harness.pytest_plugin"]
    return [sys.executable, "-m", "pytest", *settings, str(path), *arguments]


def clean_environment() -> dict[str, str]:
    """Ours, less what would reach into a pytest inside a pytest, or a make inside a make."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MAKE", "ARGS"))
    }
    return environment | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def run_pytest(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Play one file to its end; what pytest printed, and its exit status."""
    return run_module("pytest", *pytest_command(path, *arguments)[3:], folder=Path.cwd())


def run_module(
    name: str, *arguments: str, folder: Path = ROOT, answer: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """What `python -m NAME ARGUMENTS` prints, and its exit status.

    `environment` is added to a clean one. A Python that is warm runs it (tests/warm.py); where variables that Python
    reads when it starts are among those added, a new one does.
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
            except BaseException:  # a time limit, Ctrl-C
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
"""`-u -c` begins a worker of pytest-xdist. What imports nothing of pytest, such as the helper, is sooner without it."""


class WarmPython:
    """Runs modules. This process has at most one, started when it is first needed.

    `executable` may take the place of sys.executable in a command, if variables that Python reads when it starts are as
    in clean_environment(), and the standard files are open.
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
