"""Sysctls: `sysctl -a`, or a file of /proc/sys. Only those that a snapshot has (snapshot.SYSCTLS) are kept."""

import re

from harness.diagnose.pasted.reading import Reading
from harness.diagnose.snapshot import SYSCTLS

_LINE = re.compile(r"((?:net|kernel|vm|fs|user|dev|debug|abi|sunrpc|crypto)[./][\w./*:@-]{1,200}) ?=(.*)")
_NUMBERS = re.compile(r"\d{1,20}(?: \d{1,20})*")
_PORTS = re.compile(r"(?:\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?)*)?")
_SHAPES = {
    "net.ipv4.ip_local_port_range": re.compile(r"\d{1,5} \d{1,5}"), "net.ipv4.ip_local_reserved_ports": _PORTS,
}  # fmt: skip
"""Signatures compute with the values: text that the kernel would not print must not reach them."""
_LAST_PORT = 65535


class Sysctls:
    """Lines of `sysctl -a`, or of a file of sysctl.d: KEY = VALUE."""

    name = "sysctl"

    def __init__(self, reading: Reading, source: str, command: str) -> None:
        del source, command
        self._reading = reading

    @staticmethod
    def begins(line: str) -> bool:
        """Any of its lines."""
        return _LINE.fullmatch(line) is not None

    @staticmethod
    def is_header(line: str) -> bool:
        """Never: what is read later replaces what was read before."""
        del line
        return False

    def read(self, line: str) -> str:
        """One sysctl."""
        if line.startswith("sysctl: "):  # what may not be read, or is gone
            return ""
        found = _LINE.fullmatch(line)
        if not found:
            return "not a line of sysctl"
        return keep(self._reading, found[1].replace("/", "."), found[2])

    def end(self) -> None:
        """The text is at its end."""


def keep(reading: Reading, key: str, value: str) -> str:
    """Keep a sysctl if signatures use it. Why it is not understood, or empty."""
    if key not in SYSCTLS:
        return ""
    value = " ".join(value.split())
    if not _SHAPES.get(key, _NUMBERS).fullmatch(value):
        return f"a value that {key} cannot have"
    if key in _SHAPES and any(int(port) > _LAST_PORT for port in re.findall(r"\d+", value)):
        return f"a value that {key} cannot have"
    reading.sysctls[key] = value
    return ""
