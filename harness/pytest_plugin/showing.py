"""pytest's side of `--lab-show`: print a lesson's claim, and each story's picture as soon as it is ready, in order."""

import contextlib
from typing import Any

import pytest

from harness.errors import LabError
from harness.lessons import lessons
from harness.output import terminal
from harness.pytest_plugin.verdicts import table_of
from harness.story.timeline import Timeline

__tracebackhide__ = True

_TERMINAL = "lab-terminal"
"""The key of a worker's input that has the width and colour of its controller's terminal."""

_PROPERTY = "lab-picture"
"""The property of a story's report that has its picture, whichever worker drew it."""


def keep(item: pytest.Item, report: pytest.TestReport, timeline: Timeline) -> None:
    """Draw a story, and add the picture to its report."""
    report.user_properties.append((_PROPERTY, _picture(item, timeline)))


class Pictures:
    """A plugin, registered with `--lab-show` in the one process that can print: prints each picture once it is ready.

    Workers report in any order, so the pictures of a file are then printed together, in the order of its stories.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._terminal = _terminal(config)
        self._awaited: dict[str, list[str]] = {}
        """By file, the stories that workers play and that are not shown yet."""
        self._drawn: dict[str, str] = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Describe this terminal to a worker, which draws but has no terminal."""
        node.workerinput[_TERMINAL] = _terminal(node.config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Print a lesson's claim before its story is played, which may take seconds."""
        if claim := _claim(item):
            terminal.say(f"\n{claim}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        if not self._awaited:  # the other workers have collected the same tests
            for each in ids:
                self._awaited.setdefault(_file_of(each), []).append(each)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        pictures = [text for name, text in report.user_properties if name == _PROPERTY and report.when == "call"]
        pictures += self._table(report)
        if report.nodeid not in self._awaited.get(_file_of(report.nodeid), ()):
            for text in pictures:
                terminal.say(f"\n{text}")
            return
        drawn = self._drawn.get(report.nodeid, "")  # another worker's, under --dist each
        self._drawn[report.nodeid] = drawn + "".join(f"\n{text}" for text in pictures)
        self._show(_file_of(report.nodeid), whole=True)

    def pytest_sessionfinish(self) -> None:
        for file in list(self._awaited):
            self._show(file, whole=False)  # the run was interrupted

    def _table(self, report: pytest.TestReport) -> list[str]:
        """A lesson's table, if the report is of the test that prints it."""
        from harness.views.narration import tabled

        width, color = self._terminal
        story, table = report.nodeid.partition("::")[2], table_of(report)
        return [tabled(story, table, width, color=color)] if table else []

    def _show(self, file: str, *, whole: bool) -> None:
        stories = self._awaited[file]
        if whole and not all(each in self._drawn for each in stories):
            return
        for each in stories:
            if text := self._drawn.get(each):
                terminal.say(text)
        self._awaited[file] = []


def _file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _terminal(config: pytest.Config) -> tuple[int, bool]:
    """The terminal's width, and whether to use colour."""
    if hasattr(config, "workerinput"):
        width, color = config.workerinput[_TERMINAL]
        return width, color
    return terminal.width(), terminal.wants_color(config.option.color)


def _claim(item: pytest.Item) -> str:
    """A lesson's claim, if the item is its fault; else empty."""
    from harness.views.narration import claimed

    if item.config.option.lab_plain:
        return ""
    with contextlib.suppress(LabError):  # if the lesson is incomplete, drawing its picture reports that
        lesson = lessons.find(item.path.stem, item.config.option.lab_lang)
        if lesson and item.name == lesson.fault:
            width, color = _terminal(item.config)
            return claimed(lesson, width, color=color)
    return ""


def _picture(item: pytest.Item, timeline: Timeline) -> str:
    """The picture of a story. A worker cannot print the claim beforehand, so there the picture includes it."""
    from harness.views.narration import format_text

    if item.config.option.lab_plain:
        return _plain_picture(item, timeline)
    language = item.config.option.lab_lang
    lesson = lessons.find(item.path.stem, language)
    width, color = _terminal(item.config)
    drawn = format_text(timeline, item.name, lesson, language, width, color=color)
    claim = _claim(item) if hasattr(item.config, "workerinput") else ""
    return f"{claim}\n\n{drawn}" if claim else drawn


def _plain_picture(item: pytest.Item, timeline: Timeline) -> str:
    """The picture of what was seen, under a neutral name."""
    from harness.views.artifacts import plain_name
    from harness.views.narration import format_text
    from harness.views.plain import plain

    width, color = _terminal(item.config)
    return format_text(plain(timeline), plain_name(item.nodeid), None, item.config.option.lab_lang, width, color=color)
