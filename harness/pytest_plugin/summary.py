"""pytest's side of a run's output: its header, the lab's own verdicts beside pytest's, and the closing section."""

import platform
from collections import Counter
from pathlib import Path

import pytest

from harness.errors import LabUnavailable
from harness.evidence import starvation
from harness.explain import profile
from harness.inside.installed import find_program
from harness.kernel import sysctls
from harness.output.wording import counted
from harness.pytest_plugin.keeping import plain_names, unwritten
from harness.pytest_plugin.labs import effective_values, nursery_for
from harness.pytest_plugin.verdicts import PROFILE, gap_of, message_of, verdict_of
from harness.story.verdicts import StoryVerdict

__tracebackhide__ = True

_COUNTED = (StoryVerdict.PASSED, StoryVerdict.FAILED, StoryVerdict.INCONCLUSIVE, StoryVerdict.NOT_MEASURED)
"""In the order of the closing line. Skipped stories are counted by reason instead."""

_NOT_PYTESTS = (StoryVerdict.INCONCLUSIVE, StoryVerdict.NOT_MEASURED)


def pytest_report_header(config: pytest.Config) -> list[str]:
    if config.option.collectonly or hasattr(config, "workerinput"):
        return []
    under = config.stash[PROFILE]
    nursery = nursery_for(config, under)
    kernel = f"tcp-fault-lab: {platform.system()} {platform.release()}, profile {under.name}"
    kernel += _not_the_host(config.option.lab_sysctls, effective_values(config))
    if nursery.unavailable:
        return [kernel, f"isolated: no. {nursery.unavailable}"]
    waits = "" if starvation.is_counted() else "; this kernel does not count how long processes wait for a processor"
    states = "reported by the kernel" if nursery.events else "inferred from the segments (as root: from the kernel)"
    try:
        firewall = Path(find_program("nft", "nftables")).name
    except LabUnavailable as error:
        firewall = f"none ({error})"
    return [
        kernel,
        f"isolated: {nursery.isolation}; observers: packet ring, sock_diag; states {states}; firewall: {firewall}"
        f"{waits}",
    ]


def _not_the_host(base: str, effective_values: dict[str, str]) -> str:
    """A warning that names the keys, if this run does not use the host's values."""
    host = profile.host_values(profile.governing() & set(effective_values))
    differ = [key for key, value in host.items() if value != effective_values[key]]
    if base == "host" or not differ:
        return ""
    keys = ", ".join(sysctls.short(key) for key in differ)
    return f"; not this host's values, which differ in {keys} (--lab-sysctls=host)"


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    """The lab's own verdicts, beside passed, failed and skipped; they are never green."""
    if report.when == "call" and (verdict := verdict_of(report)) in _NOT_PYTESTS:
        return verdict, verdict[0].upper(), verdict.upper()
    if config.option.lab_show and report.passed and report.when == "call":
        return "passed", "", "PASSED"  # its picture is printed instead of a dot
    return None


def _print_unwritten(terminalreporter: pytest.TerminalReporter) -> None:
    if complaints := unwritten(terminalreporter.config):
        terminalreporter.section("tcp-fault-lab: files")
        for why in complaints:
            terminalreporter.line(f"--lab-artifacts: {why}")


def _print_plain_names(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which file is which story, for the teacher; not with `--lab-show`, whose output the class may see."""
    reports = [report for report in terminalreporter.stats.get(StoryVerdict.PASSED, []) if report.when == "call"]
    named = [f"{name}: {report.nodeid}" for report in reports for name in plain_names(report)]
    if named and not terminalreporter.config.option.lab_show:
        terminalreporter.section("tcp-fault-lab: without the answer")
        for line in sorted(named):
            terminalreporter.line(line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    _print_unwritten(terminalreporter)
    _print_plain_names(terminalreporter)
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
    skipped = Counter(message_of(report) for report in stats.get(StoryVerdict.SKIPPED, []))
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
        f"{counted(len(played), 'story', 'stories')} from {counted(len(modules), 'file', 'files')}: "
        f"{passed} as expected, {failed} not, {inconclusive} inconclusive, {skipped.total()} skipped"
        + (f", {unmeasured} not measured" if unmeasured else "")
    )
    terminalreporter.line(f"{captured} segments captured, {lost} lost")
    for name, why in (("lab-not-set", "they cannot be set in a network namespace here"),
                      ("lab-refused", "the kernel refuses these values")):  # fmt: skip
        if keys := sorted({key for _, report, _ in played for key in dict(report.user_properties)[name]}):
            terminalreporter.line(f"not set, because {why}: {', '.join(keys)}")
    for reason, count in skipped.most_common():
        terminalreporter.line(f"skipped {count}: {reason}")
    for report in stats.get(StoryVerdict.NOT_MEASURED, []):
        terminalreporter.line(f"not measured: {report.nodeid.split('/')[-1]}: {message_of(report)}")
    for report in stats.get(StoryVerdict.INCONCLUSIVE, []):
        why = "; ".join(filter(None, (gap_of(report), report.longrepr.reprcrash.message)))
        terminalreporter.line(f"inconclusive: {report.nodeid}: {why}")
