"""`python -m harness diagnose`: which of the lessons' faults a live network namespace has now."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from harness.diagnose import live, report, signatures
from harness.diagnose.pasted import looks
from harness.diagnose.report import Diagnosis
from harness.diagnose.snapshot import Snapshot
from harness.errors import LabError
from harness.output import terminal
from harness.sysctl_files import lines

_INTERVAL_S = 5.0
"""Between the two looks, if --interval is not given."""

STATUS = {"nothing": 0, "found": 1, "possible": 3}
"""The exit status for each verdict."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's options."""

    pid: int | None = None
    netns: str | None = None
    interval_s: float | None = None
    as_json: bool = False
    watch: bool = False
    sources: tuple[str, ...] = ()
    """Paths of saved text, or - for the standard input: one for each look, at most two."""
    prometheus_rules: bool = False


def run(asked: Asked) -> int:
    """Look twice, and print what the signatures find; returns the exit status. With `watch`, repeat until Ctrl-C."""
    if asked.prometheus_rules:
        return _prometheus_rules(asked)
    if asked.sources:
        return _from_text(asked)
    interval_s = _INTERVAL_S if asked.interval_s is None else asked.interval_s
    if not 0 < interval_s <= live.LONGEST_INTERVAL_S:
        raise LabError(
            f"--interval {interval_s:g} is out of range. "
            f"Hint: give more than 0 and at most {live.LONGEST_INTERVAL_S:g} seconds"
        )
    with _source(asked) as source:
        diagnoses = _diagnoses(source, interval_s)
        first = next(diagnoses)
        _print(first, asked)
        if not asked.watch:
            return STATUS[first.verdict]
        before = first
        for diagnosis in diagnoses:
            _print_changes(before, diagnosis, asked)
            before = diagnosis
    raise AssertionError("a live source does not end")


def _from_text(asked: Asked) -> int:
    if asked.pid is not None or asked.netns is not None or asked.watch or asked.interval_s is not None:
        raise LabError(
            "--from reads text; --pid, --netns, --interval and --watch look at a live namespace. Hint: use --from alone"
        )
    before, after = looks.take(asked.sources)
    place = " and ".join(lines.shown("the standard input" if each == "-" else each) for each in asked.sources)
    diagnosis = Diagnosis(tuple(signatures.findings(before, after)), before, after, place)
    _print(diagnosis, asked)
    return STATUS[diagnosis.verdict]


def _prometheus_rules(asked: Asked) -> int:
    """Print alert rules for the signatures that need nothing but a counter; returns the exit status."""
    if asked != Asked(prometheus_rules=True):
        raise LabError("--prometheus-rules looks at nothing, and prints YAML. Hint: use it without other options")
    from harness.diagnose import prometheus  # PyYAML takes 30 ms, which a diagnosis does not need

    terminal.say(prometheus.rules().rstrip("\n"))
    return 0


def _diagnoses(source: live.Source, interval_s: float) -> Iterator[Diagnosis]:
    before = source.take()
    while True:
        _wait(interval_s, before, source.place)
        after = source.take()
        yield Diagnosis(tuple(signatures.findings(before, after)), before, after, source.place)
        before = after


def _wait(seconds: float, before: Snapshot, place: str) -> None:
    """Sleep until the second look is due; a terminal shows how long that takes. OutputFailed if no reader is left."""
    shows = terminal.can_redraw() and terminal.is_there()
    deadline = time.monotonic() + seconds
    while (left_s := deadline - time.monotonic()) > 0:
        if shows:
            terminal.draw(f"Looked at {len(before.sockets)} TCP sockets of {place}; second look in {left_s:.0f} s")
        terminal.check_reader()
        time.sleep(min(left_s, 1.0))
    if shows:
        terminal.draw("")


def _print(diagnosis: Diagnosis, asked: Asked) -> None:
    if asked.as_json:
        terminal.say(report.as_json(diagnosis, indent=None if asked.watch else 1))
    else:
        terminal.say(report.as_text(diagnosis, terminal.width() if terminal.is_there() else 0))


def _print_changes(before: Diagnosis, after: Diagnosis, asked: Asked) -> None:
    if asked.as_json:
        _print(after, asked)
    for line in report.changes(before, after) if not asked.as_json else []:
        terminal.say(f"{time.strftime('%H:%M:%S')}  {line}")


def _source(asked: Asked) -> AbstractContextManager[live.Source]:
    if asked.pid is not None and asked.netns is not None:
        raise LabError("--pid and --netns name two namespaces. Hint: use one of them")
    if asked.netns is not None:
        return live.named(asked.netns)
    return live.own() if asked.pid is None else live.of_process(asked.pid)
