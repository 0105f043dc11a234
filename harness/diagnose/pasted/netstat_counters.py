"""`netstat -s` (net-tools, statistics.c): phrases with a number, and NAME: NUMBER for counters without a phrase.

Most counters are printed only if they are not 0. Phrases in another language are not understood.
"""

import re

from harness.diagnose.pasted.groups import GROUPS, group_of
from harness.diagnose.pasted.phrases import PHRASES
from harness.diagnose.pasted.reading import Counters, Reading, number

_TITLE = re.compile(rf"({'|'.join(GROUPS)}|Tcp6):\s*")
_NAMED = re.compile(r"([A-Za-z]\w{1,63}): (\d{1,20})")
_NUMBER = re.compile(r"(?<!\S)\d{1,20}(?!\S)")
_WITH_PHRASES = ("Tcp", "TcpExt")
_MOST_COUNTERS = 10_000


class NetstatCounters:
    """See the module."""

    name = "netstat -s"

    def __init__(self, reading: Reading, source: str, command: str) -> None:
        del command
        self._reading = reading
        self._counters = Counters(self.name, source)
        self._group = ""
        self._is_understood = True

    @staticmethod
    def begins(line: str) -> bool:
        """The title of a group."""
        return _TITLE.fullmatch(line) is not None

    @staticmethod
    def is_header(line: str) -> bool:
        """Whether another output of this format begins here."""
        return line.rstrip() == "Ip:"

    def read(self, line: str) -> str:
        """The title of a group, or a counter. The phrases of other protocols than TCP are not needed."""
        if title := _TITLE.fullmatch(line):
            self._finish_group()
            self._group = title[1]
            return ""
        if not line[0].isspace():
            return "not a line of netstat -s"
        why = self._counter(line.strip())
        self._is_understood &= not why
        return why

    def _counter(self, text: str) -> str:
        if len(self._counters.numbers) >= _MOST_COUNTERS:
            return f"only {_MOST_COUNTERS} counters are read"
        if named := _NAMED.fullmatch(text):
            self._counters.numbers[self._group + named[1]] = number(named[2])
            return ""
        if self._group not in _WITH_PHRASES:
            return ""
        count = _NUMBER.search(text)
        phrase = " ".join((text[: count.start()] + "#" + text[count.end() :]).split()) if count else ""
        name = PHRASES.get(phrase.rstrip("."), "")
        if not count or group_of(name) != self._group:
            known = text.startswith("RTO algorithm is ")
            return "" if known else "a phrase that is not known here. Hint: use LC_ALL=C netstat -s, or nstat -az"
        self._counters.numbers[name] = number(count[0])
        return ""

    def _finish_group(self) -> None:
        """A group that another one follows is not cut off: what it does not show is 0."""
        if self._group and self._is_understood:
            self._counters.omits_zeros_of.add(self._group)
        self._is_understood = True

    def end(self) -> None:
        """The text is at its end; its last group may be cut off."""
        if self._counters.numbers:
            self._reading.counters.append(self._counters)
