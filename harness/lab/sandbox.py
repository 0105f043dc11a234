"""A private network without actors, in which sysctls are read and written to find out what the kernel accepts."""

import contextlib
import os
from collections.abc import Iterator

from harness.inside import network_keeper
from harness.inside.channel import Channel
from harness.kernel import namespace
from harness.kernel.sysctls import Setting
from harness.lab.asking import KeeperHandle

__tracebackhide__ = True


@contextlib.contextmanager
def network(profile: list[Setting]) -> Iterator[KeeperHandle]:
    """A private network with these sysctls. LabUnavailable names what is missing.

    Its keeper is a fork of this process: no second interpreter starts, and a network without actors and segments needs
    neither PID namespace nor capture (making and closing one waits for RCU: harness/evidence/ring.py).
    """
    ours, theirs = Channel.pair()
    host_network = os.stat("/proc/self/ns/net").st_ino
    pid = os.fork()
    if pid == 0:
        try:
            _keep(theirs, profile, host_network)
        finally:
            os._exit(0)
    theirs.close()
    with _reaped(pid), contextlib.closing(KeeperHandle(ours)) as keeper:
        keeper.wait_until_ready()
        yield keeper


@contextlib.contextmanager
def _reaped(pid: int) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(ChildProcessError):  # if SIGCHLD is ignored, the kernel reaps it
            os.waitpid(pid, 0)


def _keep(channel: Channel, profile: list[Setting], host_network: int) -> None:
    os.setsid()  # Ctrl-C is for the parent; when it ends, so does the keeper
    # The parent's end of this channel, and of another sandbox's, would keep them open after the parent has closed them.
    os.closerange(3, channel.fileno())
    os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))

    def set_up() -> network_keeper.NetworkKeeper:
        namespace.enter_network()
        namespace.die_with_parent()  # last: a change of credentials may undo it (kernel/cred.c, commit_creds)
        return network_keeper.NetworkKeeper(profile, host_network)

    network_keeper.serve(channel, set_up)
