"""What the tests share: their time limit, which worker has which, hypothesis, and playing a scenario."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from harness.lab import Lab
from tests.playing import GENEROUS_S, Play, WarmPython, run_pytest

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

LONG = ("test_whatif", "test_readme", "test_tuning_fuzz", "test_as_configured", "test_lessons")
"""They begin early, so that none is under way alone at the end."""


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
    items.sort(key=lambda item: not item.path.name.startswith(LONG))
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
