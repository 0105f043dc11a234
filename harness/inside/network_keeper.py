"""What every keeper does: own a private network, set its sysctls, and run commands until its channel closes."""

import os
import traceback
from collections.abc import Callable
from typing import Any

from harness.errors import LabError, LabUnavailable, RefusedValue
from harness.inside.channel import Channel
from harness.kernel import sysctls
from harness.network import addresses

Reply = tuple[object, tuple[int, ...]]


class NetworkKeeper:
    """The commands, one method each; each returns a value and the fds to pass to the caller."""

    def __init__(self, profile: list[sysctls.Setting], host_network: int) -> None:
        if os.stat("/proc/self/ns/net").st_ino == host_network:
            raise LabError("the lab is in the host's network namespace, and refuses to change anything there")
        self.not_set: list[str] = []
        self.refused: list[str] = []
        self.families = self._set_up_network()
        self._apply(profile)

    def _set_up_network(self) -> tuple[addresses.Family, ...]:
        """Make the network; returns the families that it has."""
        return addresses.set_up_loopback()

    def _apply(self, profile: list[sysctls.Setting]) -> None:
        for setting in profile:
            self._set(setting)

    def _set(self, setting: sysctls.Setting) -> None:
        """Set one key of the profile. If that fails and the line is optional, note the key instead of raising."""
        try:
            if not sysctls.write(setting):
                self.not_set.append(setting.key)
        except LabUnavailable:
            raise
        except LabError as error:
            if not setting.optional:
                raise
            if isinstance(error, RefusedValue):
                self.refused.append(f"{setting.key} = {sysctls.redact(setting.key, setting.value)}")
            else:
                self.not_set.append(setting.key)

    def fds(self) -> tuple[int, ...]:
        """The fds to pass to the caller when the network is ready."""
        return ()

    def prepare(self) -> None:
        """Prepare for the next commands; called once the caller knows that the network is ready."""

    def read_sysctl(self, key: str) -> Reply:
        return sysctls.read(key), ()

    def write_sysctl(self, key: str, value: str) -> Reply:
        sysctls.write(sysctls.Setting(key, value))
        return None, ()


def serve(channel: Channel, set_up: Callable[[], NetworkKeeper]) -> int:
    """Set up, report that, and run commands until the channel closes; returns the exit status."""
    try:
        return _serve(channel, set_up)
    except (
        EOFError,
        ConnectionError,
    ):  # the caller may end at any time: EPIPE, or ECONNRESET if it left a reply unread
        return 0


def _serve(channel: Channel, set_up: Callable[[], NetworkKeeper]) -> int:
    try:
        keeper = set_up()
    except LabError as error:
        channel.send((0, error))
        return 1
    except OSError as error:
        trouble = LabUnavailable(f"the namespace cannot be set up: {error}", "see the README, 'What it needs'")
        channel.send((0, trouble))
        return 1
    channel.send((0, (tuple(keeper.not_set), tuple(keeper.refused))), keeper.fds())
    keeper.prepare()
    while True:
        command, _ = channel.receive()
        assert isinstance(command, tuple)
        _answer(channel, keeper, *command)


def _answer(channel: Channel, keeper: NetworkKeeper, number: int, name: str, arguments: dict[str, Any]) -> None:
    try:
        value, fds = getattr(keeper, name)(**arguments)
    except LabError as error:
        value, fds = error, ()
    except Exception:
        value, fds = LabError(f"the keeper failed at {name}:\n{traceback.format_exc(limit=-5)}"), ()
    channel.send((number, value), fds)
    for fd in fds:
        os.close(fd)
