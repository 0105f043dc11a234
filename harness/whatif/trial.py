"""What a what-if compares: the sysctls before and after, as the kernel accepts them, and the keys that differ."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace

from harness.errors import LabError
from harness.explain import known
from harness.explain.explain import Kind, Verdict, explain, host_value, in_each_network, kernel_value
from harness.explain.profile import BASES, Profile, host_values, with_lines
from harness.kernel import sysctls
from harness.kernel.sysctls import Setting
from harness.lab.sandbox import network
from harness.sysctl_files.lines import Line, Place, shown
from harness.sysctl_files.read import read_as_asked

_NOT_TAKEN = (Kind.REFUSED, Kind.UNKNOWN, Kind.READ_ONLY)


@dataclass(frozen=True, slots=True)
class Trial:
    """Two profiles, the verdict on each line of either, and the old and new value of each changed key (not secrets)."""

    before: Profile
    after: Profile
    verdicts: tuple[Verdict, ...]
    verdicts_before: tuple[Verdict, ...]
    changed: dict[str, tuple[str | None, str | None]]
    without_effect: dict[str, set[str]] = field(default_factory=dict)
    """Keys that do nothing under the values after the change, each with the other keys whose values disable it."""
    left_out: tuple[Place, ...] = ()
    """The places that could not be read."""

    def not_tried(self) -> list[Verdict]:
        """The lines that the kernel does not accept, so that their effect is unknown.

        Lines that were there before and lines that may fail (`-`) are left out.
        """
        old = {(each.line.key, each.line.value) for each in self.verdicts_before}
        found = [each for each in self.verdicts if each.kind in _NOT_TAKEN and not each.line.optional]
        return [each for each in found if (each.line.key, each.line.value) not in old]

    def out_of_reach(self) -> dict[str, str]:
        """Keys that the file would change, but that a lab cannot try, and why."""
        found = {}
        for each in self.verdicts:
            key, value = each.line.key, " ".join(each.line.value.split())
            if value == self._value_before(key):
                continue
            if each.kind in (Kind.HOST_WIDE, Kind.UNTRIED):
                found[key] = f"{each.kind}: {each.text}"
            elif each.kind is Kind.APPLIED and key not in self.changed:
                found[key] = "its old and its new value cannot be read"
        return found

    def _value_before(self, key: str) -> str | None:
        """A key's value in the `--before` files, or without files, on the host."""
        if (value := self.before.values().get(key)) is not None:
            return " ".join(value.split())
        return host_value(key) if self.before.name == "host" else None


def trial(files: Sequence[str], before: Sequence[str], governing: Set[str], *, partial: bool = False) -> Trial:
    """Try the files on top of `before`, one of BASES; or if that is files, too, both on top of the kernel's defaults.

    A container does not have the host's values, so `host` means the kernel's defaults for it.
    `governing`: keys to compare even if no file names them. `partial`: use what can be read of the files.
    Raises LabError, Malformed, LabUnavailable.
    """
    bases = [each for each in before if each in BASES]
    if bases and len(before) > 1:
        raise LabError(
            f"--before takes either {bases[0]} or files. "
            f"Hint: give it once (for a file of that name, write ./{bases[0]})"
        )
    base, old_files = (before[0], []) if bases else ("kernel", list(before))
    (lines, left_out), (old, also) = (read_as_asked(each, partial=partial) for each in (files, old_files))
    of_a_container = base == "host" and bool(lines) and all(line.container for line in lines)
    base = "kernel" if of_a_container else base
    profiles = _profile(base, old_files, old, lines), _profile(base, files, lines, lines)
    settings = list(_profile(base, (), (), lines).settings)
    with network(settings) as one, network(settings) as other:
        was, now = kernel_value(one), kernel_value(other)
        verdicts_before = in_each_network(old, lambda group: explain(group, now, one))
        verdicts = in_each_network(lines, lambda group: explain(group, was, other, now))
        keys = governing | {setting.key for profile in profiles for setting in profile.settings}
        dead = {
            line.key: {key for key, _, _ in known.without_effect(line.key, line.value, now)}
            for line in (each.line for each in verdicts if each.kind is Kind.NO_EFFECT)
        }
        values = {key: (was(key), now(key)) for key in sorted(keys)}
    changed = {key: (_shown(key, old), _shown(key, new)) for key, (old, new) in values.items() if old != new}
    if profiles[0].name == profiles[1].name:  # two files with the same name
        named = [" + ".join([base, *map(shown, paths)]) for paths in (old_files, files)]
        profiles = replace(profiles[0], name=named[0]), replace(profiles[1], name=named[1])
    if of_a_container:
        profiles = replace(profiles[0], name="kernel (a container does not have the host's values)"), profiles[1]
    return Trial(*profiles, tuple(verdicts), tuple(verdicts_before), changed, dead, (*left_out, *also))


def _shown(key: str, value: str | None) -> str | None:
    return value and sysctls.redact(key, value)


def _profile(base: str, files: Sequence[str], lines: Sequence[Line], named: Sequence[Line]) -> Profile:
    """The base with these lines on top; if the base is the host, also its values of the keys in `named`."""
    profile = with_lines(base, files, lines)
    if base != "host":
        return profile
    also = [Setting(key, value, optional=True) for key, value in host_values({each.key for each in named}).items()]
    return replace(profile, settings=(*also, *profile.settings))
