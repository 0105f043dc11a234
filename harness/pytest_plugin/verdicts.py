"""What a test is to the lab: which lab it has, the sysctls that it is played under, and its verdict.

Verdicts are pytest's three outcomes, and two of the lab's own: inconclusive (the evidence has a hole, or a story failed
while its processes were kept from running), and not measured.
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
"""Of an item, once its lab is open."""

PROFILE = pytest.StashKey[Profile]()
"""Of a run (in pytest's config), or of an item that is played under other sysctls than the rest of its run."""

EFFECTIVE_VALUES = pytest.StashKey[dict[str, str]]()
"""Of a run, in the process that sees all reports: the sysctls of its labs (explain/profile.py, effective_values)."""

_PROPERTY, _GAP = "lab-verdict", "lab-gap"
"""A report's properties, so that they travel from an xdist worker."""


def profile_of(item: pytest.Item) -> Profile:
    """The sysctls that it is played under."""
    return item.stash.get(PROFILE, item.config.stash[PROFILE])


def has_lab(item: pytest.Item) -> bool:
    """Whether it is a story: a test that asks for a lab."""
    return "lab" in getattr(item, "fixturenames", [])


def table_of(report: pytest.TestReport) -> str:
    """What the test of its lesson's table has printed (pytest has captured it); nothing for any other test."""
    path, _, name = report.nodeid.partition("::")
    if report.when == "call" and report.passed and report.capstdout:
        with suppress(LabError):  # a lesson that is not whole has no table
            lesson = lessons.find(Path(path).stem)
            return report.capstdout if lesson and name == lesson.table else ""
    return ""


def was_interrupted(session: pytest.Session) -> bool:
    """Whether the run has ended with Ctrl-C: what is torn down then has nothing to complain of."""
    return session.exitstatus == pytest.ExitCode.INTERRUPTED


def judge(report: pytest.TestReport, call: pytest.CallInfo[None], lab: "Lab | None") -> None:
    """Give the report of a call the lab's own verdict: its exception tells it, or a lab whose processes were starved.

    Inconclusive stays a failure; not measured becomes a skip, as nothing is wrong. Neither is ever green.
    """
    if call.excinfo and call.excinfo.errisinstance(Inconclusive):
        report.user_properties.append((_PROPERTY, StoryVerdict.INCONCLUSIVE.value))
    elif report.failed and call.when == "call" and lab and (gap := lab.starvation()):
        report.user_properties += [(_PROPERTY, StoryVerdict.INCONCLUSIVE.value), (_GAP, str(gap))]
        hint = "Hint: run it again with less load, or with --lab-slow"
        report.sections.append(("lab: inconclusive", f"{gap}; {lab.allowance_s:g} s are allowed. {hint}"))
    if call.excinfo and call.excinfo.errisinstance(NotMeasured):
        report.user_properties.append((_PROPERTY, StoryVerdict.NOT_MEASURED.value))
        path, line, _ = report.location
        report.outcome, report.longrepr = "skipped", (path, line or 0, str(call.excinfo.value))


def verdict_of(report: pytest.TestReport) -> str:
    """One of StoryVerdict's; a str, which travels from an xdist worker, where an enum's member cannot."""
    return str(dict(report.user_properties).get(_PROPERTY, report.outcome))


def gap_of(report: pytest.TestReport) -> str:
    """For how long which process was kept from running, if that makes it inconclusive; else empty."""
    return str(dict(report.user_properties).get(_GAP, ""))


def message_of(report: pytest.TestReport) -> str:
    """Why it did not pass, as the exception says; empty where it did."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longrepr or "")


def expectation_of(report: pytest.TestReport) -> tuple[str, list[str]]:
    """The first line of message_of(), without the class of an error of ours; and the lines of a failed expectation.

    These say what was expected and what was last seen (lab/expect.py).
    """
    first, *more = message_of(report).splitlines() or [""]
    told = [line for line in more if line.startswith(("  expected: ", "  last seen: "))][:2]
    return re.sub(r"^harness\.errors\.\w+: ", "", first), told


@contextmanager
def keeping(report: pytest.TestReport) -> Iterator[None]:
    """Around what is kept of a test while pytest makes its report, where any exception would end the whole session.

    The test fails instead, and its report says why. A time limit's alarm may come here, too: a BaseException.
    """
    try:
        yield
    except (Exception, pytest.fail.Exception) as error:
        report.sections.append(("lab: not kept", "".join(traceback.format_exception(error))))
        if report.passed:
            report.outcome = "failed"
            report.longrepr = f"what it has shown cannot be kept: {type(error).__name__}: {error}"
