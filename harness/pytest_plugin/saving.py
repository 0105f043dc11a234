"""What a saved run contains: the record of each story, carried by its report, and the records of whole runs.

Imported only if a run is saved or compared: the import takes 20 ms, which would slow down collection.
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
"""An item's: an identifier that differs from that of another worker's play of the same story (--dist each)."""


def keep(item: pytest.Item, report: pytest.TestReport) -> None:
    """Add the record of the story to its report, whichever worker played it."""
    play = None
    with keeping(report):
        play = _play_of(item, report, item.stash.get(LAB, None))
    play = play or _play_of(item, report, None)
    play_id = item.nodeid if turn_of(item) else item.stash.setdefault(_PLAY, uuid.uuid4().hex)
    report.user_properties.append((_PROPERTY, {"profile": profile_of(item).name, "of": play_id, "play": play}))


def _play_of(item: pytest.Item, report: pytest.TestReport, lab: "Lab | None") -> Play:
    """The record of an item's play. If timelines are wanted, keep that of the lab, too."""
    play = record.play(
        lab.timeline if lab else None,
        story=lessons.story_name(turns.story_of(item)),
        verdict=verdict_of(report),
        reason=_reason(report),
        pinned=lab.pinned if lab else (),
        course=not turn_of(item),
    )
    if lab:
        turns.keep_timeline(item, lab.timeline, play)
    return play


def _reason(report: pytest.TestReport) -> str:
    """Why it did not pass, in one line, with what was expected and seen if it was an expectation (lab/expect.py)."""
    first, details = expectation_of(report)
    seen = [f"{name.strip()} {value.strip()}" for name, _, value in (line.partition(":") for line in details)]
    return f"{first}: {', '.join(seen)}" if len(seen) > 1 else first


class Recorder:
    """A plugin, registered if a record is wanted, in the one process that sees all reports."""

    def __init__(self, config: pytest.Config, turns: Turns | None) -> None:
        """LabError if the run to compare with cannot be read, or if the name to save under is not valid."""
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
            raise LabError("--lab-compare-fail needs a run to compare with. Hint: add --lab-compare NAME")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the record of a story; if its teardown fails, that report replaces the call's."""
        if kept := dict(report.user_properties).get(_PROPERTY):
            self._plays.setdefault(kept["profile"], {})[kept["of"]] = kept["play"]  # type: ignore[index]
            if self._turns:
                self._turns.add_play(report.nodeid, kept["play"])  # type: ignore[index]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        try:
            self._save(session)
        except LabError as error:
            self._complaint = str(error)
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
            if self._turns:  # what-if must not mistake a missing record for a result
                session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        if self._config.option.lab_compare_fail and not session.exitstatus and compare.changed(self._compared()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _save(self, session: pytest.Session) -> None:
        is_complete = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if self._save_as and self._plays and is_complete:  # otherwise an earlier saved run is not replaced
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
        """The record of everything that was played under one profile."""
        shown = {key: sysctls.redact(key, value) for key, value in settings.items()}
        return Run(platform.release(), profile.name, shown, tuple(self._plays.get(profile.name, {}).values()))
