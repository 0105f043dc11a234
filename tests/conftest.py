"""Shared by all tests: the time limit, the distribution over workers, the allowed skips, and playing a scenario."""

import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from harness.lab.lab import Lab
from tests.playing import GENEROUS_S, Play, WarmPython, run_pytest

# A shell starts a background job with SIGINT ignored, and programs inherit that; but some tests interrupt programs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LIMIT_S = 600
"""The only time limit of a test and of everything that it starts: long enough to end only a test that hangs."""

# A deadline for each example would only measure how busy the machine is, and a failing run must be repeatable.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)
settings.load_profile("tests")


TOGETHER = (
    "test_mutants.py", "test_html.py", "test_failures.py", "test_mistakes.py", "test_ladders.py",
    "test_as_configured_timers.py", "test_diagnosis.py", "test_lessons.py::test_the_stories_of_a_lesson_exist",
)  # fmt: skip
"""Tests that share an expensive result, so that one worker runs them all, from the beginning. (`--dist loadgroup` does
that, too, but it does not work with pytest 9.2: pytest-xdist issue 1386.)"""

LONG = (
    "test_interrupts", "test_declared_programs", "test_whatif", "test_ablation", "test_readme", "test_host_untouched",
    "test_as_configured", "test_initial_numbers", "test_predict_against_kernel", "test_lessons", "test_plugin",
)  # fmt: skip
"""The files of long tests, the longest first. They begin early, so that none is still running alone at the end."""


MAY_BE_SKIPPED = ("only root ", "this kernel is older than ", "this kernel has no ", "no promtool here")
"""Beginnings of skip reasons that `--lab-strict` allows: CI plays the test as the other user, or it is a matter of the
kernel, which no installation could change; or it is promtool, whose package starts a server (the rules' structure is
checked without it). Any other reason means that CI lacks something."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Apply --lab-strict to every test in this folder; the plugin applies it only to tests with a lab."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and item.config.option.lab_strict and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(MAY_BE_SKIPPED):
            report.longrepr = f"{reason} (--lab-strict does not allow this reason to skip a test)"
            report.outcome = "failed"
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return Scheduling(config, log)


class Scheduling(LoadScopeScheduling):
    """Give each test to the next free worker; groups come first, those with the most tests first of all."""

    def _split_scope(self, nodeid: str) -> str:
        return next((each for each in TOGETHER if f"tests/{each}" in nodeid), nodeid)


def pytest_unconfigure() -> None:
    WarmPython.end()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: next((at for at, each in enumerate(LONG) if item.path.name.startswith(each)), len(LONG))
    )
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LIMIT_S))


@pytest.fixture
def lab(lab: Lab) -> Lab:
    """The lab of scenarios, with a longer deadline: tests of failures set a short one themselves."""
    lab.deadline_s = GENEROUS_S
    return lab


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Write a scenario to a file, play it, and return pytest's output and exit status."""

    def run(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "story.py"
        path.write_text(source)
        return run_pytest(path, *arguments)

    return run
