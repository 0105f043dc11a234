"""PID 1 of a lab. It sets up the namespace, opens the capture, starts the actors, and runs commands inside.

When it dies, for any reason, the kernel kills every process of its PID namespace (zap_pid_ns_processes).
"""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from harness.errors import LabError, LabUnavailable
from harness.evidence import ring, sockets
from harness.inside import forked_actor, roles
from harness.inside.installed import find_program
from harness.inside.network_keeper import NetworkKeeper, Reply
from harness.kernel import namespace, sysctls
from harness.network import addresses, kinds

_FOLDERS = ("/mnt", "/media", "/srv")
"""The lab mounts its own file system on one that has nothing below that it needs: /mnt is for mounting (FHS, 3.12)."""

_PROVOKED = 1
"""The firewall mark of provoked segments: the kernel's own have none."""

_SPARE_ACTORS = 2
"""The number of actors to fork ahead of use, as most stories have a server and a client; others are forked later."""


class Keeper(NetworkKeeper):
    """The commands of a lab whose hosts are all on the loopback of one namespace."""

    network = kinds.LOOPBACK

    def __init__(self, profile: list[sysctls.Setting], host_network: int, family: addresses.Family) -> None:
        self.places = kinds.PLACES[self.network]
        super().__init__(profile, host_network)
        if family not in self.families:
            raise addresses.no_ipv6()
        self._family = family
        self._statuses: dict[int, int] = {}
        self._folder = ""
        self._spare_actors: dict[str, list[forked_actor.ForkedActor]] = {place: [] for place in self.places}
        self._capture = self._open_capture()
        self._opened: list[socket.socket] = []
        for place in self.places:
            with self._at(place):
                self._opened += [sockets.open_table(), _open_raw(family)]

    def _open_capture(self) -> socket.socket:
        return ring.open_capture("lo")

    def _pid_at(self, place: str) -> int:
        """A process that is in the network namespace of a place as long as the lab exists."""
        return os.getpid()

    @contextlib.contextmanager
    def _at(self, place: str) -> Iterator[None]:
        """Do something in the network namespace of a place, while the caller waits for the answer to a command."""
        yield

    def _place(self, on: str) -> str:
        """The place of a host."""
        return kinds.place_of(on, self.network)

    def fds(self) -> tuple[int, ...]:
        """The capture's fd; then for each place: its socket table, a raw socket for provoked segments, and a pidfd."""
        opened = iter(self._opened)
        fds = [self._capture.fileno()]
        for place in self.places:
            fds += [next(opened).fileno(), next(opened).fileno(), os.pidfd_open(self._pid_at(place))]
        return tuple(fds)

    def prepare(self) -> None:
        """Fork actors ahead of use, while pytest does something else."""
        at_each = _SPARE_ACTORS // len(self.places) or 1
        for place in self.places:
            self._spare_actors[place] = [self._fork_at(place, ahead=True) for _ in range(at_each)]

    def _fork_at(self, place: str, *, ahead: bool = False) -> forked_actor.ForkedActor:
        """Fork an actor that will be in the namespace of a place.

        It moves there itself: while this process is in another namespace, so is its /proc/PID/net, which others read.
        """
        return forked_actor.fork(ahead=ahead, beside=self._pid_at(place) if place != self.places[0] else None)

    def read_sysctl(self, key: str, on: str = "") -> Reply:
        with self._at(self._place(on or addresses.CLIENT)):
            return super().read_sysctl(key)

    def write_sysctl(self, key: str, value: str, on: str = "") -> Reply:
        """Set a sysctl of one host, or of every namespace of the lab."""
        for place in [self._place(on)] if on else self.places:
            with self._at(place):
                super().write_sysctl(key, value)
        return None, ()

    def start_role(self, path: str, role: str, arguments: bytes, title: str, on: str) -> Reply:
        """Give a role to an actor, and pass its channel, its pidfd and its output (a file in memory) to the caller."""
        roles.load(path)
        roles.find(path, role)
        _check_unpickles(arguments)
        place = self._place(on)
        actor = self._spare_actors[place].pop(0) if self._spare_actors[place] else self._fork_at(place)
        actor.channel.send(forked_actor.Part(path, role, arguments, title, self._family))
        return actor.pid, (actor.channel.detach(), os.pidfd_open(actor.pid), actor.output)

    def start_program(self, argv: list[str], on: str) -> Reply:
        """Run a real program inside, and pass its pidfd and its output to the caller."""
        output = forked_actor.output_file()
        try:
            with self._at(self._place(on)):
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
            raise LabUnavailable(
                f"{argv[0]} does not run: {error.strerror}", "check that this user may execute it"
            ) from None
        return pid, (os.pidfd_open(pid), output)

    def exit_status(self, pid: int) -> Reply:
        """The exit status of a process that has ended, which it reaps."""
        if pid not in self._statuses:
            self._statuses[pid] = os.waitpid(pid, 0)[1]
        return os.waitstatus_to_exitcode(self._statuses[pid]), ()

    def end(self) -> Reply:
        """Kill and reap every other process in the lab; none is left when this returns.

        The keeper itself ends a little later, when the kernel has waited (RCU) for the capture to be unhooked.
        """
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # from PID 1: every other process in this PID namespace
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        return None, ()

    def folder(self) -> Reply:
        """The mount point of the lab's own file system, which is mounted on the first call."""
        if not self._folder:
            needed = [os.getcwd(), sys.prefix, sys.base_prefix, *sys.path]
            free = [each for each in _FOLDERS if Path(each).is_dir() and not _is_above(each, needed)]
            try:
                namespace.mount_privately("tmpfs", free[0])
            except (OSError, IndexError) as error:
                raise LabUnavailable(
                    f"the lab cannot have a folder of its own: {error}", "mkdir /mnt, or run as root"
                ) from None
            self._folder = free[0]
            self._end_spare_actors()  # they are still in the old mount namespace, and would not see the folder
        return self._folder, ()

    def _end_spare_actors(self) -> None:
        for spares in self._spare_actors.values():
            for actor in spares:
                actor.channel.close()
                os.close(actor.output)
                os.waitpid(actor.pid, 0)
            spares.clear()

    def write_file(self, name: str, text: str) -> Reply:
        if name in ("", "..") or name != Path(name).name:
            raise LabError(f"{name!r} is not a file name. Hint: use a plain name without a folder")
        folder, _ = self.folder()
        path = Path(str(folder), name)
        path.write_text(text, "utf-8")
        return str(path), ()

    def restore(self) -> Reply:
        """Remove every rule; it is no error if there is none."""
        if trouble := run_nft("add table inet lab\ndelete table inet lab\n"):
            raise LabError(f"nft fails: {trouble}. Hint: check that drop() was called before")
        return None, ()

    def drop(self, match: str) -> Reply:
        """Drop segments that match. LabUnavailable if nft does not work here, LabError if the rule is wrong."""
        return add_rule(f"lab {self.dropping_hook} {match} counter drop", f"{match!r} (drop)")

    def reject(self, match: str, with_: str) -> Reply:
        """Answer segments that match with an error instead of delivering them; errors as for drop()."""
        rule = f"lab {self.rejecting_hook} {match} counter reject with {with_}"
        return add_rule(rule, f"{match!r} (reject with {with_})", trial("lab", "reject"), "nft_reject_inet")

    dropping_hook = "input"
    """The hook of nftables at which drop() acts: where segments arrive, or where they leave the router."""

    rejecting_hook = "input"
    """The same for reject(), which nftables does not allow in every hook."""


def _is_above(folder: str, paths: list[str]) -> bool:
    return any(os.path.realpath(path).startswith(f"{folder}/") for path in paths)


NFT_CHAINS = """
add table inet lab
add chain inet lab input { type filter hook input priority 0; }
add chain inet lab forward { type filter hook forward priority 0; }
add chain inet lab postrouting { type filter hook postrouting priority 0; }
"""


def trial(table: str, statement: str) -> str:
    """A script that leaves nothing, and fails only if the kernel does not have the statement."""
    chain = f"chain inet {table} trial\n"
    return f"add {chain}add rule inet {table} trial {statement}\nflush {chain}delete {chain}"


def add_rule(rule: str, shown: str, certain: str = "", modules: str = "nf_tables", chains: str = NFT_CHAINS) -> Reply:
    """Add a rule, as "TABLE CHAIN RULE", and first its chains; `shown` is the user's part of it.

    `certain` has no mistake (trial()): if it fails as well, the kernel lacks the modules.
    """
    trouble = run_nft(f"{chains}add rule inet {rule}\n")
    if trouble and run_nft(f"{chains}{certain}"):
        raise LabUnavailable(f"nft fails here: {trouble}", f"load {modules}, or run on a kernel that has it")
    if trouble:
        raise LabError(f"nft refuses {shown}. Hint: correct the rule (man nft):\n{trouble}")
    return None, ()


def run_nft(script: str) -> str:
    """Run one script, as one transaction; returns nft's error message, empty if it succeeds."""
    command = [find_program("nft", "nftables"), "-f", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    return done.stderr.strip() if done.returncode else ""


def _open_raw(family: addresses.Family) -> socket.socket:
    raw = socket.socket(addresses.AF[family], socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _PROVOKED)
    return raw


def _check_unpickles(arguments: bytes) -> None:
    try:
        pickle.loads(arguments)
    except Exception as error:
        raise LabError(f"the role's arguments cannot be received: {error}. Hint: pass plain values") from None
