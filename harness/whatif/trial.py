"""What a what-if is about: the sysctls before and after, as the kernel takes them, and the keys that differ."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from harness.kernel.sysctls import Setting
from harness.nursery import KeeperHandle, Nursery
from harness.profile import BASES, Profile, chosen, with_lines
from harness.tuning.explain import Verdict, explain, kernel_value
from harness.tuning.read import read


@dataclass(frozen=True, slots=True)
class Trial:
    """Two profiles, the verdict on each line of the second, and what each changed key was and becomes."""

    before: Profile
    after: Profile
    verdicts: tuple[Verdict, ...]
    changed: dict[str, tuple[str | None, str | None]]


def trial(files: Sequence[str], before: Sequence[str], governing: set[str]) -> Trial:
    """Try the files, against `before`: one of BASES, over which they lie; or files, and both lie over the kernel's own.

    `governing`: keys whose values count even if no file names them. Malformed, LabUnavailable.
    """
    base, old = (before[0], []) if before[0] in BASES else ("kernel", list(before))
    lines = read(files)
    profiles = chosen(base, old), with_lines(base, files, lines)
    with _network(profiles[0].settings) as one, _network(chosen(base).settings) as other:
        verdicts = explain(lines, kernel_value(one), other)
        keys = governing | {setting.key for profile in profiles for setting in profile.settings}
        values = {key: (kernel_value(one)(key), kernel_value(other)(key)) for key in sorted(keys)}
    changed = {key: pair for key, pair in values.items() if pair[0] != pair[1]}
    return Trial(*profiles, tuple(verdicts), changed)


@contextmanager
def _network(settings: Sequence[Setting]) -> Iterator[KeeperHandle]:
    """A network of its own, in which nothing is played."""
    nursery = Nursery(list(settings))
    try:
        keeper = nursery.open_lab("", spare=False)
        try:
            yield keeper
        finally:
            keeper.close()
    finally:
        nursery.close()
