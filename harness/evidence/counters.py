"""The kernel's SNMP counters of one network namespace, by the names that `nstat` prints (TcpExtTCPAbortOnClose)."""

from collections.abc import Callable
from pathlib import Path

from harness.errors import LabError

__tracebackhide__ = True

_FILES = ("netstat", "snmp")


def texts(pid: int) -> list[tuple[Path, str]]:
    """All counters of the namespace that process `pid` is in, as the kernel prints them; numbers() parses them.

    LabError if the process is gone.
    """
    try:
        return [(path, path.read_text()) for path in (Path(f"/proc/{pid}/net/{file}") for file in _FILES)]
    except (FileNotFoundError, ProcessLookupError):
        raise LabError(f"the helper process died ({pid}). Hint: look for the cause, for example with `dmesg`") from None


def numbers(texts: list[tuple[Path, str]]) -> dict[str, int]:
    """The counters by name. LabError if the kernel prints them in an unknown form."""
    found: dict[str, int] = {}
    for path, text in texts:
        found |= parsed(path, text, parse)
    return found


def parsed(path: Path, text: str, parse: Callable[[str], dict[str, int]]) -> dict[str, int]:
    """The numbers in a table of /proc/PID/net, by name. LabError if the parser refuses it."""
    try:
        return parse(text)
    except ValueError as error:
        raise LabError(f"{path} has an unknown form: {error}. Hint: report this, with the file's content") from None


def parse(text: str) -> dict[str, int]:
    """Parse pairs of lines, `Group: name name …` and `Group: value value …`. ValueError if a pair does not match."""
    counters: dict[str, int] = {}
    lines = text.splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        group, *keys = names.split()
        same_group, *numbers = values.split()
        if group != same_group:
            raise ValueError(f"{group!r} is followed by {same_group!r}")
        prefix = group.removesuffix(":")
        counters.update({prefix + key: int(number) for key, number in zip(keys, numbers, strict=True)})
    return counters
