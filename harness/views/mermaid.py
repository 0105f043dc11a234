"""The story as a Mermaid sequence diagram, for a README or an issue: https://mermaid.js.org/syntax/sequenceDiagram."""

import re
import textwrap
from collections.abc import Iterator

from harness.story.timeline import Timeline
from harness.views.rows import Lane, Row, lanes_of, rows

_MOST_MESSAGES = 40
_MOST_LINES, _MOST_LETTERS = 8, 100
_NOTE_LETTERS = 60
"""The longest line of a note over both ends: Mermaid does not wrap, and a longer line widens the whole picture."""

_STAYS_TOGETHER = re.compile(r" (?=[+-]\d)")
"""The space in "TcpExtTW +1"."""

_HARMLESS = re.compile(r"[^\w !()*+,./=?\[\]|»…→−-]")
_KEYWORD = re.compile(r"\bend\b", re.I)


def mermaid(timeline: Timeline, claim: str = "") -> str:
    """A message for each segment, notes for what each end does; a long story is cut to its first and last 20 messages.

    Times are milliseconds since the start. The claim is the first note, because Mermaid does not wrap a title.
    """
    lines = ["sequenceDiagram", *(f"participant {lane}" for lane in Lane)]
    if claimed := _wrapped(claim):
        lines.append(_note([*Lane], claimed))
    shown = rows(timeline)
    messages = [at for at, row in enumerate(shown) if row.segment]
    left_out = len(messages) - _MOST_MESSAGES
    if left_out > 0:
        half = _MOST_MESSAGES // 2
        begin, end = shown[: messages[half]], shown[messages[-half] :]
        lines += [
            *_statements(begin, timeline.start_ns),
            _note([*Lane], [f"… {left_out} segments are left out here …"]),
        ]
        shown = end
    return "\n    ".join([*lines, *_statements(shown, timeline.start_ns)]) + "\n"


def _statements(shown: list[Row], start_ns: int) -> Iterator[str]:
    """The statements for rows. A row's time is in its message, or else at the beginning of each of its notes."""
    for row in shown:
        at = f"{(row.time_ns - start_ns) / 1e6:.3f} ms "
        if row.segment:
            arrow = "-x" if row.lost else "--x" if "R" in row.segment.flags else "->>"
            label = f"{row.label or '?'} (lost)" if row.lost else row.label or "?"
            source, destination = lanes_of(row.segment)
            yield f"{source}{arrow}{destination}: {_text(at + label)}"
            at = ""
        for lane, (first, *more) in ((lane, texts) for lane, texts in row.says.items() if texts):
            yield _note([lane], [at + first, *more])
        if row.note:
            yield _note([*Lane], _wrapped(at + row.note))


def _wrapped(text: str) -> list[str]:
    whole = _STAYS_TOGETHER.sub("\N{NO-BREAK SPACE}", " ".join(text.split()))
    return textwrap.wrap(whole, _NOTE_LETTERS, break_on_hyphens=False)


def _note(lanes: list[Lane], texts: list[str]) -> str:
    left_out = len(texts) - _MOST_LINES
    shown = [*texts[:_MOST_LINES], f"… {left_out} more lines"] if left_out > 0 else texts
    return f"Note over {','.join(lanes)}: {'<br/>'.join(map(_text, shown))}"


def _text(text: str) -> str:
    """The text on one line, with an entity code for each special character (; ends a statement, # a text).

    The word "end" is a keyword of the grammar anywhere.
    """
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    short = line if len(line) <= _MOST_LETTERS else line[:_MOST_LETTERS] + "…"
    coded = _HARMLESS.sub(lambda match: f"#{ord(match[0])};", short)
    return _KEYWORD.sub(lambda match: f"#{ord(match[0][0])};{match[0][1:]}", coded) or "?"
