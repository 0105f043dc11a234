"""The story as a Mermaid sequence diagram, for a README or an issue: https://mermaid.js.org/syntax/sequenceDiagram."""

import re
import textwrap
from collections.abc import Iterator

from harness.story.timeline import Timeline
from harness.views.rows import Lane, Row, lane_of, rows

_MOST_MESSAGES = 40
_MOST_LINES, _MOST_LETTERS, _CLAIM_LETTERS = 8, 100, 60
_HARMLESS = re.compile(r"[^\w !()*+,./=?\[\]|»…→−-]")
_KEYWORD = re.compile(r"\bend\b", re.I)


def mermaid(timeline: Timeline, claim: str = "") -> str:
    """A message a segment, notes for what each end does; of a long story its first and last 20 messages.

    The claim is the first note: Mermaid wraps no title.
    """
    lines = ["sequenceDiagram", *(f"participant {lane}" for lane in Lane)]
    if claimed := textwrap.wrap(" ".join(claim.split()), _CLAIM_LETTERS):
        lines.append(_note([*Lane], claimed))
    told = rows(timeline)
    messages = [at for at, row in enumerate(told) if row.segment]
    left_out = len(messages) - _MOST_MESSAGES
    if left_out > 0:
        half = _MOST_MESSAGES // 2
        begin, end = told[: messages[half]], told[messages[-half] :]
        lines += [*_statements(begin), _note([*Lane], [f"… {left_out} segments are left out here …"])]
        told = end
    return "\n    ".join([*lines, *_statements(told)]) + "\n"


def _statements(told: list[Row]) -> Iterator[str]:
    for row in told:
        if row.segment:
            arrow = "--x" if "R" in row.segment.flags else "->>"
            yield f"{lane_of(row.segment.source)}{arrow}{lane_of(row.segment.destination)}: {_text(row.label)}"
        for lane, texts in row.says.items():
            if texts:
                yield _note([lane], texts)
        if row.note:
            yield _note([*Lane], [row.note])


def _note(lanes: list[Lane], texts: list[str]) -> str:
    left_out = len(texts) - _MOST_LINES
    shown = [*texts[:_MOST_LINES], f"… {left_out} lines more"] if left_out > 0 else texts
    return f"Note over {','.join(lanes)}: {'<br/>'.join(map(_text, shown))}"


def _text(text: str) -> str:
    """On one line, with an entity code for each character that could mean something (; ends a statement, # a text).

    The word "end" is one of the grammar's own, wherever it stands.
    """
    line = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    short = line if len(line) <= _MOST_LETTERS else line[:_MOST_LETTERS] + "…"
    coded = _HARMLESS.sub(lambda match: f"#{ord(match[0])};", short)
    return _KEYWORD.sub(lambda match: f"#{ord(match[0][0])};{match[0][1:]}", coded) or "?"
