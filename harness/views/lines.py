"""What rich draws, as plain lines."""

import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.containers import Lines
from rich.text import Text

NARROWEST = 80
"""Columns: narrower terminals get lines that are cut, and a pipe gets this."""

_CLOSES, _OPENS = "。，、；：？！）》」』】”’…", "（《「『【“‘(["
"""What no line begins with, and what none ends with."""

_CLOSES_TOO = ",.;:?!)]"
"""Beside a Chinese character: no line begins with this, either."""

_WORD = re.compile(r"\S+")
_UNIT = re.compile(r"m?s\b")


class Prose(Text):
    """Words, in lines that break as a reader expects it, in Chinese too; a number keeps its unit."""

    def wrap(self, console: Console, width: int, **_: Any) -> Lines:
        lines = Lines()
        for line in self.split("\n", allow_blank=True):
            lines.extend(line.divide(list(_breaks(line.plain, width))))
        for line in lines:
            line.rstrip()
        return lines


def _breaks(text: str, width: int) -> Iterator[int]:
    """Where each line but the first begins."""
    begin = possible = cells = word_ends = 0
    too_long = False
    for at, letter in enumerate(text):
        if at >= word_ends and (word := _WORD.match(text, at)):
            word_ends, too_long = word.end(), cell_len(word[0]) > width
        if at and _may_begin(text, at, within_word=too_long):
            possible = at
        while not letter.isspace() and begin < at and cells + cell_len(letter) > width:
            begin = possible = possible if possible > begin else _folded(text, begin, at)
            cells = cell_len(text[begin:at])
            yield begin
        cells += cell_len(letter)


def _folded(text: str, begin: int, at: int) -> int:
    """Where a word that is longer than a line is broken: as late as it can be."""
    return next((each for each in range(at, begin, -1) if text[each] not in f" {_CLOSES}"), at)


def _may_begin(text: str, at: int, *, within_word: bool) -> bool:
    """Whether a line may begin with this letter; `within_word`: where no space is, too."""
    before, letter = text[at - 1], text[at]
    if letter.isspace() or letter in _CLOSES or before in _OPENS:
        return False
    if before.isspace():
        return not (text[at - 2 : at - 1].isdigit() and _UNIT.match(text, at))
    return within_word and ((cell_len(before) == 2 and letter not in _CLOSES_TOO) or cell_len(letter) == 2)


def printed(parts: Iterable[RenderableType], width: int, *, color: bool) -> str:
    """As plain lines; without `color` not an escape sequence is in them. Chinese takes two columns a character.

    No text is markup: a story's name has brackets.
    """
    out = io.StringIO()
    console = Console(
        file=out, width=max(width, NARROWEST), force_terminal=color, no_color=not color, highlight=False,
        color_system="standard" if color else None, legacy_windows=False, markup=False, emoji=False,
    )  # fmt: skip
    for part in parts:
        console.print(Group(part) if isinstance(part, Prose) else part)  # of a bare Text it would make one of its own
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
