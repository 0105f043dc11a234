"""/proc/net/netstat and /proc/net/snmp, and /proc/net/sockstat and sockstat6."""

import re

from harness.diagnose.pasted.reading import Counters, Reading, number

_NAMES = re.compile(r"([A-Z][A-Za-z0-9]{1,30}):((?: [A-Za-z]\w{0,63})+)\s*")
_VALUES = re.compile(r"([A-Z][A-Za-z0-9]{1,30}):((?: -?\d{1,20})+)\s*")
_SOCKSTAT = re.compile(r"([A-Za-z0-9]{2,16}):((?: [a-z]\w{0,31} \d{1,20})+)\s*")
_MOST_COUNTERS = 10_000


class ProcCounters:
    """Pairs of lines: GROUP and names, GROUP and numbers."""

    name = "/proc/net/snmp and netstat"

    def __init__(self, reading: Reading, source: str, command: str) -> None:
        del command
        self._reading = reading
        self._counters = Counters(self.name, source)
        self._group, self._names = "", list[str]()

    @staticmethod
    def begins(line: str) -> bool:
        """A line of names."""
        return _NAMES.fullmatch(line) is not None

    @staticmethod
    def is_header(line: str) -> bool:
        """Whether another output of this format begins here."""
        return line.startswith(("Ip: F", "TcpExt: S"))

    def read(self, line: str) -> str:
        """One line of a pair."""
        if names := _NAMES.fullmatch(line):
            why = "the line above has no numbers" if self._names else ""
            self._group, self._names = names[1], names[2].split()
            return why
        values = _VALUES.fullmatch(line)
        if not values:
            return "not a line of /proc/net/snmp or netstat"
        group, names_of_group, self._names = self._group, self._names, []
        numbers = values[2].split()
        if group != values[1] or len(numbers) != len(names_of_group):
            return "numbers without a line of as many names above"
        if len(self._counters.numbers) + len(numbers) > _MOST_COUNTERS:
            return f"only {_MOST_COUNTERS} counters are read"
        for name, value in zip(names_of_group, numbers, strict=True):
            self._counters.numbers[group + name] = -number(value[1:]) if value.startswith("-") else number(value)
        return ""

    def end(self) -> None:
        """The text is at its end."""
        if self._counters.numbers:
            self._reading.counters.append(self._counters)
        if self._names:
            self._reading.unseen.append(f"{self._counters.source}: the last line has names, but no numbers follow")


class Sockstat:
    """GROUP, then pairs of a name and a number."""

    name = "/proc/net/sockstat"

    def __init__(self, reading: Reading, source: str, command: str) -> None:
        del source, command
        self._reading = reading

    @staticmethod
    def begins(line: str) -> bool:
        """Any of its lines."""
        return _SOCKSTAT.fullmatch(line) is not None

    @staticmethod
    def is_header(line: str) -> bool:
        """Never: what is read later replaces what was read before."""
        del line
        return False

    def read(self, line: str) -> str:
        """One group."""
        found = _SOCKSTAT.fullmatch(line)
        if not found:
            return "not a line of /proc/net/sockstat"
        words = found[2].split()
        if len(self._reading.sockstat) + len(words) > _MOST_COUNTERS:
            return f"only {_MOST_COUNTERS} counters are read"
        for name, value in zip(words[::2], words[1::2], strict=True):
            self._reading.sockstat[f"{found[1]} {name}"] = number(value)
        return ""

    def end(self) -> None:
        """The text is at its end."""
