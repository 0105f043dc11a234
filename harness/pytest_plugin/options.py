"""The lab's general pytest options, and the checks before anything is played. Other options are where they act."""

import argparse
from pathlib import Path

import pytest

from harness.errors import ASSERTS_ARE_NEEDED, LabError
from harness.explain import profile
from harness.explain.profile import Profile
from harness.lab.waiting import check_max_wait
from harness.lessons import lessons
from harness.network.addresses import Family
from harness.output import files, terminal
from harness.pytest_plugin.labs import ALLOWANCE_S, FAMILIES, SLOW_ALLOWANCE_S
from harness.pytest_plugin.verdicts import PROFILE

__tracebackhide__ = True


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("lab", "tcp-fault-lab")
    group.addoption("--lab-strict", action="store_true", help="fail instead of skipping what this machine cannot play")
    group.addoption(
        "--lab-slow", action="store_true",
        help=f"allow the scheduler {SLOW_ALLOWANCE_S:g} s instead of {ALLOWANCE_S:g} s to wake a process whose timer "
        "has expired; states and segments are checked as strictly as before",
    )  # fmt: skip
    group.addoption(
        "--lab-family", choices=FAMILIES, default="4",
        help="play each story over IPv4 (4, the default), over IPv6 (6), or over each of them in turn (both)",
    )  # fmt: skip
    group.addoption(
        "--lab-show", action="store_true",
        help="draw each story as a sequence diagram, client left, server right: the fault and the control of each "
        "lesson, or the stories that -k or a name chooses",
    )  # fmt: skip
    group.addoption(
        "--lab-step",
        action="store_true",
        help="wait for Enter before each step, without a time limit; needs -s",
    )
    group.addoption(
        "--lab-artifacts", metavar="DIR",
        help="write each story into DIR: .pcapng for Wireshark, .mmd (Mermaid), .json; failed tests always write them",
    )  # fmt: skip
    group.addoption(
        "--lab-report", metavar="DIR", help="write a page for each scenario into DIR, and an index: open DIR/index.html"
    )
    group.addoption(
        "--lab-sysctls", choices=profile.BASES, default="reference",
        help="play under the project's own values (reference), the kernel's defaults, or this host's",
    )  # fmt: skip
    group.addoption(
        "--lab-sysctl-file",
        metavar="FILE",
        action="append",
        default=[],
        help="set the sysctls of FILE, for all stories; may be repeated",
    )
    group.addoption(
        "--lab-sysctl", metavar="KEY=VALUE", action="append", default=[],
        help="set one sysctl, for all stories; may be repeated",
    )  # fmt: skip
    group.addoption(
        "--lab-plain", action="store_true",
        help="for a class: --lab-artifacts (.pcapng, .mmd), --lab-report and --lab-show without the answer (claim, "
        "cause, cure, control, firewall rules, findings), under neutral names, for stories that passed",
    )  # fmt: skip
    group.addoption("--lab-lang", choices=lessons.LANGUAGES, default="en", help="the language of the lessons' words")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    try:
        if not __debug__:
            raise LabError(ASSERTS_ARE_NEEDED)
        _check_what_is_shown(option)
        check_max_wait("--lab-max-wait", option.lab_max_wait)
        under = profile.chosen(
            option.lab_sysctls, option.lab_sysctl_file, option.lab_sysctl, tried=not hasattr(config, "workerinput")
        )
        config.stash[PROFILE] = Profile(under.name + _over(FAMILIES[option.lab_family]), under.settings)
        if hasattr(config, "workerinput"):
            return
        if option.lab_step:
            _need_a_terminal(option)
        _try_folders(option)
    except LabError as error:
        raise pytest.UsageError(str(error)) from None
    if option.lab_show:
        from harness.pytest_plugin.showing import Pictures

        config.pluginmanager.register(Pictures(config))
    if option.lab_report:
        from harness.pytest_plugin.reporting import Reporter

        config.pluginmanager.register(Reporter(Path(option.lab_report), option.lab_lang, is_plain=option.lab_plain))


def _over(families: list[Family]) -> str:
    """What the name of a run's profile says of its families, if they are not the default."""
    return "" if families == FAMILIES["4"] else " over " + " and ".join(f"IPv{family}" for family in families)


def _check_what_is_shown(option: argparse.Namespace) -> None:
    """LabError if the terminal cannot show the language, or if --lab-plain has no output to act on."""
    if option.lab_show or option.lab_step:
        terminal.check_language(option.lab_lang)
    if option.lab_plain and not (option.lab_artifacts or option.lab_report or option.lab_show):
        raise LabError("--lab-plain alone makes no output. Hint: add --lab-artifacts, --lab-report or --lab-show")


def _try_folders(option: argparse.Namespace) -> None:
    """LabError, before the run rather than after it, if an output folder cannot be written."""
    for folder in filter(None, (option.lab_artifacts, option.lab_report)):
        files.check_folder(Path(folder))


def _need_a_terminal(option: argparse.Namespace) -> None:
    """LabError if there is no terminal in which to show a step and press Enter."""
    if getattr(option, "dist", "no") != "no":
        raise LabError("--lab-step waits for Enter, but a worker has no terminal. Hint: remove -n")
    if option.capture != "no":
        raise LabError("--lab-step waits for Enter, but pytest captures the terminal. Hint: add -s")
