"""What rich draws, as plain lines."""

import io
from collections.abc import Iterable

from rich.console import Console, RenderableType

NARROWEST = 80
"""Columns: narrower terminals get lines that are cut, and a pipe gets this."""


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
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
