"""How many workers play stories side by side: bounded by processors, by stories and by memory."""

import contextlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_MIB = 1 << 20
_WORKER_BYTES = 64 * _MIB
_HELPER_BYTES = 32 * _MIB
"""Measured: at its peak a suite with six workers had a PSS of 527 MiB, actors and real servers included, of which the
six pytest processes had 331; each helper has a capture of 8 MiB in the kernel, besides, for the lab that is next."""

_SHARE = 2
"""Workers get half of the memory: what the stories' own programs and other people's use may grow."""

_TEST = re.compile(r"^ *(?:async )?def test_", re.M)


def suitable(wanted: int, stories: int, memory_bytes: int, helpers: int = 1) -> int:
    """As many workers as are wanted, but no more than there are stories, or memory for; at least one.

    `helpers` is how many nurseries a worker has.
    """
    room = memory_bytes // _SHARE // (_WORKER_BYTES + helpers * _HELPER_BYTES)
    return max(1, min(wanted, stories, room))


def count_tests(arguments: Iterable[str], enough: int) -> int:
    """How many tests pytest would find for its arguments, by a look at the sources; counting ends at `enough`.

    A parametrized test counts once, and `-k` is not considered: collecting takes longer than an idle worker costs,
    which never starts a helper.
    """
    return sum(itertools.islice(itertools.chain.from_iterable(map(_tests, arguments)), enough))


def _tests(argument: str) -> Iterator[int]:
    """A 1 for each test."""
    path, *names = argument.split("::")
    if names and names[-1].startswith("test_"):
        yield 1
        return
    for file in _files(Path(path)):
        with contextlib.suppress(OSError):  # a dangling link, as an editor's lock is, or another user's file
            yield from (1 for _ in _TEST.finditer(file.read_text("utf-8", "replace")))


def _files(path: Path) -> Iterator[Path]:
    """Those below a folder, without hidden ones (a virtual environment is called .venv)."""
    if path.is_file():
        yield path
    for folder, below, files in os.walk(path):
        below[:] = [name for name in below if not name.startswith(".")]
        yield from (Path(folder, name) for name in files if name.endswith(".py") and not name.startswith("."))


def available_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that can be had without swapping: the machine's, or what the limits of our cgroup leave of it."""
    fields = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    machine = int(fields["MemAvailable"].split()[0]) * 1024
    return max(0, min([machine, *_left_by_limits(proc, cgroups)]))


def _left_by_limits(proc: Path, cgroups: Path) -> Iterator[int]:
    """By each cgroup that limits us, its own and those above it: its limit, less what is used and not file cache.

    cgroups(7): `0::/path` is version 2, `N:memory:/path` version 1. In a container the path may be that outside, so
    that only the root of the hierarchy is there: it is the container's own.
    """
    for line in _lines(proc / "self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _left(cgroups, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _left(cgroups / "memory", path, *names)


def _left(root: Path, path: str, limit: str, usage: str, cache: str) -> Iterator[int]:
    own = root / path.lstrip("/")
    for folder in (own, *own.parents[: len(own.parts) - len(root.parts)]):
        most, used = _lines(folder / limit), _lines(folder / usage)
        if most and used and most[0].isdecimal():  # version 2 says "max" where there is no limit
            statistics = dict(each.split(" ", 1) for each in _lines(folder / "memory.stat"))
            yield int(most[0]) - int(used[0]) + int(statistics.get(cache, 0))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
