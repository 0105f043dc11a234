"""pytest's side of what is kept of a story with its report: verdict, evidence, transcript, picture, files."""

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
"""With the report of a story travels what it is called in a class."""

_WORKER = "lab-worker"
"""With a worker's input travels its name, if each worker plays every story (--dist each)."""


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """So that the files of one worker's play do not replace those of another's."""
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
        report.longrepr = f"{message_of(report)} (--lab-strict lets nothing be skipped)"
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
            _tell(item, report, lab)
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
    """With the report travel the count of segments, the verdict and the picture."""
    evidence = (0, 0)
    try:
        with contextlib.suppress(LabError):  # a lab whose helper died has no more to tell than the test already did
            evidence = lab.evidence()
            lab.count()
    finally:
        not_as_asked = [("lab-not-set", list(lab.not_set)), ("lab-refused", list(lab.refused))]
        report.user_properties += [("lab-evidence", evidence), *not_as_asked]
    if item.config.option.lab_show:
        from harness.pytest_plugin import showing

        showing.keep(item, report, lab.timeline)


def _keep_timeline(item: pytest.Item, report: pytest.TestReport, lab: "Lab") -> None:
    """Of a story that fails at its end, too."""
    if item.config.option.lab_report and (report.when == "call" or report.failed):
        from harness.pytest_plugin.reporting import keep

        keep(item, report, lab.timeline, item.stash[TEMPORARY].getbasetemp() / "lab")


def _keep_files(item: pytest.Item, report: pytest.TestReport, lab: "Lab") -> None:
    if folder := _artifacts_folder(item, report):
        report.sections.append(("lab: files", _write_artifacts(item, report, lab, folder)))


def _tell(item: pytest.Item, report: pytest.TestReport, lab: "Lab") -> None:
    if report.failed or (report.when == "call" and _asked_to_show_passed(item.config)):
        from harness.views.transcript import transcript

        report.sections.append(("lab: what happened", transcript(lab.timeline)))


def _artifacts_folder(item: pytest.Item, report: pytest.TestReport) -> Path | None:
    """Where `--lab-artifacts` says; of a story that failed, always: among pytest's temporary folders.

    For a class, one that is not as expected is no use: that goes there, too.
    """
    if report.when != "call" and not report.failed:
        return None
    if (asked := item.config.option.lab_artifacts) and (not item.config.option.lab_plain or report.passed):
        return Path(asked)
    return item.stash[TEMPORARY].getbasetemp() / "lab" if report.failed else None


def _write_artifacts(item: pytest.Item, report: pytest.TestReport, lab: "Lab", folder: Path) -> str:
    """The files' names, a line each; or why there are none. Where they were asked for, that travels with the report."""
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
    except LabError as error:  # no room, no right: the verdict is what matters
        if item.config.option.lab_artifacts:
            report.user_properties.append((_UNWRITTEN, str(error)))
        return str(error)
    return "\n".join(map(str, written))


def _asked_to_show_passed(config: pytest.Config) -> bool:
    """`-rP` and `-rA` print what a passed test has to say: here, its transcript."""
    return bool(set(config.option.reportchars) & {"P", "A"})


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A transcript has stand-ins for what the encoding lacks; left to itself, pytest prints escapes (\\u2500)."""
    report.sections[:] = [
        (name, terminal.fitting(text) if name.startswith("lab: ") else text) for name, text in report.sections
    ]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Files that were asked for, and are not there, are no success."""
    if unwritten(session.config):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def plain_names(report: pytest.TestReport) -> list[str]:
    """What a story is called in a class, where `--lab-plain` has written its files."""
    return [str(name) for key, name in report.user_properties if key == _PLAIN]


def unwritten(config: pytest.Config) -> list[str]:
    """Why `--lab-artifacts` has not written all that it should have."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = (report for each in reporter.stats.values() for report in each) if reporter else ()
    properties = (pair for report in reports for pair in getattr(report, "user_properties", []))
    return sorted({str(why) for name, why in properties if name == _UNWRITTEN})
