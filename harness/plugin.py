"""pytest's side, and the only room that knows pytest: fixture, options, header, verdicts, closing section."""

import os
import platform
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import Inconclusive, LabError, LabUnavailable
from harness.installed import find_program
from harness.kernel.sysctls import reference_profile
from harness.lab import Lab
from harness.nursery import Nursery

__tracebackhide__ = True

ALLOWANCE_S = 0.25
SLOW_ALLOWANCE_S = 5.0
_WORKERS_A_PROCESSOR = 3

_nursery = pytest.StashKey[Nursery]()
_running_lab = pytest.StashKey[Lab]()


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """What `-n auto` means here: stories mostly wait for the kernel's timers, so three of them fit on a processor."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return _WORKERS_A_PROCESSOR * len(os.sched_getaffinity(0))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under xdist, spread the stories that wait long over the first two thirds, the longest first.

    So while some workers wait, the others work, and none waits alone at the end.
    """
    if not hasattr(config, "workerinput"):
        return
    waiting = sorted((item for item in items if _waits_s(item)), key=_waits_s, reverse=True)
    working = [item for item in items if not _waits_s(item)]
    hand = 2 * len(working) // (3 * len(waiting)) if waiting else 0
    dealt = [each for n, item in enumerate(waiting) for each in (item, *working[n * hand : (n + 1) * hand])]
    items[:] = dealt + working[len(waiting) * hand :]


def _waits_s(item: pytest.Item) -> float:
    marker = item.get_closest_marker("waits")
    return float(marker.args[0]) if marker else 0.0


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
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One private network, clean, under the reference profile; everything in it ends with the test."""
    option = request.config.option
    allowance_s = SLOW_ALLOWANCE_S if option.lab_slow else ALLOWANCE_S
    nursery = _the_nursery(request.config)
    lab = Lab(nursery, str(request.path), allowance_s)
    request.node.stash[_running_lab] = lab
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
    lab = item.stash.get(_running_lab, None)
    if not lab:
        return report
    if call.when == "call":
        try:
            evidence = lab.evidence()
        except LabError:  # a lab whose helper died has no more to tell than the test already did
            evidence = (0, 0)
        report.user_properties.append(("lab-evidence", evidence))
        if call.excinfo and call.excinfo.errisinstance(Inconclusive):
            report.user_properties.append(("lab-verdict", "inconclusive"))
    if report.failed or (call.when == "call" and _asked_to_show_passed(item.config)):
        from harness.views.transcript import transcript

        report.sections.append(("lab: what happened", transcript(lab.timeline)))
    return report


def _asked_to_show_passed(config: pytest.Config) -> bool:
    """`-rP` and `-rA` print what a passed test has to say: here, its transcript."""
    return bool(set(config.option.reportchars) & {"P", "A"})


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """A third verdict beside passed and failed; it is never green (the report stays a failure)."""
    if ("lab-verdict", "inconclusive") in getattr(report, "user_properties", []) and report.when == "call":
        return "inconclusive", "I", "INCONCLUSIVE"
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
    if not played and not skipped:
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
