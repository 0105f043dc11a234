"""The kernel's SNMP counters of one network namespace, by the names that `nstat` prints (TcpExtTCPAbortOnClose)."""

from pathlib import Path

_FILES = ("netstat", "snmp")


def text(pid: int) -> str:
    """All counters of the namespace that process `pid` is in, as the kernel prints them; parse() reads it."""
    return "".join(Path(f"/proc/{pid}/net/{file}").read_text() for file in _FILES)


def parse(text: str) -> dict[str, int]:
    """Pairs of lines, `Group: name name …` above `Group: value value …`. ValueError where a pair does not match."""
    counters: dict[str, int] = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        group, *keys = names.split()
        same_group, *numbers = values.split()
        if group != same_group:
            raise ValueError(f"{group!r} stands above {same_group!r}")
        prefix = group.removesuffix(":")
        counters.update({prefix + key: int(number) for key, number in zip(keys, numbers, strict=True)})
    return counters
