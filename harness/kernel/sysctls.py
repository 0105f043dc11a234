"""sysctls of the network namespace that the calling process is in.

Only keys that are known to belong to a namespace are written (netns_keys.py). Only write() writes, so nothing here can
change the host.
"""

import difflib
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import (
    LabError,
    LabUnavailable,
    NotOfANetwork,
    ReadOnlySysctl,
    RefusedValue,
    SharedSysctl,
    UnknownSysctl,
)
from harness.kernel.netns_keys import belongs_to_a_namespace, why_not_written

_ROOT = Path("/proc/sys")
_KEY = re.compile(r"net(\.[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*)+")
_SWAP = str.maketrans("./", "/.")
_SECRET = re.compile(r"net\.ipv4\.tcp_fastopen_key|net\.ipv6\.conf\..+\.stable_secret")
"""Keys whose values are secrets (ip-sysctl.rst)."""

_NO_SUCH_KEY = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True, slots=True)
class Setting:
    """A value for a key. If `optional`, this kernel need not have the key."""

    key: str
    value: str
    optional: bool = False


def short(key: str) -> str:
    """A key without the prefix that nearly all have in common: tcp_fin_timeout."""
    return key.removeprefix("net.ipv4.")


def redact(key: str, value: str) -> str:
    """The value as it may be shown and saved: "(secret)" if the key's value is a secret."""
    return "(secret)" if value and _SECRET.fullmatch(key) else value


def read(key: str) -> str:
    """The current value, its fields separated by single spaces. LabError if there is no such key."""
    try:
        return " ".join(_path(key).read_text().split())
    except _NO_SUCH_KEY:
        raise _unknown(key) from None
    except OSError as error:
        raise LabError(f"sysctl {key} cannot be read ({_name(error)}). Hint: leave it out") from None


def write(setting: Setting) -> bool:
    """Set one key; returns False if it is optional and absent.

    Raises UnknownSysctl, ReadOnlySysctl, SharedSysctl, RefusedValue or NotOfANetwork (all LabErrors).
    """
    if setting.key == "net.ipv4.tcp_congestion_control":
        _keep_within_the_namespace(setting)
    try:
        # A profile has 40 lines, and a file object would take four times as long.
        # Opening a sysctl changes nothing (fs/proc/proc_sysctl.c, proc_sys_open).
        fd = os.open(_path(setting.key), os.O_WRONLY)
    except _NO_SUCH_KEY:
        if setting.optional:
            return False
        raise _unknown(setting.key) from None
    except OSError as error:
        raise _read_only(setting, error) from None
    try:
        if not belongs_to_a_namespace(setting.key):
            raise _shared(setting.key)
        os.write(fd, f"{setting.value}\n".encode())
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EPERM, errno.EACCES):
            raise _read_only(setting, error) from None
        hint = "give a value inside the range that the kernel documents (ip-sysctl.rst)"
        raise _refused(setting, f"({_name(error)}); current value: {_current(setting.key)}. Hint: {hint}") from None
    finally:
        os.close(fd)
    return True


def _keep_within_the_namespace(setting: Setting) -> None:
    """Refuse a congestion control whose setting would affect the host (tcp_set_default_congestion_control()).

    net/ipv4/tcp_cong.c: the kernel loads the module of an algorithm that it lacks. Before Linux 5.13 (8d432592f30f), it
    adds an algorithm that a namespace sets to tcp_allowed_congestion_control, a list of the whole machine.
    """
    available = read("net.ipv4.tcp_available_congestion_control")
    if setting.value not in available.split():
        raise _refused(
            setting, f": only {available} are loaded. Hint: modprobe tcp_{setting.value}, if that module exists"
        )
    allowed = read("net.ipv4.tcp_allowed_congestion_control")
    if setting.value not in allowed.split():
        raise ReadOnlySysctl(
            f"{setting.key} = {setting.value} is not set: it would allow {setting.value} to every user of this host "
            f"(allowed now: {allowed}). Hint: allow it on the host, in net.ipv4.tcp_allowed_congestion_control"
        )


def _shared(key: str) -> SharedSysctl:
    return SharedSysctl(f"sysctl {key} is not written: {why_not_written(key)}. Hint: leave it out")


def _refused(setting: Setting, why: str) -> RefusedValue:
    separator = "" if why.startswith(":") else " "
    return RefusedValue(f"the kernel refuses {setting.key} = {redact(setting.key, setting.value)!r}{separator}{why}")


def _read_only(setting: Setting, error: OSError) -> LabError:
    if error.errno == errno.EROFS:
        return LabUnavailable("/proc/sys is read-only here", "docker run --privileged, or run as root")
    return ReadOnlySysctl(
        f"the kernel refuses {setting.key} = {redact(setting.key, setting.value)!r} ({_name(error)}); "
        f"current value: {_current(setting.key)}. "
        "Hint: the key is read-only in a network namespace; leave it out"
    )


def _current(key: str) -> str:
    try:
        return redact(key, read(key))
    except LabError:  # net.ipv4.route.flush can only be written
        return "cannot be read"


def _path(key: str) -> Path:
    if not _KEY.fullmatch(key):
        raise NotOfANetwork(
            f"{key!r} is not a sysctl of a network namespace. Hint: use a key that begins with 'net.'; "
            "other keys belong to the host, which the lab never changes"
        )
    return _ROOT / key.translate(_SWAP)


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "?")


def _unknown(key: str) -> UnknownSysctl:
    near = difflib.get_close_matches(key, _known(_path(key).parent), 1, 0.6)
    hint = f"did you mean {near[0]}?" if near else "`sysctl -a --pattern '^net'` lists the names"
    return UnknownSysctl(f"this kernel has no sysctl {key} in a network namespace. Hint: {hint}")


def _known(folder: Path) -> Iterator[str]:
    if folder.is_dir():
        yield from (str(path.relative_to(_ROOT)).translate(_SWAP) for path in folder.iterdir())
