"""A process that becomes an actor: it is forked, prepares itself, and waits for the role that it will play.

The keeper forks some actors ahead of use, so that stories do not wait for them. A fork and the page faults after it
(each page of the keeper that the child writes to is copied) take 2 to 3 ms.
"""

import errno
import fcntl
import os
import pickle
import socket
import traceback
from collections.abc import Iterator
from typing import NamedTuple

from harness.inside import default_family, role_runner, roles
from harness.inside.channel import Channel
from harness.kernel import namespace
from harness.network import addresses


class ForkedActor(NamedTuple):
    """A forked process, as its parent sees it."""

    pid: int
    channel: Channel
    output: int
    """The fd of a file in memory: its standard output and standard error."""


class Part(NamedTuple):
    """The role that an actor will play, sent once."""

    path: str
    role: str
    arguments: bytes
    """A pickled tuple."""
    title: str
    """The name of its process."""
    family: addresses.Family
    """Of its sockets, unless it names one."""


def fork(*, ahead: bool = False, beside: int | None = None) -> ForkedActor:
    """Fork a new process, which ends by itself if its channel is closed before it has a role.

    `ahead`: it is forked before a role is ready for it, so it has time to rehearse. `beside`: the PID of a process
    whose network namespace it enters.
    """
    theirs, ours = Channel.pair()
    output = output_file()
    pid = os.fork()
    if pid == 0:
        try:
            if beside is not None:
                namespace.enter(beside, namespace.CLONE_NEWNET)
            role_runner.become_actor(theirs.fileno(), output)
            if ahead:
                rehearse()
            os._exit(_play(theirs))
        except BaseException:  # this process must not continue as a second keeper
            traceback.print_exc()
        finally:
            os._exit(1)
    theirs.close()
    return ForkedActor(pid, ours, output)


def rehearse() -> None:
    """Play a role that needs no peer.

    Afterwards this process has the modules that roles import, and its own copy of each page that every role writes to.
    """
    theirs, ours = Channel.pair()
    for _ in range(2):
        ours.send("resume")
    role_runner.run(theirs, _rehearsal, ())
    theirs.close()
    ours.close()


def _rehearsal() -> Iterator[str]:
    socket.getaddrinfo(addresses.ADDRESSES[4][addresses.SERVER], 1, 0, socket.SOCK_STREAM)
    for end in socket.socketpair():
        end.close()
    yield "rehearsed"
    raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


def _play(channel: Channel) -> int:
    try:
        part, _ = channel.receive()
    except EOFError:
        return 0
    assert isinstance(part, Part)
    role_runner.set_title(part.title)
    roles.load(part.path)
    default_family.use(addresses.AF[part.family])
    return role_runner.run(channel, roles.find(part.path, part.role), pickle.loads(part.arguments))


def output_file() -> int:
    """The fd of a new file in memory. An actor and its children share it, and each appends."""
    fd = os.memfd_create("output")
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)
    return fd
