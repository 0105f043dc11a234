"""pytest's side of `--lab-report`: a page for each scenario, its fault and its control side by side, and an index."""

import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import LabError
from harness.lessons import lessons
from harness.lessons.lessons import Lesson
from harness.output import files
from harness.pytest_plugin.verdicts import expectation_of, message_of, table_of, verdict_of
from harness.story.timeline import Timeline
from harness.views import html
from harness.views.artifacts import plain_name
from harness.views.plain import plain

__tracebackhide__ = True

_PROPERTY = "lab-timeline"
"""The property of a story's report that has the path of its pickled timeline, whichever worker played it."""

_MAX_OTHER_STORIES = 4
"""The most failed stories that a page draws beside the lesson's own two."""

_LONGEST_REASON = 300


def keep(item: pytest.Item, report: pytest.TestReport, timeline: Timeline, folder: Path) -> None:
    """Keep the timeline for the page if the item is one of its lesson's two stories, or has failed."""
    lesson = lessons.find(item.path.stem)
    if lesson and (item.name in (lesson.fault, lesson.control) or report.failed):
        path = folder / f"{uuid.uuid4().hex}.timeline"
        files.write(path, pickle.dumps(timeline))
        report.user_properties.append((_PROPERTY, str(path)))


class Reporter:
    """A plugin, registered if pages are asked for, in the one process that sees all reports."""

    def __init__(self, folder: Path, language: str, *, is_plain: bool) -> None:
        self._folder = folder
        self._language = language
        self._is_plain = is_plain
        self._verdicts: dict[str, dict[str, str]] = {}
        """By the scenario's path, which is unique even if two scenarios have the same name."""
        self._reasons: dict[tuple[str, str], str] = {}
        self._timelines: dict[tuple[str, str], str] = {}
        self._tables: dict[str, str] = {}
        """The output of each test that prints a lesson's table, by the scenario's path."""
        self._complaint = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        scenario, _, story = report.nodeid.partition("::")
        verdicts = self._verdicts.setdefault(scenario, {})
        if story in verdicts and not report.failed:
            return  # another worker's play (--dist each), which must not hide a failure
        verdicts[story] = verdict_of(report)  # a failure in the teardown replaces the call's verdict
        self._reasons[scenario, story] = _reason(report)
        if table := table_of(report):
            self._tables[scenario] = table
        if where := dict(report.user_properties).get(_PROPERTY):
            self._timelines[scenario, story] = str(where)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self._verdicts:
            return
        try:
            written = self._written_plain if self._is_plain else self._written
            entries = [
                each for scenario, stories in sorted(self._verdicts.items()) for each in written(scenario, stories)
            ]
            if self._is_plain:
                entries.sort(key=lambda entry: entry.name)  # the order of the scenarios would give them away
            self._write("index.html", html.index(entries, self._language))
        except (LabError, OSError) as error:  # a timeline's file may have vanished, too
            self._complaint = f"--lab-report: {error}"
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._complaint:
            terminalreporter.section("tcp-fault-lab: report")
            terminalreporter.line(self._complaint)

    def _write(self, name: str, page: str) -> None:
        files.write(self._folder / name, page, named=self._folder)

    def _written_plain(self, scenario: str, verdicts: dict[str, str]) -> Iterator[html.Entry]:
        """If the lesson's fault passed, write a page that draws only that, without text. Yields its index entry."""
        lesson = lessons.find(Path(scenario).stem, self._language)
        if lesson and verdicts.get(lesson.fault) == "passed" and (scenario, lesson.fault) in self._timelines:
            name = plain_name(f"{scenario}::{lesson.fault}")
            story = html.Story(name, "", plain(self._timeline(scenario, lesson.fault)))
            self._write(f"{name}.html", html.page(name, {}, [story], self._language))
            yield html.Entry(name, "", (), f"{name}.html")

    def _written(self, scenario: str, verdicts: dict[str, str]) -> Iterator[html.Entry]:
        """Write a scenario's page if stories of its lesson were played. Yields its index entry."""
        lesson = lessons.find(Path(scenario).stem, self._language)
        stories = list(self._stories(scenario, lesson, verdicts)) if lesson else []
        name = self._name(scenario)
        if lesson and stories:
            page = html.page(lesson.name, texts_of(lesson, self._tables.get(scenario, "")), stories, self._language)
            self._write(f"{name}.html", page)
        link = f"{name}.html" if stories else ""
        yield html.Entry(name, lesson.texts.claim if lesson else "", tuple(sorted(verdicts.items())), link)

    def _timeline(self, scenario: str, story: str) -> Timeline:
        timeline: Timeline = pickle.loads(Path(self._timelines[scenario, story]).read_bytes())  # from this run's worker
        return timeline

    def _name(self, scenario: str) -> str:
        """A page's name: the scenario file's, with a hash if this run has another file of that name."""
        name = Path(scenario).stem
        taken = ["index", *(Path(each).stem.casefold() for each in self._verdicts)]
        return name if taken.count(name.casefold()) == 1 else files.name_for(name, scenario)

    def _stories(self, scenario: str, lesson: Lesson, verdicts: dict[str, str]) -> Iterator[html.Story]:
        """The lesson's own two stories; then, by name, the first of the others that have failed."""
        own = [story for story in (lesson.fault, lesson.control) if (scenario, story) in self._timelines]
        kept = sorted(story for path, story in self._timelines if path == scenario and story not in own)
        for story in [*own, *kept[:_MAX_OTHER_STORIES]]:
            timeline = self._timeline(scenario, story)
            reason = self._reasons[scenario, story]
            yield html.Story(story, verdicts[story], timeline, reason=reason, further=story not in own)


def _reason(report: pytest.TestReport) -> str:
    """Why it did not pass: the first line, and what was expected and last seen if it was an expectation."""
    if report.skipped:
        return message_of(report)
    first, details = expectation_of(report)
    lines = [first, *details]
    return "\n".join(line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…" for line in lines)


def texts_of(lesson: Lesson, table: str = "") -> dict[str, str]:
    """A lesson's texts, in the form that its page shows."""
    seen = zip(lesson.recognise, lesson.texts.look, strict=True)
    recognise = "\n".join(f"$ {command}\n  {sight}" for command, sight in seen)
    texts = lesson.texts
    return {"claim": texts.claim, "why": texts.why, "cure": texts.cure, "recognise": recognise, "table": table}
