"""pytest's side: fixture, options, header, verdicts, closing section. (Which stories are played: selection.py.)"""

import argparse
import contextlib
import gc
import os
import platform
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.errors import ASSERTS_ARE_NEEDED, LabError, LabUnavailable
from harness.evidence import starvation
from harness.explain import profile
from harness.explain.profile import Profile
from harness.inside.installed import find_program
from harness.lab.waiting import check_max_wait
from harness.lessons import lessons
from harness.output import files, terminal
from harness.pytest_plugin.tracebacks import number_lines
from harness.pytest_plugin.verdicts import (
    IN_FORCE,
    LAB,
    PROFILE,
    gap_of,
    has_lab,
    judge,
    keeping,
    profile_of,
    verdict_of,
    was_interrupted,
)
from harness.story.verdicts import StoryVerdict

if TYPE_CHECKING:  # imported where a lab is opened: collecting does not need them
    from harness.lab.lab import Lab
    from harness.lab.nursery import Nursery

__tracebackhide__ = True

ALLOWANCE_S = 0.25
SLOW_ALLOWANCE_S = 5.0

_COUNTED = (StoryVerdict.PASSED, StoryVerdict.FAILED, StoryVerdict.INCONCLUSIVE, StoryVerdict.NOT_MEASURED)
"""In the order of the closing line, which counts those that were skipped by their reasons."""

_NOT_PYTESTS = (StoryVerdict.INCONCLUSIVE, StoryVerdict.NOT_MEASURED)

_UNWRITTEN = "lab-unwritten"
_WORKER = "lab-worker"
"""With a worker's input travels its name, if each worker plays every story (--dist each)."""

_nurseries: "pytest.StashKey[dict[str, Nursery]]" = pytest.StashKey()
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
        help="wait for Enter before each step, without a time limit; needs -s",
    )
    group.addoption(
        "--lab-artifacts", metavar="DIR",
        help="write each story into DIR: .pcapng for Wireshark, .mmd (Mermaid), .json; of a failure anyway",
    )  # fmt: skip
    group.addoption(
        "--lab-report", metavar="DIR", help="write a page for each scenario into DIR, and an index: open DIR/index.html"
    )
    group.addoption(
        "--lab-sysctls", choices=profile.BASES, default="reference",
        help="play under the project's own values (reference), the kernel's defaults, or this host's",
    )  # fmt: skip
    group.addoption(
        "--lab-sysctl-file", metavar="FILE", action="append", default=[], help="lay a sysctl.d file over them"
    )
    group.addoption("--lab-sysctl", metavar="KEY=VALUE", action="append", default=[], help="lay one value over them")
    group.addoption("--lab-lang", choices=lessons.LANGUAGES, default="en", help="the language of the lessons' words")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    _end_quickly(config)
    option = config.option
    try:
        if not __debug__:
            raise LabError(ASSERTS_ARE_NEEDED)
        if option.lab_show or option.lab_step:
            terminal.check_language(option.lab_lang)
        check_max_wait("--lab-max-wait", option.lab_max_wait)
        config.stash[PROFILE] = profile.chosen(
            option.lab_sysctls, option.lab_sysctl_file, option.lab_sysctl, tried=not hasattr(config, "workerinput")
        )
        if hasattr(config, "workerinput"):
            return
        if option.lab_step:
            _need_a_terminal(option)
        _try_folders(option)
    except LabError as error:
        raise pytest.UsageError(str(error)) from None
    if option.lab_show:
        from harness.pytest_plugin.showing import Pictures

        config.pluginmanager.register(Pictures())
    if option.lab_report:
        from harness.pytest_plugin.reporting import Reporter

        config.pluginmanager.register(Reporter(Path(option.lab_report), option.lab_lang))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """So that the files of one worker's play do not replace those of another's."""
    if node.config.option.dist == "each":
        node.workerinput[_WORKER] = node.gateway.id


def _try_folders(option: argparse.Namespace) -> None:
    """Whoever names a folder that cannot be written learns it before the run, not after: LabError."""
    for folder in filter(None, (option.lab_artifacts, option.lab_report)):
        files.check_folder(Path(folder))


def _need_a_terminal(option: argparse.Namespace) -> None:
    """LabError where nobody could see a step, or press Enter."""
    if getattr(option, "dist", "no") != "no":
        raise LabError("--lab-step waits for Enter, and a worker has no terminal. Hint: leave -n out")
    if option.capture != "no":
        raise LabError("--lab-step waits for Enter, and pytest captures the terminal. Hint: add -s")


def pytest_sessionstart(session: pytest.Session) -> None:
    """What is in force belongs to a record, and is read before anything is played."""
    option = session.config.option
    asked = (option.lab_save or option.lab_compare) and not option.collectonly
    if asked and not hasattr(session.config, "workerinput"):
        _in_force(session.config)


def _in_force(config: pytest.Config) -> dict[str, str]:
    """The sysctls that a lab of this run has; none where no lab can be had."""
    if IN_FORCE not in config.stash:
        under = config.stash[PROFILE]
        config.stash[IN_FORCE] = {}
        with (
            contextlib.suppress(LabError),
            contextlib.closing(_nursery(config, under).open_lab("", spare=False)) as keeper,
        ):
            config.stash[IN_FORCE] = profile.in_force(under, keeper)
    return config.stash[IN_FORCE]


def _end_quickly(config: pytest.Config) -> None:
    """A worker's process ends with its session. Python would search all of it for cycles once more, for 60 ms.

    Cleanups run last in, first out, so pytest's own search (unraisableexception.py) still comes before.
    """
    if hasattr(config, "workerinput"):
        config.add_cleanup(gc.freeze)


def pytest_unconfigure(config: pytest.Config) -> None:
    for nursery in config.stash.get(_nurseries, {}).values():
        nursery.close()


def _nursery(config: pytest.Config, under: Profile) -> "Nursery":
    """This process's one nursery for a profile, started when it is first needed."""
    from harness.lab.nursery import Nursery

    nurseries = config.stash.setdefault(_nurseries, {})
    if under.name in nurseries and not nurseries[under.name].alive:
        nurseries.pop(under.name).close()
    if under.name not in nurseries:
        nurseries[under.name] = Nursery(list(under.settings), _controller(config))
    return nurseries[under.name]


def _controller(config: pytest.Config) -> list[int]:
    """An xdist worker's parent: when it is killed, the worker may take a while to notice; its labs must not."""
    return [os.getppid()] if hasattr(config, "workerinput") else []


@pytest.fixture
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Lab"]:
    """One private network, clean, under the run's sysctls; everything in it ends with the test."""
    from harness.lab.lab import Lab

    option = request.config.option
    allowance_s = SLOW_ALLOWANCE_S if option.lab_slow else ALLOWANCE_S
    nursery = _nursery(request.config, profile_of(request.node))
    lab = Lab(nursery, str(request.path), allowance_s)
    lab.max_wait_s = option.lab_max_wait
    lab.looks_closely = any(
        (option.lab_show, option.lab_artifacts, option.lab_report, option.lab_save, option.lab_compare)
    )
    if option.lab_step:
        from harness.pytest_plugin.stepping import Stepper

        lab.before_move = Stepper(lab.keeper_pid, nursery.isolation, request.node.name, option.lab_lang).wait
    request.node.stash[LAB] = lab
    request.node.stash[_temporary] = tmp_path_factory
    try:
        yield lab
    finally:
        with _nothing_to_say(request.session):
            lab.close()


@contextlib.contextmanager
def _nothing_to_say(session: pytest.Session) -> Iterator[None]:
    """After an interrupt, which may have come in the middle of anything, nothing that is found undone is a failure."""
    try:
        yield
    except Exception:
        if not was_interrupted(session):
            raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, Any, Any]:
    return (yield from _skipping_what_is_unavailable())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    result = yield from _skipping_what_is_unavailable()
    if lab := item.stash.get(LAB, None):
        lab.check_played()
    return result


def _skipping_what_is_unavailable() -> Generator[None, Any, Any]:
    try:
        return (yield)
    except LabUnavailable as error:
        pytest.skip(str(error))


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
        report.longrepr = f"{_reason(report)} (--lab-strict lets nothing be skipped)"
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

        keep(item, report, lab.timeline, item.stash[_temporary].getbasetemp() / "lab")


def _keep_files(item: pytest.Item, report: pytest.TestReport, lab: "Lab") -> None:
    if folder := _artifacts_folder(item, report):
        report.sections.append(("lab: files", _write_artifacts(item, report, lab, folder)))


def _tell(item: pytest.Item, report: pytest.TestReport, lab: "Lab") -> None:
    if report.failed or (report.when == "call" and _asked_to_show_passed(item.config)):
        from harness.views.transcript import transcript

        report.sections.append(("lab: what happened", transcript(lab.timeline)))


def _artifacts_folder(item: pytest.Item, report: pytest.TestReport) -> Path | None:
    """Where `--lab-artifacts` says; of a story that failed, always: among pytest's temporary folders."""
    if report.when != "call" and not report.failed:
        return None
    if asked := item.config.option.lab_artifacts:
        return Path(asked)
    return item.stash[_temporary].getbasetemp() / "lab" if report.failed else None


def _write_artifacts(item: pytest.Item, report: pytest.TestReport, lab: "Lab", folder: Path) -> str:
    """The files' names, a line each; or why there are none. Where they were asked for, that travels with the report."""
    from harness.views import artifacts

    lesson = lessons.find(item.path.stem)
    claim = lesson.texts.claim if lesson else ""
    try:
        written = artifacts.write(
            lab.timeline, folder, item.nodeid, verdict_of(report), claim, profile_of(item).name,
            getattr(item.config, "workerinput", {}).get(_WORKER, ""),
        )  # fmt: skip
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


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    """The lab's own verdicts, beside passed, failed and skipped; they are never green."""
    if report.when == "call" and (verdict := verdict_of(report)) in _NOT_PYTESTS:
        return verdict, verdict[0].upper(), verdict.upper()
    if config.option.lab_show and report.passed and report.when == "call":
        return "passed", "", "PASSED"  # its picture says more than a dot
    return None


def pytest_report_header(config: pytest.Config) -> list[str]:
    if config.option.collectonly or hasattr(config, "workerinput"):
        return []
    under = config.stash[PROFILE]
    nursery = _nursery(config, under)
    kernel = f"tcp-fault-lab: {platform.system()} {platform.release()}, profile {under.name}"
    kernel += _not_the_host(config.option.lab_sysctls, _in_force(config))
    if nursery.unavailable:
        return [kernel, f"isolated: no. {nursery.unavailable}"]
    waits = "" if starvation.is_counted() else "; how long a process waits for a processor is not counted here"
    states = "reported by the kernel" if nursery.events else "inferred from the segments (root sees them reported)"
    try:
        firewall = Path(find_program("nft", "nftables")).name
    except LabUnavailable as error:
        firewall = f"none ({error})"
    return [
        kernel,
        f"isolated: {nursery.isolation}; observers: packet ring, sock_diag; states {states}; firewall: {firewall}"
        f"{waits}",
    ]


def _not_the_host(base: str, in_force: dict[str, str]) -> str:
    """Nobody must believe that a run with values of its own has tested the host."""
    host = profile.host_values(profile.governing() & set(in_force))
    differ = [key for key, value in host.items() if value != in_force[key]]
    if base == "host" or not differ:
        return ""
    keys = ", ".join(key.removeprefix("net.ipv4.") for key in differ)
    return f"; not this host's, which differs in {keys} (--lab-sysctls=host)"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Files that were asked for, and are not there, are no success."""
    if _unwritten(session.config):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def _unwritten(config: pytest.Config) -> list[str]:
    """Why `--lab-artifacts` has not written all that it should have."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = (report for each in reporter.stats.values() for report in each) if reporter else ()
    properties = (pair for report in reports for pair in getattr(report, "user_properties", []))
    return sorted({str(why) for name, why in properties if name == _UNWRITTEN})


def _tell_unwritten(terminalreporter: pytest.TerminalReporter) -> None:
    if unwritten := _unwritten(terminalreporter.config):
        terminalreporter.section("tcp-fault-lab: files")
        for why in unwritten:
            terminalreporter.line(f"--lab-artifacts: {why}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    _tell_unwritten(terminalreporter)
    style = terminalreporter.config.option.tbstyle
    terminalreporter.summary_failures_combined(StoryVerdict.INCONCLUSIVE, "INCONCLUSIVE", style=style)
    stats = terminalreporter.stats
    played = [
        (verdict, report, evidence)
        for verdict, reports in stats.items()
        for report in reports
        for name, evidence in getattr(report, "user_properties", [])
        if name == "lab-evidence" and report.when == "call"
    ]
    skipped = Counter(_reason(report) for report in stats.get(StoryVerdict.SKIPPED, []))
    if (not played and not skipped) or terminalreporter.verbosity < -1:
        return
    ended_badly = {report.nodeid for report in stats.get("error", [])}
    verdicts = Counter(
        StoryVerdict.FAILED if report.nodeid in ended_badly else verdict for verdict, report, _ in played
    )
    captured, lost = (sum(evidence[n] for _, _, evidence in played) for n in (0, 1))
    modules = {report.nodeid.split("::")[0] for _, report, _ in played}
    terminalreporter.section("tcp-fault-lab")
    passed, failed, inconclusive, unmeasured = (verdicts[each] for each in _COUNTED)
    terminalreporter.line(
        f"{_count(len(played), 'story', 'stories')} from {_count(len(modules), 'file', 'files')}: "
        f"{passed} as expected, {failed} not, {inconclusive} inconclusive, {skipped.total()} skipped"
        + (f", {unmeasured} not measured" if unmeasured else "")
    )
    terminalreporter.line(f"{captured} segments captured, {lost} lost")
    for name, why in (("lab-not-set", "a network namespace here cannot have them"),
                      ("lab-refused", "the kernel refuses these values")):  # fmt: skip
        if keys := sorted({key for _, report, _ in played for key in dict(report.user_properties)[name]}):
            terminalreporter.line(f"not set, as {why}: {', '.join(keys)}")
    for reason, count in skipped.most_common():
        terminalreporter.line(f"skipped {count}: {reason}")
    for report in stats.get(StoryVerdict.NOT_MEASURED, []):
        terminalreporter.line(f"not measured: {report.nodeid.split('/')[-1]}: {_reason(report)}")
    for report in stats.get(StoryVerdict.INCONCLUSIVE, []):
        why = "; ".join(filter(None, (gap_of(report), report.longrepr.reprcrash.message)))
        terminalreporter.line(f"inconclusive: {report.nodeid}: {why}")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _reason(report: pytest.TestReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
