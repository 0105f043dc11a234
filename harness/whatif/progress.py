"""How far a what-if is: a bar on a terminal, lines in a log; always on the standard error."""

import os
import sys
import time

from harness.output import terminal

_BAR = 30
_LINES = 10
"""A log gets a line for each tenth."""


class Progress:
    """Is told how many plays there have been, of how many; the number of plays may fall meanwhile."""

    def __init__(self, what: str) -> None:
        """`what` is played: 3 scenarios."""
        self._what = what
        self._began = time.monotonic()
        self._tenth = -1
        self._has_bar = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def __call__(self, done: int, total: int) -> None:
        """Draw the bar anew, or write a line if another tenth has been played."""
        if self._has_bar:
            filled = _BAR * done // max(1, total)
            bar = f"[{'#' * filled}{'.' * (_BAR - filled)}]"
            terminal.draw(f"{bar} {done} of {total} plays, {time.monotonic() - self._began:.0f} s")
        elif (tenth := _LINES * done // max(1, total)) > self._tenth:
            self._tenth = tenth
            said = f"{done} of {total} plays after {time.monotonic() - self._began:.0f} s"
            terminal.complain(said if done else f"whatif: {self._what}: {total} plays at most")

    def end(self) -> None:
        """The bar disappears; lines stay."""
        if self._has_bar:
            terminal.draw("")
