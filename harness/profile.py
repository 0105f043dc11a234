"""Which sysctls the stories run under: a base, and what is laid over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import LabError
from harness.kernel import sysctls
from harness.kernel.sysctls import Setting
from harness.tuning.lines import Line, normalised, one_network
from harness.tuning.read import read
from harness.tuning.sysctl_d import reference_profile

BASES = ("reference", "kernel", "host")
"""harness/profiles/reference.conf; what the kernel gives a new namespace; what is in force outside of the lab."""

_IPV4 = Path("/proc/sys/net/ipv4")
_OF_THE_HOST = ("tcp_*", "ip_local_*")
_NO_SETTINGS = {
    "net.ipv4.tcp_fastopen_key",  # a secret
    "net.ipv4.tcp_child_ehash_entries",  # the nursery's: how large a lab's table is
    "net.ipv4.tcp_allowed_congestion_control",  # one for the whole machine
}


@dataclass(frozen=True, slots=True)
class Profile:
    """A name for people, and the settings in the order of their writing."""

    name: str
    settings: tuple[Setting, ...]

    def values(self) -> dict[str, str]:
        """The last value of each key."""
        return {setting.key: setting.value for setting in self.settings}


def chosen(base: str, files: Sequence[str] = (), pairs: Sequence[str] = ()) -> Profile:
    """One of BASES, over it the files in their order, over them KEY=VALUE pairs. LabError for what cannot be read.

    A key that a lab cannot have (a file may well name some of the host's) is left out and told of (Lab.not_set); of a
    pair it is an error.
    """
    laid_over = with_lines(base, files, read(files))
    settings, names = list(laid_over.settings), [laid_over.name]
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise LabError(f"{pair!r} is no setting. Mend: write KEY=VALUE, net.ipv4.tcp_syn_retries=3")
        settings.append(Setting(normalised(key.strip()), value.strip()))
        names.append(f"{key}={sysctls.told(settings[-1].key, value)}")
    return Profile(" + ".join(names), tuple(settings))


def with_lines(base: str, files: Sequence[str], lines: Sequence[Line]) -> Profile:
    """One of BASES, over it what was read from these files. (The standard input can be read but once.)

    A key may come twice: each is written in its turn, and the last that the kernel takes is in force. Malformed where
    they are of containers that differ.
    """
    one_network(lines)
    over = [Setting(line.key, line.value, optional=True) for line in lines if not line.overridden_by]
    names = ("stdin" if name == "-" else Path(name).name for name in files)
    return Profile(" + ".join([base, *names]), (*_base(base), *over))


def _base(name: str) -> list[Setting]:
    if name == "reference":
        return reference_profile()
    return _of_the_host() if name == "host" else []


def _of_the_host() -> list[Setting]:
    """What is in force outside, of all that a namespace may set: TCP's own keys, its ports, and the backlog's limit."""
    keys = {f"net.ipv4.{path.name}" for pattern in _OF_THE_HOST for path in _IPV4.glob(pattern) if _is_setting(path)}
    return [Setting(key, value, optional=True) for key, value in host_values(keys | {"net.core.somaxconn"}).items()]


def _is_setting(path: Path) -> bool:
    return path.is_file() and bool(path.stat().st_mode & 0o200) and f"net.ipv4.{path.name}" not in _NO_SETTINGS


def host_values(keys: set[str]) -> dict[str, str]:
    """The values in force outside of the lab, of the keys that can be read there, by name."""
    values = {}
    for key in sorted(keys):
        try:
            values[key] = sysctls.read(key)
        except LabError:
            continue
    return values
