"""The table of formats, and how a text is divided among them."""

import re
from collections.abc import Iterable
from typing import Protocol

from harness.diagnose.pasted.netstat_counters import NetstatCounters
from harness.diagnose.pasted.netstat_sockets import NetstatSockets
from harness.diagnose.pasted.nstat import Nstat
from harness.diagnose.pasted.proc_counters import ProcCounters, Sockstat
from harness.diagnose.pasted.proc_net_tcp import ProcNetTcp
from harness.diagnose.pasted.reading import Reading
from harness.diagnose.pasted.ss import Ss
from harness.diagnose.pasted.sysctls import Sysctls
from harness.diagnose.pasted.text import Unread


class Format(Protocol):
    """A reader of one format. `command`: the last command line above the text, or the file's name; it may be empty."""

    name: str

    def __init__(self, reading: Reading, source: str, command: str) -> None: ...

    @staticmethod
    def begins(line: str) -> bool:
        """Whether this line can only be of this format."""

    @staticmethod
    def is_header(line: str) -> bool:
        """Whether a line of this format begins another output of the same command."""

    def read(self, line: str) -> str:
        """Read a line; returns why it is not understood, or ""."""

    def end(self) -> None:
        """No line follows: put what was read into the Reading."""


FORMATS: tuple[type[Format], ...] = (
    NetstatSockets, Ss, ProcNetTcp, ProcCounters, Sockstat, Sysctls, NetstatCounters, Nstat,
)  # fmt: skip

_COMMAND = re.compile(
    r"(?:[^#$%>]{0,200}[#$%>] ?)?(?:sudo +)?(?:ss|netstat|nstat|sysctl|cat|date|sleep|ip netns exec \S+)(?: .*)?"
)
"""A command line with or without a prompt, as people paste it."""

_MOST_UNKNOWN = 2_000
"""If no line of a file is in a known format, it is read up to this number of lines."""


def read(lines: Iterable[tuple[int, str]], source: str, reading: Reading, unread: Unread) -> bool:
    """Read the lines of one file. Returns whether any of them is in a known format."""
    divider = _Divider(source, reading)
    for number, line in lines:
        why = divider.read(line)
        if why:
            unread.add(number, why)
        else:
            reading.understood += 1
        if not divider.current and unread.count > _MOST_UNKNOWN:
            return False
    if divider.current:
        divider.current.end()
    return divider.current is not None


class _Divider:
    """Gives each line to the current format if that understands it, otherwise to a format that the line begins."""

    def __init__(self, source: str, reading: Reading) -> None:
        self.current: Format | None = None
        self._source, self._reading = source, reading
        self._command = source

    def read(self, line: str) -> str:
        """Why the line is not understood, or "" if it is."""
        if self.current and self.current.is_header(line):
            self._begin(type(self.current))
        why = self.current.read(line) if self.current else "no known format"
        if why and (other := self._begun_by(line)):
            why = self._begin(other).read(line)
        if why and _COMMAND.fullmatch(line):
            self._command, why = line, ""
        return why

    def _begin(self, format: type[Format]) -> Format:
        if self.current:
            self.current.end()
        self.current = format(self._reading, self._source, self._command)
        return self.current

    def _begun_by(self, line: str) -> type[Format] | None:
        return next((each for each in FORMATS if not isinstance(self.current, each) and each.begins(line)), None)
