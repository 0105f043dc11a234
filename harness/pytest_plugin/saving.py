"""What a run keeps: the record of each story, which travels with its report, and the records of whole runs.

Imported when a run is to be kept or compared: it takes 20 ms, which collecting need not wait.
"""

import platform
import uuid
from typing import TYPE_CHECKING

import pytest

from harness.errors import LabError
from harness.explain.profile import Profile
from harness.kernel import sysctls
from harness.lessons import lessons
from harness.output import files, terminal
from harness.pytest_plugin import turns
from harness.pytest_plugin.turns import Turns, turn_of
from harness.pytest_plugin.verdicts import (
    EFFECTIVE_VALUES,
    LAB,
    PROFILE,
    expectation_of,
    keeping,
    profile_of,
    verdict_of,
)
from harness.runs import compare, paths, record
from harness.runs.record import Play, Run

if TYPE_CHECKING:
    from harness.lab.lab import Lab

__tracebackhide__ = True

_PROPERTY = "lab-play"
_PLAY = pytest.StashKey[str]()
"""Of an item: what tells its play from another worker's play of the same story (--dist each)."""


def keep(item: pytest.Item, report: pytest.TestReport) -> None:
    """With the report travels the record of its story, whichever worker played it."""
    told = None
    with keeping(report):
        told = _told(item, report, item.stash.get(LAB, None))
    told = told or _told(item, report, None)
    play = item.nodeid if turn_of(item) else item.stash.setdefault(_PLAY, uuid.uuid4().hex)
    report.user_properties.append((_PROPERTY, {"profile": profile_of(item).name, "of": play, "play": told}))


def _told(item: pytest.Item, report: pytest.TestReport, lab: "Lab | None") -> Play:
    """The record of its play; where timelines are wanted, that is kept, too."""
    told = record.play(
        lab.timeline if lab else None,
        story=lessons.story_name(turns.story_of(item)),
        verdict=verdict_of(report),
        reason=_reason(report),
        pinned=lab.pinned if lab else (),
        course=not turn_of(item),
    )
    if lab:
        turns.keep_timeline(item, lab.timeline, told)
    return told


def _reason(report: pytest.TestReport) -> str:
    """Why it is not as expected, in one line: of an expectation, too, what was seen instead (harness/lab/expect.py)."""
    first, told = expectation_of(report)
    seen = [f"{name.strip()} {value.strip()}" for name, _, value in (line.partition(":") for line in told)]
    return f"{first}: {', '.join(seen)}" if len(seen) > 1 else first


class Recorder:
    """A plugin, registered where a record is wanted, in the one process that sees all reports."""

    def __init__(self, config: pytest.Config, turns: Turns | None) -> None:
        """LabError where the run to compare with cannot be read, or the name to save by is none."""
        option = config.option
        self._config = config
        self._turns = turns
        self._complaint = ""
        self._plays: dict[str, dict[str, Play]] = {}
        self._old = record.load(paths.path_of(option.lab_compare)) if option.lab_compare else None
        self._save_as = paths.path_of(option.lab_save) if option.lab_save else None
        if self._save_as:
            files.check(self._save_as)
        if option.lab_compare_fail and not self._old:
            raise LabError("--lab-compare-fail has nothing to compare with. Hint: name it with --lab-compare")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of a test that fails at its end, too, the last report counts."""
        if told := dict(report.user_properties).get(_PROPERTY):
            self._plays.setdefault(told["profile"], {})[told["of"]] = told["play"]  # type: ignore[index]
            if self._turns:
                self._turns.hear(report.nodeid, told["play"])  # type: ignore[index]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        try:
            self._save(session)
        except LabError as error:
            self._complaint = str(error)
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
            if self._turns:  # what-if must not take what is missing for a result
                session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        if self._config.option.lab_compare_fail and not session.exitstatus and compare.changed(self._compared()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _save(self, session: pytest.Session) -> None:
        whole = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if self._save_as and self._plays and whole:  # otherwise nothing takes the place of what was kept
            record.save(self._now(), self._save_as)
        if self._turns:
            for name, profile in self._turns.profiles.items():
                record.save(self._run(profile, profile.values()), self._turns.folder / f"{name}.json")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._complaint:
            terminalreporter.section("tcp-fault-lab: record")
            terminalreporter.line(f"--lab-{'turns' if self._turns else 'save'}: {self._complaint}")
        if self._old:
            from harness.views import comparison

            terminalreporter.section(f"compared with {self._config.option.lab_compare}")
            rows, now = self._compared(), self._now()
            color = terminal.wants_color(self._config.option.color)
            terminal.say(comparison.format_text(self._old, now, rows, terminal.width(), color=color))

    def _compared(self) -> list[compare.Row]:
        return compare.compare(self._old, self._now()) if self._old else []

    def _now(self) -> Run:
        return self._run(self._config.stash[PROFILE], self._config.stash.get(EFFECTIVE_VALUES, {}))

    def _run(self, profile: Profile, settings: dict[str, str]) -> Run:
        """What was played under one profile."""
        told = {key: sysctls.redact(key, value) for key, value in settings.items()}
        return Run(platform.release(), profile.name, told, tuple(self._plays.get(profile.name, {}).values()))
