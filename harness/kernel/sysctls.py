"""sysctls of the network namespace that the calling process is in.

Only keys that are known to belong to a namespace are written (netns_keys.py): write() is the one place that writes, so
nothing of the host can be changed from here.
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
    """A value for a key. `optional` forgives a key that this kernel does not have."""

    key: str
    value: str
    optional: bool = False


def short(key: str) -> str:
    """A key without what nearly all have in common: tcp_fin_timeout."""
    return key.removeprefix("net.ipv4.")


def redact(key: str, value: str) -> str:
    """The value as it may be shown and kept: "(secret)" where it is one."""
    return "(secret)" if value and _SECRET.fullmatch(key) else value


def read(key: str) -> str:
    """The value in force, its fields separated by single spaces. LabError where there is no such key."""
    try:
        return " ".join(_path(key).read_text().split())
    except _NO_SUCH_KEY:
        raise _unknown(key) from None
    except OSError as error:
        raise LabError(f"sysctl {key} cannot be read ({_name(error)}). Hint: leave it out") from None


def write(setting: Setting) -> bool:
    """Set one key; False where it is optional and absent.

    UnknownSysctl, ReadOnlySysctl, SharedSysctl, RefusedValue and NotOfANetwork (LabErrors) say why not.
    """
    if setting.key == "net.ipv4.tcp_congestion_control":
        _keep_within_the_namespace(setting)
    try:
        # The profile has 40 lines, and a file object would cost four times this.
        # To open a sysctl changes nothing (fs/proc/proc_sysctl.c, proc_sys_open).
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
        mend = "give a value inside the range that the kernel documents (ip-sysctl.rst)"
        raise _refused(setting, f"({_name(error)}); in force: {_in_force(setting.key)}. Hint: {mend}") from None
    finally:
        os.close(fd)
    return True


def _keep_within_the_namespace(setting: Setting) -> None:
    """Two effects of this key reach the host (net/ipv4/tcp_cong.c, tcp_set_default_congestion_control).

    The kernel loads the module of an algorithm that it lacks, and before Linux 5.13 (8d432592f30f) an algorithm that a
    namespace sets becomes one of tcp_allowed_congestion_control, a list of the whole machine.
    """
    available = read("net.ipv4.tcp_available_congestion_control")
    if setting.value not in available.split():
        raise _refused(setting, f": loaded are {available}. Hint: modprobe tcp_{setting.value}, if there is such a one")
    allowed = read("net.ipv4.tcp_allowed_congestion_control")
    if setting.value not in allowed.split():
        raise ReadOnlySysctl(
            f"{setting.key} = {setting.value} is not set: it would allow {setting.value} to every user of this machine "
            f"(allowed are {allowed}). Hint: allow it on the host, in net.ipv4.tcp_allowed_congestion_control"
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
        f"in force: {_in_force(setting.key)}. "
        "Hint: the key is read-only in a network namespace; leave it out"
    )


def _in_force(key: str) -> str:
    try:
        return redact(key, read(key))
    except LabError:  # net.ipv4.route.flush can only be written
        return "nothing that can be read"


def _path(key: str) -> Path:
    if not _KEY.fullmatch(key):
        raise NotOfANetwork(
            f"{key!r} is no sysctl of a network namespace. Hint: name a key that begins with 'net.'; "
            "other keys are the host's, and the lab never touches the host"
        )
    return _ROOT / key.translate(_SWAP)


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "?")


def _unknown(key: str) -> UnknownSysctl:
    near = difflib.get_close_matches(key, _known(_path(key).parent), 1, 0.6)
    hint = f"did you mean {near[0]}?" if near else "see `sysctl -a --pattern '^net'` for the names"
    return UnknownSysctl(f"this kernel has no sysctl {key} in a network namespace. Hint: {hint}")


def _known(folder: Path) -> Iterator[str]:
    if folder.is_dir():
        yield from (str(path.relative_to(_ROOT)).translate(_SWAP) for path in folder.iterdir())
