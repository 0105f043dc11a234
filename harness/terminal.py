"""The terminal that is written to, if it is one."""

import os
import shutil
import sys

__tracebackhide__ = True


def width() -> int:
    """Columns: $COLUMNS, or the terminal's own, or 80."""
    return shutil.get_terminal_size().columns


def is_there() -> bool:
    """Whether somebody reads along; what goes into a pipe or a file is for programs, too."""
    return sys.stdout.isatty()


def wants_color(asked: str = "auto") -> bool:
    """Not in a pipe, not where NO_COLOR is set (no-color.org), not on a terminal that calls itself dumb.

    Unless it is asked for: yes or no, as pytest's --color has them.
    """
    if asked != "auto":
        return asked == "yes"
    return is_there() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """Write a text and a line's end; what the terminal's encoding does not have becomes a question mark."""
    _write(f"{text}\n")


def ask(prompt: str) -> str:
    """Write a prompt, and read a line with its end; nothing at the end of the input."""
    _write(prompt)
    return sys.stdin.buffer.readline().decode(errors="replace")


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()
