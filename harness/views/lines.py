"""Turns what rich draws into plain lines."""

import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.containers import Lines
from rich.text import Text

NARROWEST = 80
"""The least width in columns, also for a pipe; a narrower terminal wraps or cuts the lines."""

_CLOSES, _OPENS = "。，、；：？！）》」』】”’…", "（《「『【“‘(["
"""Characters that no line begins with, and that no line ends with."""

_CLOSES_TOO = ",.;:?!)]"
"""Characters that no line begins with if they follow a Chinese character."""

_WORD = re.compile(r"\S+")
_UNIT = re.compile(r"m?s\b")


class Prose(Text):
    """Text with correct line breaks, also in Chinese; a number is not separated from its unit."""

    def wrap(self, console: Console, width: int, **_: Any) -> Lines:
        lines = Lines()
        for line in self.split("\n", allow_blank=True):
            lines.extend(line.divide(list(_breaks(line.plain, width))))
        for line in lines:
            line.rstrip()
        return lines


def _breaks(text: str, width: int) -> Iterator[int]:
    """The index at which each line but the first begins."""
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
    """The index at which to break a word that is longer than a line: as late as possible."""
    return next((each for each in range(at, begin, -1) if text[each] not in f" {_CLOSES}"), at)


def _may_begin(text: str, at: int, *, within_word: bool) -> bool:
    """Whether a line may begin with this letter; `within_word`: even if no space is before it."""
    before, letter = text[at - 1], text[at]
    if letter.isspace() or letter in _CLOSES or before in _OPENS:
        return False
    if before.isspace():
        return not (text[at - 2 : at - 1].isdigit() and _UNIT.match(text, at))
    return within_word and ((cell_len(before) == 2 and letter not in _CLOSES_TOO) or cell_len(letter) == 2)


def printed(parts: Iterable[RenderableType], width: int, *, color: bool) -> str:
    """The parts as plain lines, without escape sequences unless `color`. A Chinese character takes two columns.

    Text is never read as markup, because a story's name contains brackets.
    """
    out = io.StringIO()
    console = Console(
        file=out, width=max(width, NARROWEST), force_terminal=color, no_color=not color, highlight=False,
        color_system="standard" if color else None, legacy_windows=False, markup=False, emoji=False,
    )  # fmt: skip
    for part in parts:
        console.print(Group(part) if isinstance(part, Prose) else part)  # rich would copy a bare Prose into a Text
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
