"""pytest's side: fixture, options, header, verdicts, closing section. (Which stories are played: selection.py.)"""

import os
import platform
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import lessons, terminal
from harness.errors import Inconclusive, LabError, LabUnavailable
from harness.installed import find_program
from harness.kernel.sysctls import reference_profile
from harness.lab import Lab
from harness.nursery import Nursery
from harness.verdicts import INCONCLUSIVE, verdict_of

__tracebackhide__ = True

pytest_plugins = ["harness.selection"]

ALLOWANCE_S = 0.25
SLOW_ALLOWANCE_S = 5.0

_nursery = pytest.StashKey[Nursery]()
_running_lab = pytest.StashKey[Lab]()
_temporary = pytest.StashKey[pytest.TempPathFactory]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lab", "tcp-fault-lab")
    group.addoption(
        "--lab-strict", action="store_true", help="fail where a scenario would be skipped for want of an ability"
    )
    group.addoption(
        "--lab-slow", action="store_true",
        help=f"allow the scheduler {SLOW_ALLOWANCE_S:g} s in place of {ALLOWANCE_S:g} s to wake who waits for a timer; "
        "states and segments stay as exact as they are",
    )  # fmt: skip
    group.addoption(
        "--lab-show", action="store_true",
        help="draw what happens, client left, server right: of each file the lesson's fault and its control, "
        "or the stories that -k or a name chooses",
    )  # fmt: skip
    group.addoption(
        "--lab-step",
        action="store_true",
        help="wait for Enter before each step; needs -s, and no time limit (timeout=0)",
    )
    group.addoption(
        "--lab-artifacts", metavar="DIR",
        help="write each story into DIR: .pcapng for Wireshark, .mmd (Mermaid), .json; of a failure anyway",
    )  # fmt: skip
    group.addoption(
        "--lab-report", metavar="DIR", help="write a page for each scenario into DIR, and an index: open DIR/index.html"
    )
    group.addoption("--lab-lang", choices=lessons.LANGUAGES, default="en", help="the language of the lessons' words")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Under `--lab-show`, the picture as soon as there is one."""
    for name, text in report.user_properties:
        if name == "lab-picture" and report.when == "call":
            terminal.say(f"\n{text}")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.lab_report and not hasattr(config, "workerinput"):
        from harness.reporting import Reporter

        config.pluginmanager.register(Reporter(Path(config.option.lab_report), config.option.lab_lang))


def pytest_unconfigure(config: pytest.Config) -> None:
    if nursery := config.stash.get(_nursery, None):
        nursery.close()


def _the_nursery(config: pytest.Config) -> Nursery:
    """This process's one nursery, started when it is first needed."""
    nursery = config.stash.get(_nursery, None)
    if nursery and not nursery.alive:
        nursery.close()
        nursery = None
    if not nursery:
        nursery = config.stash[_nursery] = Nursery(reference_profile(), _controller(config))
    return nursery


def _controller(config: pytest.Config) -> list[int]:
    """An xdist worker's parent: when it is killed, the worker may take a while to notice; its labs must not."""
    return [os.getppid()] if hasattr(config, "workerinput") else []


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One private network, clean, under the reference profile; everything in it ends with the test."""
    option = request.config.option
    allowance_s = SLOW_ALLOWANCE_S if option.lab_slow else ALLOWANCE_S
    nursery = _the_nursery(request.config)
    lab = Lab(nursery, str(request.path), allowance_s)
    lab.looks_closely = bool(option.lab_show or option.lab_artifacts or option.lab_report)
    if option.lab_step:
        lab.stepped_by(nursery.isolation, request.node.name)
    request.node.stash[_running_lab] = lab
    request.node.stash[_temporary] = tmp_path_factory
    try:
        yield lab
    finally:
        lab.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    return (yield from _skipping_what_is_unavailable())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    return (yield from _skipping_what_is_unavailable())


def _skipping_what_is_unavailable() -> Generator[None, Any, Any]:
    try:
        return (yield)
    except LabUnavailable as error:
        pytest.skip(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.option.lab_strict and "lab" in getattr(item, "fixturenames", []):
        report.longrepr = f"{_reason(report)} (--lab-strict lets nothing be skipped)"
        report.outcome = "failed"
    if lab := item.stash.get(_running_lab, None):
        if call.when == "call":
            _keep_evidence(item, call, report, lab)
        if report.failed or (call.when == "call" and _asked_to_show_passed(item.config)):
            from harness.views.transcript import transcript

            report.sections.append(("lab: what happened", transcript(lab.timeline)))
    return report


def _keep_evidence(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, lab: Lab) -> None:
    """With the report travel the count of segments, the verdict, the picture and the files' names."""
    try:
        evidence = lab.evidence()
        lab.count()
    except LabError:  # a lab whose helper died has no more to tell than the test already did
        evidence = (0, 0)
    report.user_properties.append(("lab-evidence", evidence))
    if item.config.option.lab_show:
        report.user_properties.append(("lab-picture", _picture(item, lab)))
    if call.excinfo and call.excinfo.errisinstance(Inconclusive):
        report.user_properties.append(INCONCLUSIVE)
    if item.config.option.lab_report:
        from harness.reporting import keep

        keep(item, report, lab.timeline, item.stash[_temporary].getbasetemp() / "lab")
    if folder := _artifacts_folder(item, report):
        files = _write_artifacts(item, lab, folder, verdict_of(report))
        report.sections.append(("lab: files", "\n".join(map(str, files))))


def _artifacts_folder(item: pytest.Item, report: pytest.TestReport) -> Path | None:
    """Where `--lab-artifacts` says; of a story that failed, always: among pytest's temporary folders."""
    if asked := item.config.option.lab_artifacts:
        return Path(asked)
    return item.stash[_temporary].getbasetemp() / "lab" if report.failed else None


def _write_artifacts(item: pytest.Item, lab: Lab, folder: Path, verdict: str) -> list[Path]:
    from harness import artifacts

    lesson = lessons.find(item.path.stem)
    try:
        return artifacts.write(lab.timeline, folder, item.nodeid, verdict, lesson.texts.claim if lesson else "")
    except OSError:  # no room, no right: the verdict is what matters
        return []


def _picture(item: pytest.Item, lab: Lab) -> str:
    from harness.views.narration import told

    language = item.config.option.lab_lang
    lesson = lessons.find(item.path.stem, language)
    return told(lab.timeline, item.name, lesson, language, terminal.width(), color=terminal.wants_color())


def _asked_to_show_passed(config: pytest.Config) -> bool:
    """`-rP` and `-rA` print what a passed test has to say: here, its transcript."""
    return bool(set(config.option.reportchars) & {"P", "A"})


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    """A third verdict beside passed and failed; it is never green (the report stays a failure)."""
    if report.when == "call" and verdict_of(report) == "inconclusive":
        return "inconclusive", "I", "INCONCLUSIVE"
    if config.option.lab_show and report.passed and report.when == "call":
        return "passed", "", "PASSED"  # its picture says more than a dot
    return None


def pytest_report_header(config: pytest.Config) -> list[str]:
    if config.option.collectonly or hasattr(config, "workerinput"):
        return []
    nursery = _the_nursery(config)
    kernel = f"tcp-fault-lab: {platform.system()} {platform.release()}, profile reference"
    if nursery.unavailable:
        return [kernel, f"isolated: no. {nursery.unavailable}"]
    states = "reported by the kernel" if nursery.events else "inferred from the segments (root sees them reported)"
    try:
        firewall = Path(find_program("nft", "nftables")).name
    except LabUnavailable as error:
        firewall = f"none ({error})"
    return [
        kernel,
        f"isolated: {nursery.isolation}; observers: packet ring, sock_diag; states {states}; firewall: {firewall}",
    ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    stats = terminalreporter.stats
    played = [
        (verdict, report, evidence)
        for verdict, reports in stats.items()
        for report in reports
        for name, evidence in getattr(report, "user_properties", [])
        if name == "lab-evidence" and report.when == "call"
    ]
    skipped = Counter(_reason(report) for report in stats.get("skipped", []))
    if (not played and not skipped) or terminalreporter.verbosity < -1:
        return
    ended_badly = {report.nodeid for report in stats.get("error", [])}
    verdicts = Counter("failed" if report.nodeid in ended_badly else verdict for verdict, report, _ in played)
    captured, lost = (sum(evidence[n] for _, _, evidence in played) for n in (0, 1))
    modules = {report.nodeid.split("::")[0] for _, report, _ in played}
    terminalreporter.section("tcp-fault-lab")
    terminalreporter.line(
        f"{_count(len(played), 'story', 'stories')} from {_count(len(modules), 'file', 'files')}: "
        f"{verdicts['passed']} as expected, "
        f"{verdicts['failed']} not, {verdicts['inconclusive']} inconclusive, {skipped.total()} skipped"
    )
    terminalreporter.line(f"{captured} segments captured, {lost} lost")
    for reason, count in skipped.most_common():
        terminalreporter.line(f"skipped {count}: {reason}")
    for report in stats.get("inconclusive", []):
        terminalreporter.line(f"inconclusive: {report.nodeid}: {report.longrepr.reprcrash.message}")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _reason(report: pytest.TestReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
