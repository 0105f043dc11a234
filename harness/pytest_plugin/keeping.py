"""pytest's side of what is kept with a story's report: verdict, evidence, transcript, picture, files."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import LabError
from harness.lessons import lessons
from harness.output import terminal
from harness.pytest_plugin.labs import TEMPORARY
from harness.pytest_plugin.tracebacks import number_lines
from harness.pytest_plugin.verdicts import LAB, has_lab, judge, keeping, message_of, profile_of, verdict_of
from harness.story.verdicts import StoryVerdict

if TYPE_CHECKING:
    from harness.lab.lab import Lab

__tracebackhide__ = True

_UNWRITTEN = "lab-unwritten"

_PLAIN = "lab-plain"
"""The property of a story's report that has the story's neutral name for a class."""

_WORKER = "lab-worker"
"""The key of a worker's input that has its name, if each worker plays every story (--dist each)."""


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give each worker its name, so that the files of one worker's play do not replace those of another's."""
    if node.config.option.dist == "each":
        node.workerinput[_WORKER] = node.gateway.id


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    if call.excinfo:
        _number_lines(call.excinfo)
    report = yield
    judge(report, call, item.stash.get(LAB, None))
    skipped = verdict_of(report) == StoryVerdict.SKIPPED
    if skipped and item.config.option.lab_strict and has_lab(item):
        report.longrepr = f"{message_of(report)} (--lab-strict fails instead of skipping)"
        report.outcome = "failed"
    if lab := item.stash.get(LAB, None):
        if call.when == "call":
            with keeping(report):
                _keep_evidence(item, report, lab)
        with keeping(report):
            _keep_timeline(item, report, lab)
        with keeping(report):
            _keep_files(item, report, lab)
        with keeping(report):
            _add_transcript(item, report, lab)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    _number_lines(excinfo)


def _number_lines(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    before = excinfo.value.__traceback__
    number_lines(excinfo.value)
    if excinfo.value.__traceback__ is not before:
        excinfo.traceback = pytest.ExceptionInfo.from_exception(excinfo.value).traceback


def _keep_evidence(item: pytest.Item, report: pytest.TestReport, lab: "Lab") -> None:
    """Add the number of segments, the sysctls that were not set, and the picture to the report."""
    evidence = (0, 0)
    try:
        with contextlib.suppress(LabError):  # if the lab's helper died, the test has already failed with that
            evidence = lab.evidence()
            lab.count()
    finally:
        not_as_asked = [("lab-not-set", list(lab.not_set)), ("lab-refused", list(lab.refused))]
        report.user_properties += [("lab-evidence", evidence), *not_as_asked]
    if item.config.option.lab_show:
        from harness.pytest_plugin import showing

        showing.keep(item, report, lab.timeline)


def _keep_timeline(item: pytest.Item, report: pytest.TestReport, lab: "Lab") -> None:
    """Keep the timeline for a page, also for a story that fails in its teardown."""
    if item.config.option.lab_report and (report.when == "call" or report.failed):
        from harness.pytest_plugin.reporting import keep

        keep(item, report, lab.timeline, item.stash[TEMPORARY].getbasetemp() / "lab")


def _keep_files(item: pytest.Item, report: pytest.TestReport, lab: "Lab") -> None:
    if folder := _artifacts_folder(item, report):
        report.sections.append(("lab: files", _write_artifacts(item, report, lab, folder)))


def _add_transcript(item: pytest.Item, report: pytest.TestReport, lab: "Lab") -> None:
    if report.failed or (report.when == "call" and _asked_to_show_passed(item.config)):
        from harness.views.transcript import transcript

        report.sections.append(("lab: what happened", transcript(lab.timeline)))


def _artifacts_folder(item: pytest.Item, report: pytest.TestReport) -> Path | None:
    """The folder of `--lab-artifacts`, or for a story that failed, one of pytest's temporary folders; else None.

    With `--lab-plain`, a failed story's files go to the temporary folder, too: they are of no use to a class.
    """
    if report.when != "call" and not report.failed:
        return None
    if (asked := item.config.option.lab_artifacts) and (not item.config.option.lab_plain or report.passed):
        return Path(asked)
    return item.stash[TEMPORARY].getbasetemp() / "lab" if report.failed else None


def _write_artifacts(item: pytest.Item, report: pytest.TestReport, lab: "Lab", folder: Path) -> str:
    """Write the files and return their names, one a line; or the reason why they could not be written.

    If the user asked for the files, the report carries the reason, too.
    """
    from harness.views import artifacts

    lesson = lessons.find(item.path.stem)
    claim = lesson.texts.claim if lesson else ""
    played_by = getattr(item.config, "workerinput", {}).get(_WORKER, "")
    try:
        if item.config.option.lab_plain and report.passed:
            written = artifacts.write_plain(lab.timeline, folder, item.nodeid, played_by)
            report.user_properties.append((_PLAIN, written[0].stem))
        else:
            written = artifacts.write(
                lab.timeline, folder, item.nodeid, verdict_of(report), claim, profile_of(item).name, played_by
            )
    except LabError as error:  # no space, or no permission: the test keeps its verdict
        if item.config.option.lab_artifacts:
            report.user_properties.append((_UNWRITTEN, str(error)))
        return str(error)
    return "\n".join(map(str, written))


def _asked_to_show_passed(config: pytest.Config) -> bool:
    """Whether `-rP` or `-rA` asks for the output of passed tests, here their transcripts."""
    return bool(set(config.option.reportchars) & {"P", "A"})


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Replace the characters that the output's encoding lacks: pytest itself would print escapes (\\u2500)."""
    report.sections[:] = [
        (name, terminal.fitting(text) if name.startswith("lab: ") else text) for name, text in report.sections
    ]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if files that the user asked for could not be written."""
    if unwritten(session.config):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def plain_names(report: pytest.TestReport) -> list[str]:
    """The neutral names under which `--lab-plain` has written a story's files."""
    return [str(name) for key, name in report.user_properties if key == _PLAIN]


def unwritten(config: pytest.Config) -> list[str]:
    """The reasons why `--lab-artifacts` could not write all its files."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = (report for each in reporter.stats.values() for report in each) if reporter else ()
    properties = (pair for report in reports for pair in getattr(report, "user_properties", []))
    return sorted({str(why) for name, why in properties if name == _UNWRITTEN})
