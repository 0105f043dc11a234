"""Which sysctls the stories run under: a base, and what is laid over it."""

import functools
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from harness.errors import LabError, LabUnavailable
from harness.explain.explain import Kind, Verdict, explain, kernel_value, nearest
from harness.explain.reference import reference_profile
from harness.kernel import sysctls
from harness.kernel.sysctls import Setting
from harness.lab.asking import KeeperHandle
from harness.lab.sandbox import network
from harness.lessons import lessons
from harness.sysctl_files.lines import Line, normalised, one_network, shown, without_secrets
from harness.sysctl_files.read import read

BASES = ("reference", "kernel", "host")
"""explain/profiles/reference.conf; what the kernel gives a new namespace; what is in force outside of the lab."""

_TAKEN = (Kind.APPLIED, Kind.SAME, Kind.NO_EFFECT, Kind.OVERRIDDEN)

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


def chosen(base: str, files: Sequence[str] = (), pairs: Sequence[str] = (), *, tried: bool = False) -> Profile:
    """One of BASES, over it the files in their order, over them KEY=VALUE pairs. LabError for what cannot be read.

    A key that a lab cannot have (a file may well name some of the host's) is left out and told of (Lab.not_set); of a
    pair it is an error. `tried`: find that error here, and a file's value that the kernel refuses, before any lab does.
    """
    lines, over = read(files), [_line(pair) for pair in pairs]
    if tried and (lines or over) and (wrong := list(_wrong(base, lines, over))):
        raise LabError("\n".join(wrong))
    laid_over = with_lines(base, files, lines)
    settings = [*laid_over.settings, *(Setting(line.key, line.value) for line in over)]
    named = zip(pairs, over, strict=True)
    names = (f"{pair.partition('=')[0]}={sysctls.redact(each.key, each.value)}" for pair, each in named)
    return Profile(" + ".join([laid_over.name, *names]), tuple(settings))


def _line(pair: str) -> Line:
    key, equals, value = pair.partition("=")
    if not equals or not key.strip():
        raise LabError(
            f"{without_secrets(repr(pair))} is not a setting. Hint: write KEY=VALUE, such as net.ipv4.tcp_syn_retries=3"
        )
    return Line(normalised(key.strip()), value.strip(), "--lab-sysctl", 0, 0)


def _wrong(base: str, lines: Sequence[Line], pairs: Sequence[Line]) -> Iterator[str]:
    """What a lab cannot have, of the pairs; of the files' lines, what the kernel refuses and no '-' forgives."""
    try:
        with network(_base(base)) as keeper:
            verdicts = explain([*lines, *pairs], lambda _: None, keeper)
    except LabUnavailable:  # each story says so
        return
    for each in verdicts[: len(lines)]:
        if each.kind is Kind.REFUSED and not each.line.optional:
            yield _complaint(each.line.place, each)
    for each in verdicts[len(lines) :]:
        if each.kind not in _TAKEN:
            yield _complaint("--lab-sysctl", each)


def _complaint(place: str, verdict: Verdict) -> str:
    line, why = verdict.line, verdict.text.partition("; did you mean")[0]
    mend = "leave it out"
    if verdict.kind is Kind.REFUSED:
        mend = "give a value that the kernel takes"
    elif verdict.kind is Kind.UNKNOWN:
        near = nearest(line.key)
        mend = f"did you mean {near}?" if near else "see `sysctl -a --pattern '^net'` for the names"
    return shown(f"{place}: {line.key} = {sysctls.redact(line.key, line.value)!r}: {verdict.kind}: {why}. Hint: {mend}")


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


@functools.cache
def governing() -> frozenset[str]:
    """The keys that govern a scenario, by its lesson."""
    return frozenset(key for lesson in lessons.every() for key in lesson.sysctls)


def effective_values(under: Profile, keeper: KeeperHandle) -> dict[str, str]:
    """What a lab under this profile has of each key that governs a scenario, or that the profile names."""
    values = {key: kernel_value(keeper)(key) for key in sorted(governing() | set(under.values()))}
    return {key: value for key, value in values.items() if value is not None}


def host_values(keys: Set[str]) -> dict[str, str]:
    """The values in force outside of the lab, of the keys that can be read there, by name."""
    values = {}
    for key in sorted(keys):
        try:
            values[key] = sysctls.read(key)
        except LabError:
            continue
    return values
