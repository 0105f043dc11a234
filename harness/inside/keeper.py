"""PID 1 of a lab. It sets the namespace up, opens what sees it, starts the actors, and does what needs to be inside.

When it dies, by any cause, the kernel kills every process of its PID namespace (zap_pid_ns_processes).
"""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.errors import LabError, LabUnavailable
from harness.evidence import ring, sockets
from harness.inside import forked_actor, roles
from harness.inside.channel import Channel
from harness.inside.installed import find_program
from harness.inside.network_keeper import NetworkKeeper, Reply, serve
from harness.kernel import namespace, sysctls
from harness.network import addresses

_FOLDERS = ("/mnt", "/media", "/srv")
"""One of them becomes the lab's own, where nothing that it needs lies below: /mnt is meant for mounting (FHS, 3.12)."""

_SPARE_ACTORS = 2
"""Most stories have a server and a client. A story with more forks the others when it starts them."""


def main(channel: Channel, request: dict[str, Any]) -> int:
    """Set up, say so, obey until the channel closes."""
    return serve(channel, lambda: Keeper(**request))


class Keeper(NetworkKeeper):
    """The commands of a lab."""

    def __init__(self, profile: list[sysctls.Setting], host_network: int) -> None:
        super().__init__(profile, host_network)
        self._statuses: dict[int, int] = {}
        self._folder = ""
        self._spare_actors: list[forked_actor.ForkedActor] = []
        self._capture = ring.open_capture()
        self._table = sockets.open_table()
        self._raw = socket.socket(addresses.FAMILY, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def fds(self) -> tuple[int, ...]:
        """The capture, the socket table, a raw socket for provoked segments, the keeper's own pidfd."""
        return self._capture.fileno(), self._table.fileno(), self._raw.fileno(), os.pidfd_open(os.getpid())

    def prepare(self) -> None:
        """Fork actors before they are wanted, while pytest is busy with something else."""
        self._spare_actors = [forked_actor.fork(ahead=True) for _ in range(_SPARE_ACTORS)]

    def start_role(self, path: str, role: str, arguments: bytes, title: str) -> Reply:
        """Let an actor have a role; its channel, its pidfd and its output (a file in memory) are the asker's."""
        roles.load(path)
        roles.find(path, role)
        _check_unpickles(arguments)
        actor = self._spare_actors.pop(0) if self._spare_actors else forked_actor.fork()
        actor.channel.send(forked_actor.Part(path, role, arguments, title))
        return actor.pid, (actor.channel.detach(), os.pidfd_open(actor.pid), actor.output)

    def start_program(self, argv: list[str]) -> Reply:
        """Run a real program inside; its pidfd and its output are the asker's."""
        output = forked_actor.output_file()
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
            self._end_spare_actors()  # they are in the mount namespace from before, and would not see it
        return self._folder, ()

    def _end_spare_actors(self) -> None:
        for actor in self._spare_actors:
            actor.channel.close()
            os.close(actor.output)
            os.waitpid(actor.pid, 0)
        self._spare_actors.clear()

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


def _check_unpickles(arguments: bytes) -> None:
    try:
        pickle.loads(arguments)
    except Exception as error:
        raise LabError(f"the role's arguments cannot be received: {error}. Hint: pass plain values") from None
