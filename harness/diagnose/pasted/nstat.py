"""`nstat -az`: a name, a number and a rate in each line. Without -z, counters that are 0 are omitted; without
-a, they count from the previous run of nstat."""

import re

from harness.diagnose.pasted.groups import GROUPS, group_of
from harness.diagnose.pasted.reading import Counters, Reading, number

_BEGINNING = re.compile(rf"(?:{'|'.join(GROUPS)})[A-Z]\w{{0,60}}\s+\d{{1,20}}(?:\s+[\d.]+)?\s*")
_MOST_COUNTERS = 10_000


class Nstat:
    """See the module."""

    name = "nstat"

    def __init__(self, reading: Reading, source: str, command: str) -> None:
        del command
        self._reading = reading
        self._counters = Counters(self.name, source)
        self._last = ""
        self._complete = set[str]()

    @staticmethod
    def begins(line: str) -> bool:
        """The header, or a line with a group of counters that is known here."""
        return line.startswith("#kernel") or _BEGINNING.fullmatch(line) is not None

    @staticmethod
    def is_header(line: str) -> bool:
        """Whether another output of this format begins here."""
        return line.startswith("#kernel")

    def read(self, line: str) -> str:
        """The header, or a counter."""
        if self.is_header(line):
            return ""
        words = line.split()
        name = words[0]
        if not (len(words) in (2, 3) and words[1].isdecimal() and name.isascii() and name.isalnum()):
            return "not a line of nstat"
        if len(self._counters.numbers) >= _MOST_COUNTERS:
            return f"only {_MOST_COUNTERS} counters are read"
        self._counters.numbers[name] = number(words[1])
        if self._last and group_of(name) != self._last:
            self._complete.add(self._last)
        self._last = group_of(name)
        return ""

    def end(self) -> None:
        """The text is at its end. The last group may be cut off."""
        if not self._counters.numbers:
            return
        if all(self._counters.numbers.values()):
            self._counters.omits_zeros_of = self._complete
        self._reading.counters.append(self._counters)
