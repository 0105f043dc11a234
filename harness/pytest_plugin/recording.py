"""pytest's side of saved runs: `--lab-save`, `--lab-compare`, `--lab-compare-fail`. (What-if's: turns.py.)"""

from collections.abc import Generator
from pathlib import Path

import pytest

from harness.errors import LabError
from harness.pytest_plugin.verdicts import has_lab
from harness.runs import paths

__tracebackhide__ = True


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lab", "tcp-fault-lab")
    group.addoption("--lab-save", metavar="NAME", help=f"save the findings of this run in {paths.FOLDER}/NAME.json")
    group.addoption("--lab-compare", metavar="NAME|FILE", help="report what changed since a saved run")
    group.addoption("--lab-compare-fail", choices=["changed"], help="fail if something changed (with --lab-compare)")
    group.addoption(
        "--lab-turns", metavar="FILE", help="internal to `python -m harness whatif`: play under several profiles"
    )


def is_asked_for(config: pytest.Config) -> bool:
    """Whether an option asks for a record of this run."""
    option = config.option
    return bool(option.lab_save or option.lab_compare or option.lab_compare_fail or option.lab_turns)


def pytest_configure(config: pytest.Config) -> None:
    if not is_asked_for(config):
        return
    from harness.pytest_plugin import saving, turns

    option = config.option
    asked = turns.Turns(Path(option.lab_turns)) if option.lab_turns else None
    if asked:
        config.pluginmanager.register(asked, turns.PLUGIN)
    if not hasattr(config, "workerinput"):
        try:
            config.pluginmanager.register(saving.Recorder(config, asked), "lab-recorder")
        except LabError as error:
            raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(wrapper=True, tryfirst=True)  # so that it sees the report after the other hooks have changed it
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if is_asked_for(item.config) and (report.when == "call" or not report.passed) and has_lab(item):
        from harness.pytest_plugin import saving

        saving.keep(item, report)
    return report
