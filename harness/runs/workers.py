"""The number of workers that play stories in parallel: limited by processors, stories and memory."""

import contextlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_MIB = 1 << 20
_WORKER_BYTES = 64 * _MIB
_HELPER_BYTES = 32 * _MIB
"""Measured: at its peak a suite with six workers had a PSS of 527 MiB, including actors and real servers, of which the
six pytest processes had 331; in addition, each helper has a capture of 8 MiB in the kernel for its next lab."""

_SHARE = 2
"""Workers get half of the memory, because the stories' programs and other users may need more."""

_TEST = re.compile(r"^ *(?:async )?def test_", re.M)


def suitable(wanted: int, stories: int, memory_bytes: int, helpers: int = 1) -> int:
    """The wanted number of workers, limited by the number of stories and by memory; at least one.

    `helpers` is the number of nurseries of each worker.
    """
    room = memory_bytes // _SHARE // (_WORKER_BYTES + helpers * _HELPER_BYTES)
    return max(1, min(wanted, stories, room))


def count_tests(arguments: Iterable[str], enough: int) -> int:
    """An estimate, from the sources, of how many tests pytest would find for its arguments; counting ends at `enough`.

    A parametrized test counts once, and `-k` is ignored: an exact count would need collection, which takes longer than
    an idle worker costs (it never starts a helper).
    """
    return sum(itertools.islice(itertools.chain.from_iterable(map(_tests, arguments)), enough))


def _tests(argument: str) -> Iterator[int]:
    """Yields a 1 for each test."""
    path, *names = argument.split("::")
    if names and names[-1].startswith("test_"):
        yield 1
        return
    for file in _files(Path(path)):
        with contextlib.suppress(OSError):  # a dangling link (an editor's lock), or another user's file
            yield from (1 for _ in _TEST.finditer(file.read_text("utf-8", "replace")))


def _files(path: Path) -> Iterator[Path]:
    """The Python files below a folder, except hidden ones (.venv)."""
    if path.is_file():
        yield path
    for folder, below, files in os.walk(path):
        below[:] = [name for name in below if not name.startswith(".")]
        yield from (Path(folder, name) for name in files if name.endswith(".py") and not name.startswith("."))


def available_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """The memory available without swapping: the machine's, or what the limits of this process's cgroups leave."""
    fields = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
    machine = int(fields["MemAvailable"].split()[0]) * 1024
    return max(0, min([machine, *_left_by_limits(proc, cgroups)]))


def _left_by_limits(proc: Path, cgroups: Path) -> Iterator[int]:
    """What each cgroup of this process, and each above it, leaves: its limit minus the memory used, without file cache.

    cgroups(7): `0::/path` is version 2, `N:memory:/path` version 1. In a container, the path may be the one outside,
    and only the root of the hierarchy exists, which is the container's own.
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
        if most and used and most[0].isdecimal():  # version 2 has "max" if there is no limit
            statistics = dict(each.split(" ", 1) for each in _lines(folder / "memory.stat"))
            yield int(most[0]) - int(used[0]) + int(statistics.get(cache, 0))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
