"""Lines of hostile text, within limits, and notes on what was not read."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

MOST_BYTES = 256 << 20
"""Of all files of one look: a hundred thousand rows of `ss -tanpeimo` have about 60 MB."""
MOST_LINES = 2_000_000
LONGEST_LINE = 1 << 18
"""In bytes: `ss -p` names all processes that share a listener in one line, a thousand in about 40,000 bytes."""
MOST_ROWS = 250_000
"""Of one table."""
_MOST_NOTES = 5
"""Unread lines of one file that are noted one by one; the others are counted."""


@dataclass(slots=True)
class Unread:
    """What one file has that was not read: the first few lines, and the number of all."""

    lines: list[str] = field(default_factory=list)
    count: int = 0
    is_utf_16: bool = False

    def add(self, number: int, why: str) -> None:
        """Note one line. `why` never quotes it: it may hold a secret."""
        self.count += 1
        if len(self.lines) < _MOST_NOTES:
            self.lines.append(f"line {number}: {why}")

    def notes(self, name: str) -> list[str]:
        """For people: the first lines, and how many more there are."""
        more = self.count - len(self.lines)
        return [*(f"{name}, {line}" for line in self.lines), *([f"{name}: {more} more lines"] if more else [])]


@dataclass(slots=True)
class Budget:
    """The bytes and lines that may still be read, in all files of one look together."""

    bytes_left: int = MOST_BYTES
    lines_left: int = MOST_LINES


def lines(file: BinaryIO, unread: Unread, budget: Budget) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers. Reads no more than the budget, and holds one line at a time."""
    number = 0
    while data := file.readline(LONGEST_LINE + 1):
        number += 1
        budget.bytes_left -= len(data)
        budget.lines_left -= 1
        if budget.bytes_left < 0 or budget.lines_left < 0:
            unread.add(number, f"from here on: only {MOST_BYTES >> 20} MiB and {MOST_LINES} lines are read")
            return
        if len(data) > LONGEST_LINE and not data.endswith(b"\n"):
            _skip_rest_of_line(file, budget)
            unread.add(number, f"longer than {LONGEST_LINE} bytes")
        elif number == 1 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            unread.is_utf_16 = True  # as PowerShell saves what a program prints
            unread.add(number, "UTF-16")
        elif b"\0" in data:
            unread.add(number, "binary")
        else:
            line = data.decode(errors="replace").rstrip("\r\n").removeprefix("\ufeff")
            if line.strip():
                yield number, line


def _skip_rest_of_line(file: BinaryIO, budget: Budget) -> None:
    while budget.bytes_left > 0 and (data := file.readline(LONGEST_LINE)):
        budget.bytes_left -= len(data)
        if data.endswith(b"\n"):
            return
