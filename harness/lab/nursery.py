"""The parent's side of the nursery: start one clean helper process, learn what it may do, and ask it for labs."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
from typing import NamedTuple

from harness.errors import LabError, LabUnavailable
from harness.evidence import transitions
from harness.inside.channel import Channel
from harness.kernel.sysctls import Setting
from harness.lab.asking import CLOSED, KeeperHandle, died, received
from harness.network import kinds
from harness.network.addresses import Family

__tracebackhide__ = True

_BOOT = (
    "import json, os, sys; fd, watched, sys.path[:] = json.loads(sys.argv[1]);"
    "from harness.inside import nursery; nursery.main(fd, watched); os._exit(0)"
)

_SPARES = 2
"""The number of labs that are set up ahead of use. Setting one up, mostly waiting in the kernel, takes longer than a
short story, so with a single spare lab each short story would wait."""


class Place(NamedTuple):
    """A network namespace of a lab: a process that is in it, its socket table, a raw socket for provoked segments."""

    pid: int
    """On the host; /proc/PID/net is the namespace's."""
    table: socket.socket
    raw: socket.socket
    pidfd: int
    devices: int
    """The open file /proc/PID/net/dev."""

    def close(self) -> None:
        self.table.close()
        self.raw.close()
        os.close(self.pidfd)
        os.close(self.devices)


class LabKeeper(KeeperHandle):
    """The connection to one lab's keeper, and the sockets that the keeper has opened inside."""

    def __init__(self, channel: Channel, network: str) -> None:
        super().__init__(channel)
        self.network = network
        self.places: dict[str, Place] = {}
        """By name (network/kinds.py); the keeper itself is in the first."""
        self.capture: socket.socket
        self._end = select.poll()

    def wait_until_ready(self) -> list[int]:
        """Wait until the lab is set up, and take the fds that its keeper passes out. Returns no fds."""
        capture, *fds = super().wait_until_ready()
        self.capture = socket.socket(fileno=capture)
        for name in kinds.PLACES[self.network]:
            table, raw, pidfd, *fds = fds
            pid = pid_of(pidfd)
            try:
                devices = os.open(f"/proc/{pid}/net/dev", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                for fd in (table, raw, pidfd, *fds):
                    os.close(fd)
                raise died("set up a network") from None
            self.places[name] = Place(pid, socket.socket(fileno=table), socket.socket(fileno=raw), pidfd, devices)
        self._end.register(self._own.pidfd, select.POLLIN)
        return []

    @property
    def _own(self) -> Place:
        if not self.places:
            raise LabError(CLOSED)
        return next(iter(self.places.values()))

    @property
    def pid(self) -> int:
        """The keeper's number on the host."""
        return self._own.pid

    @property
    def table(self) -> socket.socket:
        """The socket table of the keeper's own namespace."""
        return self._own.table

    def place_of(self, host: str) -> Place:
        """The namespace of a host. LabError if this network has no such host."""
        return self.places[kinds.place_of(host, self.network)]

    def frames_sent(self) -> int:
        """The number of frames that the capture should show so far: each counts once queued, before it is received.

        What `lo` has sent, and what the links to the hosts have carried, in both directions. drivers/net/loopback.c,
        loopback_xmit: netif_rx(), then dev_lstats_add(), with bottom halves off; drivers/net/veth.c, veth_xmit, which
        counts a frame as sent at one end and as received at the other. LabError if the lab is closed, or if its keeper
        has died and everything in it with it.
        """
        devices = self._own.devices
        if self._end.poll(0):
            raise died("keep the lab")
        sent = 0
        for line in os.pread(devices, 4096, 0).splitlines()[2:]:
            name, _, numbers = line.partition(b":")
            received, transmitted = numbers.split()[1:10:8]
            sent += int(received) if name.strip() == b"lo" else int(received) + int(transmitted)
        return sent

    def close(self) -> None:
        """End everything that runs in the lab, and wait until it has ended; the namespaces then end by themselves."""
        with contextlib.suppress(LabError):
            self.ask("end")
        super().close()
        for place in self.places.values():
            place.close()
        self.places.clear()
        if hasattr(self, "capture"):  # it became ready
            self.capture.close()


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
        self._spares: dict[str, list[LabKeeper]] = {network: [] for network in kinds.PLACES}
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

    def open_lab(self, roles_from: str, *, spare: bool = True, network: str = kinds.LOOPBACK) -> LabKeeper:
        """A fresh lab, in which the roles of one file may be played. LabUnavailable names what is missing.

        With `spare`, the next labs on the same network are ordered at the same time, so that no story waits while the
        kernel sets up their namespaces (evidence/ring.py).
        """
        if self.unavailable:
            raise self.unavailable
        spares = self._spares[network]
        keeper = spares.pop(0) if spares else self._order(roles_from, network)
        try:
            while spare and len(spares) < _SPARES:
                spares.append(self._order(roles_from, network))
            keeper.wait_until_ready()
        except BaseException:
            keeper.close()
            raise
        return keeper

    def _order(self, roles_from: str, network: str) -> LabKeeper:
        ours, theirs = Channel.pair()
        host_network = os.stat("/proc/self/ns/net").st_ino
        request = {
            "profile": self._profile,
            "family": self.family,
            "network": network,
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
        return LabKeeper(ours, network)

    def close(self) -> None:
        """End the helper and wait until it has ended."""
        if self.events:
            self.events.close()
        for keeper in [keeper for spares in self._spares.values() for keeper in spares]:
            keeper.close()
        self._channel.close()
        self._process.wait()


def pid_of(pidfd: int) -> int:
    """The PID, in this namespace, of the process behind a pidfd; -1 once it is gone."""
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["Pid"])
