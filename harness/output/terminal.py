"""The standard output: whether it is a terminal, what its encoding can show, and the error if it cannot be written."""

import contextlib
import errno
import os
import re
import select
import shutil
import sys
from functools import cache

from harness.errors import LabError

__tracebackhide__ = True

_STAND_INS = {
    "─": "-", "│": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+",
    "▶": ">", "◀": "<", "»": ">", "→": "->", "←": "<-", "↔": "<->", "↑": "^", "↓": "v", "…": "...", "×": "x", "✗": "x",
    "“": '"', "”": '"', "‘": "'", "’": "'", "·": ".", "–": "-", "−": "-", "µ": "u", "≠": "!=", "≈": "~", "½": "1/2",
    "≥": ">=", "≤": "<=",
}  # fmt: skip
"""Replacements in ASCII, for an encoding that does not have the character."""


class OutputFailed(LabError):
    """The standard output cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"the standard output cannot be written: {error.strerror or error}. Hint: redirect it to another file"
        )
        self.is_closed_pipe = isinstance(error, BrokenPipeError)
        """Whether its reader has gone, as `head` does when it has enough."""


def width() -> int:
    """The width in columns: $COLUMNS, else the terminal's, else 80."""
    return shutil.get_terminal_size().columns


def is_there() -> bool:
    """Whether the standard output is a terminal."""
    return sys.stdout.isatty()


def wants_color(asked: str = "auto") -> bool:
    """Whether to use colour: not in a pipe, not with NO_COLOR (no-color.org), and not on a dumb terminal.

    `asked`, as for pytest's --color, overrides that with yes or no.
    """
    if asked != "auto":
        return asked == "yes"
    return is_there() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """Write a text and a newline, through fitting(). OutputFailed if it cannot be written."""
    _write(f"{text}\n")


def ask(prompt: str) -> str:
    """Write a prompt, and read a line including its newline; empty at the end of the input."""
    _write(prompt)
    return sys.stdin.buffer.readline().decode(errors="replace") if sys.stdin else ""


def complain(text: str) -> None:
    """Write a line to the standard error, if possible."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (OSError, AttributeError):  # Python has no sys.stderr if it was closed
        return


def can_redraw() -> bool:
    """Whether the standard error is a terminal that understands what draw() writes."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def check_reader() -> None:
    """OutputFailed if the standard output is a pipe whose reader has gone; a write would notice it only later."""
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)  # POLLERR is always reported (poll(2))
    if any(events & select.POLLERR for _, events in poller.poll(0)):
        raise OutputFailed(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))


def draw(line: str) -> None:
    """Replace the current line of the standard error, which is a terminal, by this one."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"\r\x1b[K{line[: width() - 1]}")  # ECMA-48, EL: to the end of the line
        sys.stderr.flush()


def pass_on(data: bytes) -> None:
    """Write the output of another program."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    except OSError as error:
        raise OutputFailed(error) from None


def discard() -> None:
    """Discard what is still in the buffer, and everything later: Python would try to write it again as it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def fitting(text: str) -> str:
    """The text with the characters that the standard output's encoding lacks replaced by ASCII, or else by "?".

    So a ladder is readable in the C locale, too.
    """
    encoding = sys.stdout.encoding or "utf-8"
    missing = "".join(each for each in set(text) if not _has(encoding, each))
    return "\n".join(_with_stand_ins(line, missing) for line in text.split("\n")) if missing else text


def _with_stand_ins(line: str, missing: str) -> str:
    """The line with replacements; the gap after a longer one is shortened, so that columns stay aligned."""
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
