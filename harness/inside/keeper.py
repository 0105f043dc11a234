"""PID 1 of a lab. It sets the namespace up, opens what sees it, starts the actors, and does what needs to be inside.

When it dies, by any cause, the kernel kills every process of its PID namespace (zap_pid_ns_processes).
"""

import contextlib
import fcntl
import os
import pickle
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from harness.channel import Channel
from harness.errors import LabError, LabUnavailable
from harness.evidence import ring, sockets
from harness.inside import role_runner, roles
from harness.inside.network_keeper import NetworkKeeper, Reply, serve
from harness.installed import find_program
from harness.kernel import addresses, namespace, sysctls

_FOLDERS = ("/mnt", "/media", "/srv")
"""One of them becomes the lab's own, where nothing that it needs lies below: /mnt is meant for mounting (FHS, 3.12)."""


def main(channel: Channel, request: dict[str, Any]) -> int:
    """Set up, say so, obey until the channel closes."""
    return serve(channel, lambda: Keeper(**request))


class Keeper(NetworkKeeper):
    """The commands of a lab."""

    def __init__(self, profile: list[sysctls.Setting], host_network: int) -> None:
        super().__init__(profile, host_network)
        self._statuses: dict[int, int] = {}
        self._folder = ""
        self._capture = ring.open_capture()
        self._table = sockets.open_table()
        self._raw = socket.socket(addresses.FAMILY, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def fds(self) -> tuple[int, ...]:
        """The capture, the socket table, a raw socket for provoked segments, the keeper's own pidfd."""
        return self._capture.fileno(), self._table.fileno(), self._raw.fileno(), os.pidfd_open(os.getpid())

    def start_role(self, path: str, role: str, arguments: bytes, title: str) -> Reply:
        """Fork an actor; its channel, its pidfd and its output (a file in memory) are the asker's."""
        roles.load(path)
        found, given = roles.find(path, role), _unpickled(arguments)
        theirs, ours = Channel.pair()
        output = _output_file()
        pid = os.fork()
        if pid == 0:
            try:
                role_runner.become_actor(theirs.fileno(), output, title)
                os._exit(role_runner.run(theirs, found, given))
            except BaseException:  # this must not go on as a second keeper
                traceback.print_exc()
            finally:
                os._exit(1)
        theirs.close()
        return pid, (os.dup(ours.fileno()), os.pidfd_open(pid), output)

    def start_program(self, argv: list[str]) -> Reply:
        """Run a real program inside; its pidfd and its output are the asker's."""
        output = _output_file()
        try:
            pid = os.posix_spawn(
                argv[0],
                argv,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ],
                setsid=True,
                setsigdef=[signal.SIGPIPE],  # Python ignores it, and an ignored signal survives exec
            )
        except OSError as error:
            raise LabUnavailable(f"{argv[0]} does not run: {error.strerror}", "let this user execute it") from None
        return pid, (os.pidfd_open(pid), output)

    def exit_status(self, pid: int) -> Reply:
        """The wait status of a process that has ended; its zombie goes."""
        if pid not in self._statuses:
            self._statuses[pid] = os.waitpid(pid, 0)[1]
        return os.waitstatus_to_exitcode(self._statuses[pid]), ()

    def end(self) -> Reply:
        """Kill and reap whatever is left in the lab: nothing runs any more when this returns.

        The keeper itself goes a little later, when the kernel has waited (RCU) for the capture to be unhooked.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # from PID 1: everybody else in this PID namespace
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        return None, ()

    def folder(self) -> Reply:
        """A file system of the lab's own, mounted when it is first asked for."""
        if not self._folder:
            needed = [os.getcwd(), sys.prefix, sys.base_prefix, *sys.path]
            free = [each for each in _FOLDERS if Path(each).is_dir() and not _is_above(each, needed)]
            try:
                namespace.mount_privately("tmpfs", free[0])
            except (OSError, IndexError) as error:
                raise LabUnavailable(f"no folder of the lab's own: {error}", "mkdir /mnt, or run as root") from None
            self._folder = free[0]
        return self._folder, ()

    def write_file(self, name: str, text: str) -> Reply:
        if name in ("", "..") or name != Path(name).name:
            raise LabError(f"{name!r} is no file name. Hint: name a file of the folder itself")
        folder, _ = self.folder()
        path = Path(str(folder), name)
        path.write_text(text, "utf-8")
        return str(path), ()

    def restore(self) -> Reply:
        """Remove every rule, whether there was one or not."""
        if trouble := _nft("add table inet lab\ndelete table inet lab\n"):
            raise LabError(f"nft fails: {trouble}. Hint: see that drop() came before")
        return None, ()

    def drop(self, match: str) -> Reply:
        """Drop what matches, as one transaction. LabUnavailable where there is no nft at all, LabError for the rule."""
        trouble = _nft(f"{_TABLE}add rule inet lab input {match} counter drop\n")
        if trouble and _nft(_TABLE):
            raise LabUnavailable(f"nft fails here: {trouble}", "load nf_tables, or run on a kernel that has it")
        if trouble:
            raise LabError(f"nft does not understand {match!r}. Correct the rule (man nft):\n{trouble}")
        return None, ()


def _is_above(folder: str, paths: list[str]) -> bool:
    return any(os.path.realpath(path).startswith(f"{folder}/") for path in paths)


_TABLE = """
add table inet lab
add chain inet lab input { type filter hook input priority 0; }
"""


def _nft(script: str) -> str:
    """Run one script; what nft complains of, empty where it does not."""
    command = [find_program("nft", "nftables"), "-f", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    return done.stderr.strip() if done.returncode else ""


def _unpickled(arguments: bytes) -> tuple[object, ...]:
    try:
        given: tuple[object, ...] = pickle.loads(arguments)
    except Exception as error:
        raise LabError(f"the role's arguments cannot be received: {error}. Hint: pass plain values") from None
    return given


def _output_file() -> int:
    fd = os.memfd_create("output")
    # Actors and their children share the file: each writes at its end.
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)
    return fd
