"""The standard output: a terminal or not, what its encoding can show, and what is said if it cannot be written."""

import contextlib
import os
import re
import shutil
import sys
from functools import cache

from harness.errors import LabError

__tracebackhide__ = True

_STAND_INS = {
    "─": "-", "│": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+",
    "▶": ">", "◀": "<", "»": ">", "→": "->", "←": "<-", "↔": "<->", "↑": "^", "↓": "v", "…": "...", "×": "x",
    "“": '"', "”": '"', "‘": "'", "’": "'", "·": ".", "–": "-", "−": "-", "µ": "u", "≠": "!=", "≈": "~", "½": "1/2",
    "≥": ">=", "≤": "<=",
}  # fmt: skip
"""In ASCII, for an encoding that does not have the character."""


class OutputFailed(LabError):
    """The standard output cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"the standard output cannot be written: {error.strerror or error}. Hint: redirect it to another file"
        )
        self.is_closed_pipe = isinstance(error, BrokenPipeError)
        """Its reader has gone, as `head` does when it has enough."""


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
    """Write a text and a line's end, as fitting() has it. OutputFailed where it cannot be written."""
    _write(f"{text}\n")


def ask(prompt: str) -> str:
    """Write a prompt, and read a line with its end; nothing at the end of the input."""
    _write(prompt)
    return sys.stdin.buffer.readline().decode(errors="replace") if sys.stdin else ""


def complain(text: str) -> None:
    """Write a line to the standard error, if there is one that can be written."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (OSError, AttributeError):  # Python has no sys.stderr if it was closed
        return


def draw(line: str) -> None:
    """Put a line, without color, in the place of the last one of the standard error, which is a terminal."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"\r\x1b[K{line[: width() - 1]}")  # ECMA-48, EL: to the end of the line
        sys.stderr.flush()


def pass_on(data: bytes) -> None:
    """Write what another program has said."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except OSError as error:
        raise OutputFailed(error) from None


def discard() -> None:
    """Send what is still in the buffer, and all that follows, nowhere: Python would try once more as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def fitting(text: str) -> str:
    """The text in characters that the standard output's encoding has.

    For the others there are stand-ins in ASCII, so that a ladder is one in the C locale, too. What has none is a "?".
    """
    encoding = sys.stdout.encoding or "utf-8"
    missing = "".join(each for each in set(text) if not _has(encoding, each))
    return "\n".join(_with_stand_ins(line, missing) for line in text.split("\n")) if missing else text


def _with_stand_ins(line: str, missing: str) -> str:
    """What a stand-in is longer, the next gap between two columns is shorter, so that the columns stay in place."""
    longer = 0

    def instead(match: re.Match[str]) -> str:
        nonlocal longer
        if match[0] in missing:
            longer += len(shown := _STAND_INS.get(match[0], "?")) - 1
            return shown
        taken = min(longer, len(match[0]) - 1)
        longer -= taken
        return match[0][taken:]

    return re.sub(f"[{re.escape(missing)}]| {{2,}}", instead, line)


def check_language(language: str) -> None:
    """LabError if the standard output's encoding cannot show this language at all."""
    encoding = sys.stdout.encoding or "utf-8"
    if language == "zh" and not _has(encoding, "中"):
        raise LabError(
            f"the output's encoding, {encoding}, cannot show Chinese. Hint: set LC_ALL=C.UTF-8, or choose English"
        )


@cache
def _has(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _write(text: str) -> None:
    try:
        sys.stdout.write(fitting(text))
        sys.stdout.flush()
    except OSError as error:
        raise OutputFailed(error) from None
