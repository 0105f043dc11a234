"""The sysctls that stories run under: a base, and the settings on top of it."""

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
"""explain/profiles/reference.conf; the kernel's defaults for a new namespace; the current values outside the lab."""

_TAKEN = (Kind.APPLIED, Kind.SAME, Kind.NO_EFFECT, Kind.OVERRIDDEN)

_IPV4 = Path("/proc/sys/net/ipv4")
_OF_THE_HOST = ("tcp_*", "ip_local_*")
_NO_SETTINGS = {
    "net.ipv4.tcp_fastopen_key",  # a secret
    "net.ipv4.tcp_child_ehash_entries",  # set by the nursery: the size of a lab's socket table
    "net.ipv4.tcp_allowed_congestion_control",  # shared by the whole machine
}


@dataclass(frozen=True, slots=True)
class Profile:
    """A name to show, and the settings in the order in which they are written."""

    name: str
    settings: tuple[Setting, ...]

    def values(self) -> dict[str, str]:
        """The last value of each key."""
        return {setting.key: setting.value for setting in self.settings}


def chosen(base: str, files: Sequence[str] = (), pairs: Sequence[str] = (), *, tried: bool = False) -> Profile:
    """One of BASES, the files on top of it, in order, and KEY=VALUE pairs on top of them. LabError if unreadable.

    A key that a lab cannot have is left out and listed (Lab.not_set) if it is in a file, where keys of the host are
    common, but is an error in a pair. `tried`: find this error, and values in files that the kernel refuses, before any
    lab starts.
    """
    lines, over = read(files), [_line(pair) for pair in pairs]
    if tried and (lines or over) and (wrong := list(_wrong(base, lines, over))):
        raise LabError("\n".join(wrong))
    from_files = with_lines(base, files, lines)
    settings = [*from_files.settings, *(Setting(line.key, line.value) for line in over)]
    named = zip(pairs, over, strict=True)
    names = (f"{pair.partition('=')[0]}={sysctls.redact(each.key, each.value)}" for pair, each in named)
    return Profile(" + ".join([from_files.name, *names]), tuple(settings))


def _line(pair: str) -> Line:
    key, equals, value = pair.partition("=")
    if not equals or not key.strip():
        raise LabError(
            f"{without_secrets(repr(pair))} is not KEY=VALUE. Hint: write it like net.ipv4.tcp_syn_retries=3"
        )
    return Line(normalised(key.strip()), value.strip(), "--lab-sysctl", 0, 0)


def _wrong(base: str, lines: Sequence[Line], pairs: Sequence[Line]) -> Iterator[str]:
    """Errors for each pair that a lab cannot have, and for each file's line that is refused and not optional."""
    try:
        with network(_base(base)) as keeper:
            verdicts = explain([*lines, *pairs], lambda _: None, keeper)
    except LabUnavailable:  # each story reports that
        return
    for each in verdicts[: len(lines)]:
        if each.kind is Kind.REFUSED and not each.line.optional:
            yield _complaint(each.line.place, each)
    for each in verdicts[len(lines) :]:
        if each.kind not in _TAKEN:
            yield _complaint("--lab-sysctl", each)


def _complaint(place: str, verdict: Verdict) -> str:
    line, why = verdict.line, verdict.text.partition("; did you mean")[0]
    hint = "leave it out"
    if verdict.kind is Kind.REFUSED:
        hint = "give a value that the kernel accepts"
    elif verdict.kind is Kind.UNKNOWN:
        near = nearest(line.key)
        hint = f"did you mean {near}?" if near else "`sysctl -a --pattern '^net'` lists the names"
    return shown(f"{place}: {line.key} = {sysctls.redact(line.key, line.value)!r}: {verdict.kind}: {why}. Hint: {hint}")


def with_lines(base: str, files: Sequence[str], lines: Sequence[Line]) -> Profile:
    """One of BASES, with the lines that were read from these files on top. (The standard input can be read only once.)

    If a key comes twice, both lines are written in order, and the last one that the kernel accepts takes effect.
    Malformed if the lines belong to different containers.
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
    """The host's values of the keys that a namespace may set: TCP's own keys, its ports, and the backlog's limit."""
    keys = {f"net.ipv4.{path.name}" for pattern in _OF_THE_HOST for path in _IPV4.glob(pattern) if _is_setting(path)}
    return [Setting(key, value, optional=True) for key, value in host_values(keys | {"net.core.somaxconn"}).items()]


def _is_setting(path: Path) -> bool:
    return path.is_file() and bool(path.stat().st_mode & 0o200) and f"net.ipv4.{path.name}" not in _NO_SETTINGS


@functools.cache
def governing() -> frozenset[str]:
    """The keys that govern at least one scenario, as listed in the lessons."""
    return frozenset(key for lesson in lessons.every() for key in lesson.sysctls)


def effective_values(under: Profile, keeper: KeeperHandle) -> dict[str, str]:
    """The values in a lab under this profile, for each key that governs a scenario or that the profile names."""
    values = {key: kernel_value(keeper)(key) for key in sorted(governing() | set(under.values()))}
    return {key: value for key, value in values.items() if value is not None}


def host_values(keys: Set[str]) -> dict[str, str]:
    """The current values outside the lab, of those keys that can be read there."""
    values = {}
    for key in sorted(keys):
        try:
            values[key] = sysctls.read(key)
        except LabError:
            continue
    return values
