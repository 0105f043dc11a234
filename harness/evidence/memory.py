"""The kernel memory that sockets use: /proc/net/sockstat of one namespace, and the slab caches of the whole machine."""

from dataclasses import dataclass
from pathlib import Path

from harness.evidence import counters

_SLABINFO = Path("/proc/slabinfo")


@dataclass(frozen=True, slots=True)
class Slab:
    """One slab cache: the number of objects in use on this machine, and the size of each in bytes."""

    objects: int
    object_bytes: int


def sockstat(pid: int) -> dict[str, int]:
    """The numbers for the namespace that process `pid` is in, by protocol and name: "TCP tw", "TCP orphan"."""
    path = Path(f"/proc/{pid}/net/sockstat")
    return counters.parsed(path, path.read_text(), parse_sockstat)


def parse_sockstat(text: str) -> dict[str, int]:
    """Parse lines of `Group: word number word number …`. ValueError if a word has no number."""
    numbers: dict[str, int] = {}
    for line in text.splitlines():
        group, _, rest = line.partition(":")
        fields = rest.split()
        numbers.update({f"{group} {word}": int(n) for word, n in zip(fields[::2], fields[1::2], strict=True)})
    return numbers


def slab(name: str) -> Slab | None:
    """One line of slabinfo(5); None if it has no such line, or may not be read (only root may)."""
    try:
        return parse_slab(_SLABINFO.read_text(), name)
    except OSError:
        return None


def parse_slab(text: str, name: str) -> Slab | None:
    """Parse lines of `name active_objs num_objs objsize …`, as in slabinfo(5) version 2.1."""
    for line in text.splitlines():
        fields = line.split()
        if fields[:1] == [name]:
            return Slab(int(fields[1]), int(fields[3]))
    return None
