"""The parent's side of the nursery: start one clean helper process, learn what it may do, and ask it for labs."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys

from harness.errors import LabError, LabUnavailable
from harness.evidence import transitions
from harness.inside.channel import Channel
from harness.kernel.sysctls import Setting
from harness.lab.asking import CLOSED, KeeperHandle, died, received
from harness.network.addresses import Family

__tracebackhide__ = True

_BOOT = (
    "import json, os, sys; fd, watched, sys.path[:] = json.loads(sys.argv[1]);"
    "from harness.inside import nursery; nursery.main(fd, watched); os._exit(0)"
)

_SPARES = 2
"""The number of labs that are set up ahead of use. Setting one up, mostly waiting in the kernel, takes longer than a
short story, so with a single spare lab each short story would wait."""


class LabKeeper(KeeperHandle):
    """The connection to one lab's keeper, and the sockets that the keeper has opened inside."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self._sockets: list[socket.socket] = []
        self._pidfd = self._devices = -1
        self._end = select.poll()

    def wait_until_ready(self) -> list[int]:
        """Wait until the lab is set up, and take the fds that its keeper passes out. Returns no fds."""
        *opened, pidfd = super().wait_until_ready()
        self._sockets = [socket.socket(fileno=fd) for fd in opened]
        self.capture, self.table, self.raw = self._sockets
        self._pidfd = pidfd
        self._end.register(pidfd, select.POLLIN)
        self.pid = pid_of(pidfd)
        """The keeper's number on the host; /proc/PID/net is the lab's."""
        try:
            self._devices = os.open(f"/proc/{self.pid}/net/dev", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise died("set up a network") from None
        return []

    def frames_sent(self) -> int:
        """The number of frames that the lab's `lo` has ever sent: each counts once queued, before it is received.

        drivers/net/loopback.c, loopback_xmit: netif_rx(), then dev_lstats_add(), with bottom halves off. LabError if
        the lab is closed, or if its keeper has died and everything in it with it.
        """
        if self._devices < 0:
            raise LabError(CLOSED)
        if self._end.poll(0):
            raise died("keep the lab")
        line = os.pread(self._devices, 4096, 0).partition(b"lo:")[2]
        return int(line.split(None, 2)[1])

    def close(self) -> None:
        """End everything that runs in the lab, and wait until it has ended; the namespaces then end by themselves."""
        with contextlib.suppress(LabError):
            self.ask("end")
        super().close()
        for fd in (self._pidfd, self._devices):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._devices = -1
        for sock in self._sockets:
            sock.close()


class Nursery:
    """The helper process, one for each worker. Opening a lab costs two forks and two namespaces."""

    def __init__(self, profile: list[Setting], also_watch: list[int] | None = None, family: Family = 4) -> None:
        """Start the helper, whose labs will have the sysctls of `profile`, and receive its greeting.

        It ends with this process, or with any of `also_watch` (pids).
        """
        self._profile = profile
        self.family = family
        ours, theirs = Channel.pair()
        boot = json.dumps([theirs.fileno(), [os.getpid(), *(also_watch or [])], sys.path])
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, boot],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel = ours
        self._spares: list[LabKeeper] = []
        self.events: transitions.Events | None = None
        try:
            self._receive_greeting()
        except BaseException:
            self.close()
            raise

    def _receive_greeting(self) -> None:
        hello, fds = received(self._channel, "start the nursery")
        self.unavailable: LabUnavailable | None = hello.get("unavailable")
        self.isolation: str = hello.get("isolation", "none")
        self.slot: int = hello["slot"]
        self.processors: list[int] = hello["processors"]
        """The processors that its labs run on."""
        self.events = transitions.events_from(fds)

    @property
    def alive(self) -> bool:
        """Whether the helper still runs."""
        return self._process.poll() is None

    def open_lab(self, roles_from: str, *, spare: bool = True) -> LabKeeper:
        """A fresh lab, in which the roles of one file may be played. LabUnavailable names what is missing.

        With `spare`, the next labs are ordered at the same time, so that no story waits while the kernel sets up their
        namespaces (evidence/ring.py).
        """
        if self.unavailable:
            raise self.unavailable
        keeper = self._spares.pop(0) if self._spares else self._order(roles_from)
        try:
            while spare and len(self._spares) < _SPARES:
                self._spares.append(self._order(roles_from))
            keeper.wait_until_ready()
        except BaseException:
            keeper.close()
            raise
        return keeper

    def _order(self, roles_from: str) -> LabKeeper:
        ours, theirs = Channel.pair()
        host_network = os.stat("/proc/self/ns/net").st_ino
        request = {
            "profile": self._profile,
            "family": self.family,
            "roles_from": roles_from,
            "host_network": host_network,
        }
        try:
            self._channel.send(request, (theirs.fileno(),))
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise LabError(f"the helper process has died ({error.strerror}). Hint: look for the cause") from None
            raise
        finally:
            theirs.close()
        return LabKeeper(ours)

    def close(self) -> None:
        """End the helper and wait until it has ended."""
        if self.events:
            self.events.close()
        for keeper in self._spares:
            keeper.close()
        self._channel.close()
        self._process.wait()


def pid_of(pidfd: int) -> int:
    """The PID, in this namespace, of the process behind a pidfd; -1 once it is gone."""
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["Pid"])
