"""pytest's side of `--lab-report`: a page for each scenario, its fault and its control side by side, and an index."""

import pickle
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import lessons
from harness.errors import LabError, unwritable
from harness.lessons import Lesson
from harness.timeline import Timeline
from harness.verdicts import message_of, verdict_of
from harness.views import html

__tracebackhide__ = True

_PROPERTY = "lab-timeline"
"""With the report of a story that is to be drawn travels its pickled timeline's path, whichever worker played it."""

_MOST_FURTHER = 4
"""Stories that failed, beside the lesson's own two, which a page draws."""

_LONGEST_REASON = 300


def keep(item: pytest.Item, report: pytest.TestReport, timeline: Timeline, folder: Path) -> None:
    """Where the item is one of its lesson's two stories, or has failed beside them, keep its timeline for the page."""
    lesson = lessons.find(item.path.stem)
    if lesson and (item.name in (lesson.fault, lesson.control) or report.failed):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".timeline", delete=False) as file:
            pickle.dump(timeline, file)
        report.user_properties.append((_PROPERTY, file.name))


class Reporter:
    """A plugin, registered where pages are asked for, in the one process that sees all reports."""

    def __init__(self, folder: Path, language: str) -> None:
        self._folder = folder
        self._language = language
        self._verdicts: dict[str, dict[str, str]] = {}
        self._reasons: dict[tuple[str, str], str] = {}
        self._timelines: dict[tuple[str, str], str] = {}
        self._complaint = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        path, _, story = report.nodeid.partition("::")
        scenario = Path(path).stem
        self._verdicts.setdefault(scenario, {})[story] = verdict_of(report)  # of one that fails at its end, that
        self._reasons[scenario, story] = _reason(report)
        if where := dict(report.user_properties).get(_PROPERTY):
            self._timelines[scenario, story] = str(where)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self._verdicts:
            return
        try:
            entries = [self._written(scenario, stories) for scenario, stories in sorted(self._verdicts.items())]
            self._write("index.html", html.index(entries, self._language))
        except LabError as error:
            self._complaint = f"--lab-report: {error}"
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._complaint:
            terminalreporter.section("tcp-fault-lab: report")
            terminalreporter.line(self._complaint)

    def _write(self, name: str, page: str) -> None:
        path = self._folder / name
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_text(page, "utf-8", "replace")
        except OSError as error:
            raise unwritable(path, error, "folder") from None

    def _written(self, scenario: str, verdicts: dict[str, str]) -> html.Entry:
        """Write a scenario's page, where it has a lesson whose stories were played; its line of the index."""
        lesson = lessons.find(scenario, self._language)
        stories = list(self._stories(lesson, verdicts)) if lesson else []
        if lesson and stories:
            page = html.page(scenario, texts_of(lesson), stories, self._language)
            self._write(f"{scenario}.html", page)
        link = f"{scenario}.html" if stories else ""
        return html.Entry(scenario, lesson.texts.claim if lesson else "", tuple(sorted(verdicts.items())), link)

    def _stories(self, lesson: Lesson, verdicts: dict[str, str]) -> Iterator[html.Story]:
        """The lesson's own two; then, by name, the first of those that have failed beside them."""
        own = [story for story in (lesson.fault, lesson.control) if (lesson.name, story) in self._timelines]
        kept = sorted(story for scenario, story in self._timelines if scenario == lesson.name and story not in own)
        for story in [*own, *kept[:_MOST_FURTHER]]:
            timeline = pickle.loads(Path(self._timelines[lesson.name, story]).read_bytes())  # from this run's worker
            reason = self._reasons[lesson.name, story]
            yield html.Story(story, verdicts[story], timeline, reason=reason, further=story not in own)


def _reason(report: pytest.TestReport) -> str:
    """Why it is not as expected: the first line, and what was expected and last seen, where it says that."""
    if report.skipped:
        return message_of(report)
    first, *more = message_of(report).splitlines() or [""]
    told = [line for line in more if line.startswith(("  expected: ", "  last seen: "))][:2]
    lines = [re.sub(r"^harness\.errors\.\w+: ", "", first), *told]
    return "\n".join(line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…" for line in lines)


def texts_of(lesson: Lesson) -> dict[str, str]:
    """A lesson's words, as its page has them."""
    seen = zip(lesson.recognise, lesson.texts.look, strict=True)
    recognise = "\n".join(f"$ {command}\n  {sight}" for command, sight in seen)
    texts = lesson.texts
    return {"claim": texts.claim, "why": texts.why, "cure": texts.cure, "recognise": recognise}
