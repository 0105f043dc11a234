"""What a diagnosis prints: the verdict, each finding with its evidence and its cure, and what could not be read."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.diagnose.finding import Certainty, Evidence, Finding
from harness.diagnose.pasted.reading import UNKNOWN_BACKLOG
from harness.diagnose.snapshot import Snapshot
from harness.lessons import lessons
from harness.output.wording import counted

VERSION = 1
"""Of the JSON (diagnosis.schema.json)."""

_MOST_ROWS = 5
"""Rows of evidence that are printed for each finding; the others are counted."""

_NARROWEST = 60
_INDENT = 15


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the signatures found, in which two looks, and where (`place`: "this network namespace")."""

    findings: tuple[Finding, ...]
    before: Snapshot
    after: Snapshot
    place: str

    @property
    def verdict(self) -> str:
        """ "found", "possible" or "nothing"."""
        if any(finding.certainty == Certainty.FOUND for finding in self.findings):
            return "found"
        return "possible" if self.findings else "nothing"

    @property
    def seconds(self) -> float:
        """The time between the two looks."""
        return self.after.time_s - self.before.time_s


def ordered(findings: Sequence[Finding]) -> list[tuple[int, Finding]]:
    """The findings, each once, with its depth: a finding that follows from another comes after it, one level deeper."""
    rows: list[tuple[int, Finding]] = []
    placed: set[str] = set()

    def place(finding: Finding, depth: int) -> None:
        if finding.lesson in placed:
            return
        placed.add(finding.lesson)
        rows.append((depth, finding))
        for each in findings:
            if finding.lesson in each.because_of:
                place(each, depth + 1)

    names = {finding.lesson for finding in findings}
    for finding in findings:
        if not names & set(finding.because_of):
            place(finding, 0)
    for finding in findings:  # those that explain each other
        place(finding, 0)
    return rows


def as_text(diagnosis: Diagnosis, width: int) -> str:
    """The report in lines of at most `width` columns; 0 folds no line."""
    lines = [_verdict(diagnosis)]
    for depth, finding in ordered(diagnosis.findings):
        lines += ["", *_finding(finding, "  " * depth, width)]
    looked = [_looked_at(diagnosis), *(f"Not seen: {each}." for each in diagnosis.after.unseen)]
    lines += ["", *(line for text in looked for line in _folded(text, "", "", width))]
    return "\n".join(lines)


def _verdict(diagnosis: Diagnosis) -> str:
    if not diagnosis.findings:
        return "Nothing found"
    rows = ordered(diagnosis.findings)
    sure = [finding.lesson for _, finding in rows if finding.certainty == Certainty.FOUND]
    unsure = [finding.lesson for _, finding in rows if finding.certainty != Certainty.FOUND]
    parts = [f"{word}: {', '.join(names)}" for word, names in (("Found", sure), ("Possible", unsure)) if names]
    return "; ".join(parts)


def _finding(finding: Finding, indent: str, width: int) -> Iterator[str]:
    lesson = lessons.load(finding.lesson)
    possible = "" if finding.certainty == Certainty.FOUND else " (possible)"
    below = " (follows from the above)" if indent else ""
    yield from _folded(f"{finding.lesson}{possible}{below}: {lesson.texts.symptom}", indent, indent + "  ", width)
    left_out = len(finding.evidence) - _MOST_ROWS
    rows = [_printable(each.text) for each in finding.evidence[:_MOST_ROWS]]
    rows += [f"and {left_out} more"] if left_out > 0 else []
    parts = [("evidence", row) for row in rows]
    parts += [("missing", finding.missing)] if finding.missing else []
    parts += [("look-alike", finding.unlike), ("cause", lesson.texts.cause), ("cure", lesson.texts.cure)]
    looks = zip(lesson.recognise, lesson.texts.look, strict=True)
    parts += [("look next", f"{command} (in the lesson: {look})") for command, look in looks]
    parts += [("lesson", f"make lesson S={finding.lesson}")]
    before = ""
    for name, text in parts:
        head = f"{indent}  {'' if name == before else name:<{_INDENT - 3}} "
        yield from _folded(text, head, indent + " " * _INDENT, width)
        before = name


def _folded(text: str, first: str, others: str, width: int) -> list[str]:
    if not width:
        return [first + text]
    return textwrap.wrap(
        text, max(width, _NARROWEST), initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    )


def _printable(text: str) -> str:
    """A program's name may contain any byte: show each that is not printable as "?", so that none moves the cursor."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _looked_at(diagnosis: Diagnosis) -> str:
    after = diagnosis.after
    numbers = f"{counted(len(after.sockets), 'TCP socket')} and {counted(len(after.counters), 'counter')}"
    looked = f"Looked at {numbers} of {diagnosis.place}"
    if diagnosis.before is after:
        return f"{looked}, once."
    if diagnosis.before.time_s == after.time_s:  # text, which does not show when it was printed
        return f"{looked}."
    seconds = f"{diagnosis.seconds:.1f}" if diagnosis.seconds >= 1 else f"{diagnosis.seconds:.2g}"
    return f"{looked}, twice, {seconds} s apart. Nothing was changed or sent."


def as_json(diagnosis: Diagnosis, *, indent: int | None = 1) -> str:
    """The report for programs (diagnosis.schema.json), with all evidence."""
    return json.dumps(as_object(diagnosis), indent=indent)


def as_object(diagnosis: Diagnosis) -> dict[str, Any]:
    """The object that as_json() prints."""
    return {
        "version": VERSION,
        "verdict": diagnosis.verdict,
        "findings": [_finding_object(finding) for _, finding in ordered(diagnosis.findings)],
        "place": diagnosis.place,
        "seconds": round(diagnosis.seconds, 3),
        "sockets": len(diagnosis.after.sockets),
        "counters": len(diagnosis.after.counters),
        "not_seen": list(diagnosis.after.unseen),
    }


def _finding_object(finding: Finding) -> dict[str, Any]:
    lesson = lessons.load(finding.lesson)
    return {
        "lesson": finding.lesson,
        "certainty": finding.certainty,
        "symptom": lesson.texts.symptom,
        "evidence": [_evidence_object(each) for each in finding.evidence],
        "missing": finding.missing,
        "look_alike": finding.unlike,
        "because_of": list(finding.because_of),
        "cause": lesson.texts.cause,
        "cure": lesson.texts.cure,
    }


def _evidence_object(evidence: Evidence) -> dict[str, Any]:
    found: dict[str, Any] = {"text": _printable(evidence.text)}
    if row := evidence.row:
        found |= {"state": row.state, "local": list(row.local), "remote": list(row.remote)}
        found |= {"recv_q": row.recv_q, "inode": row.inode}
        if row.send_q != UNKNOWN_BACKLOG:
            found["send_q"] = row.send_q
    if evidence.counter:
        found["counter"] = evidence.counter
    if evidence.pid:
        found["pid"] = evidence.pid
    return found


def changes(before: Diagnosis, after: Diagnosis) -> list[str]:
    """What has become found or possible, and what no longer is, one line each."""
    then, now = ({(each.lesson, each.certainty) for each in one.findings} for one in (before, after))
    first = {each.lesson: each.evidence[0].text for each in after.findings}
    lines = [f"{certainty}: {lesson}: {_printable(first[lesson])}" for lesson, certainty in sorted(now - then)]
    names = {lesson for lesson, _ in now}
    return lines + [f"no longer {certainty}: {lesson}" for lesson, certainty in sorted(then) if lesson not in names]
