"""The progress of a what-if on the standard error: a bar on a terminal, lines in a log."""

import time

from harness.output import terminal

_BAR = 30
_LINES = 10
"""A log gets a line for each tenth."""


class Progress:
    """Called with the number of plays done and the total, which may fall meanwhile; shows them."""

    def __init__(self, what: str) -> None:
        """`what` is being played: "3 scenarios"."""
        self._what = what
        self._began = time.monotonic()
        self._tenth = -1
        self._has_bar = terminal.can_redraw()

    def __call__(self, done: int, total: int) -> None:
        """Redraw the bar, or write a line if another tenth has been played."""
        if self._has_bar:
            filled = _BAR * done // max(1, total)
            bar = f"[{'#' * filled}{'.' * (_BAR - filled)}]"
            terminal.draw(f"{bar} {done} of {total} plays, {time.monotonic() - self._began:.0f} s")
        elif (tenth := _LINES * done // max(1, total)) > self._tenth:
            self._tenth = tenth
            line = f"{done} of {total} plays after {time.monotonic() - self._began:.0f} s"
            terminal.complain(line if done else f"whatif: {self._what}: {total} plays at most")

    def end(self) -> None:
        """Remove the bar; lines stay."""
        if self._has_bar:
            terminal.draw("")
