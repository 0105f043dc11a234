"""What the lab knows of a test: its lab, the sysctls that it is played under, and its verdict.

Verdicts are pytest's three outcomes and two of the lab's own: inconclusive (the evidence is incomplete, or a story
failed while its processes waited too long for a processor) and not measured.
"""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.errors import Inconclusive, LabError, NotMeasured
from harness.explain.profile import Profile
from harness.lessons import lessons
from harness.story.verdicts import StoryVerdict

if TYPE_CHECKING:
    from harness.lab.lab import Lab

__tracebackhide__ = True

LAB: "pytest.StashKey[Lab]" = pytest.StashKey()
"""In an item's stash: its lab, once that is open."""

PROFILE = pytest.StashKey[Profile]()
"""In the config's stash: the run's profile. In an item's stash: its own, if that differs from the run's."""

EFFECTIVE_VALUES = pytest.StashKey[dict[str, str]]()
"""In the config's stash, in the process that sees all reports: the sysctls of this run's labs (explain/profile.py)."""

_PROPERTY, _GAP = "lab-verdict", "lab-gap"
"""Properties of a report, which reach the controller from an xdist worker."""


def profile_of(item: pytest.Item) -> Profile:
    """The profile that an item is played under."""
    return item.stash.get(PROFILE, item.config.stash[PROFILE])


def has_lab(item: pytest.Item) -> bool:
    """Whether an item is a story: a test that asks for a lab."""
    return "lab" in getattr(item, "fixturenames", [])


def table_of(report: pytest.TestReport) -> str:
    """The captured output of a test that prints its lesson's table; empty for any other test."""
    path, _, name = report.nodeid.partition("::")
    if report.when == "call" and report.passed and report.capstdout:
        with suppress(LabError):  # an incomplete lesson has no table
            lesson = lessons.find(Path(path).stem)
            return report.capstdout if lesson and name == lesson.table else ""
    return ""


def was_interrupted(session: pytest.Session) -> bool:
    """Whether the run was ended by Ctrl-C."""
    return session.exitstatus == pytest.ExitCode.INTERRUPTED


def judge(report: pytest.TestReport, call: pytest.CallInfo[None], lab: "Lab | None") -> None:
    """Give a report the lab's own verdict, if its exception or a starved process in its lab calls for one.

    An inconclusive test stays a failure. One that is not measured becomes a skip, as nothing is wrong.
    """
    if call.excinfo and call.excinfo.errisinstance(Inconclusive):
        report.user_properties.append((_PROPERTY, StoryVerdict.INCONCLUSIVE.value))
    elif report.failed and call.when == "call" and lab and (gap := lab.starvation()):
        report.user_properties += [(_PROPERTY, StoryVerdict.INCONCLUSIVE.value), (_GAP, str(gap))]
        hint = "Hint: run it again with less load, or with --lab-slow"
        report.sections.append(("lab: inconclusive", f"{gap}; the limit is {lab.allowance_s:g} s. {hint}"))
    if call.excinfo and call.excinfo.errisinstance(NotMeasured):
        report.user_properties.append((_PROPERTY, StoryVerdict.NOT_MEASURED.value))
        path, line, _ = report.location
        report.outcome, report.longrepr = "skipped", (path, line or 0, str(call.excinfo.value))


def verdict_of(report: pytest.TestReport) -> str:
    """A test's verdict: one of StoryVerdict as a plain str, because xdist cannot send an enum's member."""
    return str(dict(report.user_properties).get(_PROPERTY, report.outcome))


def gap_of(report: pytest.TestReport) -> str:
    """Which process waited how long for a processor, if that makes the test inconclusive; else empty."""
    return str(dict(report.user_properties).get(_GAP, ""))


def message_of(report: pytest.TestReport) -> str:
    """The exception's message, why a test did not pass; empty if it did."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr or "")


def expectation_of(report: pytest.TestReport) -> tuple[str, list[str]]:
    """The first line of message_of(), without the class of an error of ours, and the details of an expectation.

    The details are the lines "expected" and "last seen" of a failed expectation (lab/expect.py), if there are any.
    """
    first, *more = message_of(report).splitlines() or [""]
    details = [line for line in more if line.startswith(("  expected: ", "  last seen: "))][:2]
    return re.sub(r"^harness\.errors\.\w+: ", "", first), details


@contextmanager
def keeping(report: pytest.TestReport) -> Iterator[None]:
    """Fail the test if the code inside raises: while pytest makes a report, an exception would end the whole session.

    The report has the reason. A timeout's alarm, which is a BaseException, may be raised here, too.
    """
    try:
        yield
    except (Exception, pytest.fail.Exception) as error:
        report.sections.append(("lab: not kept", "".join(traceback.format_exception(error))))
        if report.passed:
            report.outcome = "failed"
            report.longrepr = f"the evidence of this test cannot be kept: {type(error).__name__}: {error}"
