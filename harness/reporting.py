"""pytest's side of `--lab-report`: a page for each scenario, its fault and its control side by side, and an index."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import artifacts, lessons
from harness.errors import LabError
from harness.lessons import Lesson
from harness.timeline import Timeline
from harness.verdicts import verdict_of
from harness.views import html

__tracebackhide__ = True

_PROPERTY = "lab-timeline"
"""With the report of a lesson's story travels the path of its pickled timeline, whichever worker played it."""


def keep(item: pytest.Item, report: pytest.TestReport, timeline: Timeline, folder: Path) -> None:
    """Where the item is one of its lesson's two stories, keep its timeline for the page."""
    lesson = lessons.find(item.path.stem)
    if lesson and item.name in (lesson.fault, lesson.control):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{item.path.stem}-{item.name == lesson.fault}.timeline"
        path.write_bytes(pickle.dumps(timeline))
        report.user_properties.append((_PROPERTY, str(path)))


class Reporter:
    """A plugin, registered where pages are asked for, in the one process that sees all reports."""

    def __init__(self, folder: Path, language: str) -> None:
        self._folder = folder
        self._language = language
        self._verdicts: dict[str, dict[str, str]] = {}
        self._timelines: dict[tuple[str, str], str] = {}
        self._complaint = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        path, _, story = report.nodeid.partition("::")
        scenario = Path(path).stem
        self._verdicts.setdefault(scenario, {})[story] = verdict_of(report)  # of one that fails at its end, that
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
            raise artifacts.unwritable(path, error) from None

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
        for story in (lesson.fault, lesson.control):
            if where := self._timelines.get((lesson.name, story)):
                timeline = pickle.loads(Path(where).read_bytes())  # our own, from a worker of this run
                yield html.Story(story, verdicts[story], timeline)


def texts_of(lesson: Lesson) -> dict[str, str]:
    """A lesson's words, as its page has them."""
    seen = zip(lesson.recognise, lesson.texts.look, strict=True)
    recognise = "\n".join(f"$ {command}\n  {sight}" for command, sight in seen)
    texts = lesson.texts
    return {"claim": texts.claim, "why": texts.why, "cure": texts.cure, "recognise": recognise}
