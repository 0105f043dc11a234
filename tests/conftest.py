"""What the tests share: their time limit, which worker has which, which may be skipped, and playing a scenario."""

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

# A shell starts a background job with SIGINT ignored, and programs inherit that: here, some are to be interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LIMIT_S = 600
"""The only time limit of a test and of all that it starts. It ends a test that hangs, and no other."""

# The clock of a busy machine says nothing about the code, and a run that fails can be repeated.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
)
settings.load_profile("tests")


TOGETHER = (
    "test_mutants.py", "test_html.py", "test_failures.py", "test_mistakes.py", "test_ladders.py",
    "test_as_configured_timers.py", "test_lessons.py::test_the_stories_of_a_lesson_exist",
)  # fmt: skip
"""What shares a result that is dear to make: of workers, one has it, from the beginning. (`--dist loadgroup` would be
for that, but pytest 9.2 takes no node id from it: pytest-xdist issue 1386.)"""

LONG = (
    "test_interrupts", "test_declared_programs", "test_whatif", "test_ablation", "test_readme", "test_host_untouched",
    "test_as_configured", "test_initial_numbers", "test_predict_against_kernel", "test_lessons", "test_plugin",
)  # fmt: skip
"""The files of long tests, the longest first. They begin early, so that none is under way alone at the end."""


MAY_BE_SKIPPED = ("only root ", "this kernel is older than ", "this kernel has no ")
"""How the reason of a skip begins that `--lab-strict` allows: CI plays the test as its other user, or no set-up of this
machine could change its kernel. Every other reason is something that CI lacks."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The plugin's rule is for tests with a lab; this one is for every test of this folder."""
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
    """Every test goes to the next worker that is free; what belongs together first, the most tests first."""

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
    """As scenarios have it, and more patient: what is to fail sets a short time of its own."""
    lab.deadline_s = GENEROUS_S
    return lab


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Write a scenario to a file of its own, play it, and return what pytest printed and its exit status."""

    def run(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "story.py"
        path.write_text(source)
        return run_pytest(path, *arguments)

    return run
