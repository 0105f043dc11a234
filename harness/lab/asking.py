"""The parent's side of a keeper: send a command, wait for its answer."""

import contextlib
import os
from typing import Any

from harness.errors import LabError
from harness.inside.channel import Channel

__tracebackhide__ = True

CLOSED = "this lab is closed. Hint: use a lab only in the test that asked for it"


class KeeperHandle:
    """The connection to one keeper, the process that owns a private network."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._asked = 0

    def wait_until_ready(self) -> list[int]:
        """Wait until the network is set up; from then on the keeper answers. Returns the fds that it passes out."""
        (self.not_set, self.refused), fds = self._answer(0, "set up a network")
        """Profile lines that may fail and did: keys that cannot be set here; each refused KEY = VALUE."""
        return fds

    def ask(self, command: str, **arguments: object) -> Any:
        """Run one of the keeper's commands and return its value. LabError if it fails."""
        value, _ = self.ask_for_fds(command, **arguments)
        return value

    def ask_for_fds(self, command: str, **arguments: object) -> tuple[Any, list[int]]:
        """Run one of the keeper's commands whose answer carries fds, which the caller must close."""
        if self._channel.fileno() < 0:
            raise LabError(CLOSED)
        self._asked += 1
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it is gone: reading the answer fails
            self._channel.send((self._asked, command, arguments))
        return self._answer(self._asked, command)

    def _answer(self, number: int, doing: str) -> tuple[Any, list[int]]:
        while True:
            (answered, value), fds = received(self._channel, doing)
            if answered == number:
                break
            for fd in fds:  # the answer to a command that a signal (Ctrl-C, pytest-timeout) interrupted
                os.close(fd)
        if isinstance(value, LabError):
            raise value
        return value, fds

    def close(self) -> None:
        """End the keeper."""
        self._channel.close()


def died(doing: str) -> LabError:
    """The error for a helper that died, and what it had been asked to do."""
    return LabError(f"the helper process died (asked to {doing}). Hint: look for the cause, for example with `dmesg`")


def received(channel: Channel, doing: str) -> tuple[Any, list[int]]:
    """The next message and its fds. LabError if the helper is gone, or if its message is a LabError."""
    try:
        value, fds = channel.receive()
    except EOFError:
        raise died(doing) from None
    if isinstance(value, LabError):
        raise value
    return value, fds
