"""What sockets cost the kernel: /proc/net/sockstat of one namespace, and the slab caches of the whole machine."""

from dataclasses import dataclass
from pathlib import Path

from harness.evidence import counters

_SLABINFO = Path("/proc/slabinfo")


@dataclass(frozen=True, slots=True)
class Slab:
    """One cache of kernel objects: how many are in use on this machine, and the bytes that each takes."""

    objects: int
    object_bytes: int


def sockstat(pid: int) -> dict[str, int]:
    """The numbers for the namespace that process `pid` is in, by protocol and word: "TCP tw", "TCP orphan"."""
    path = Path(f"/proc/{pid}/net/sockstat")
    return counters.parsed(path, path.read_text(), parse_sockstat)


def parse_sockstat(text: str) -> dict[str, int]:
    """Lines of `Group: word number word number …`. ValueError where a word has no number."""
    numbers: dict[str, int] = {}
    for line in text.splitlines():
        group, _, rest = line.partition(":")
        fields = rest.split()
        numbers.update({f"{group} {word}": int(n) for word, n in zip(fields[::2], fields[1::2], strict=True)})
    return numbers


def slab(name: str) -> Slab | None:
    """One line of slabinfo(5); None where it may not be read (only root may), or has no such line."""
    try:
        return parse_slab(_SLABINFO.read_text(), name)
    except OSError:
        return None


def parse_slab(text: str, name: str) -> Slab | None:
    """Lines of `name active_objs num_objs objsize …`, as slabinfo(5) version 2.1 has them."""
    for line in text.splitlines():
        fields = line.split()
        if fields[:1] == [name]:
            return Slab(int(fields[1]), int(fields[3]))
    return None
