"""`python -m harness whatif`: reads, plays, compares, tells."""

import platform
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import LabError
from harness.explain.profile import governing
from harness.lessons import lessons
from harness.lessons.docstrings import test_of
from harness.output import terminal
from harness.output.files import check, temporary_folder, write
from harness.runs import compare
from harness.runs.record import Play
from harness.story.verdicts import StoryVerdict
from harness.sysctl_files.read import LEFT_OUT
from harness.views import comparison
from harness.views.rows import printable
from harness.whatif import playing
from harness.whatif.governing import governed
from harness.whatif.playing import Played
from harness.whatif.progress import Progress
from harness.whatif.report import Report, as_json, headline, sections
from harness.whatif.trial import Trial, trial

_KEYS = Path(__file__).parent.parent / "whatif" / "keys.toml"


def run(
    files: Sequence[str], before: Sequence[str], *, plays: int, max_wait_s: float, json: str, markdown: str, html: str,
    partial: bool = False, lists_all: bool = False,
) -> int:  # fmt: skip
    """Print what the files would change; also into the files named by `json`, `markdown` and `html` ("-": print that).

    The exit status: 0 nothing changed, 1 changed, 3 could not be measured; LEFT_OUT if `partial`, and something could
    not be read. Malformed and LabUnavailable, LabErrors, are 2 and 3 (harness/cli/main.py).
    """
    asked = [name for name in (json, markdown, html) if name]
    if len(asked) != len(set(asked)):
        raise LabError(f"{asked[0]} cannot hold two formats. Hint: name a file for each")
    for name in asked:
        if name != "-":
            check(Path(name))
    tried = trial(files, before, governing(), partial=partial)
    lessons_of = {each.name: each for each in lessons.every() if governed(each, tried.changed.keys())}
    with temporary_folder() as folder:
        played = _play(tried, lessons_of, folder, plays, max_wait_s, timelines=bool(html))
        report = replace(_report(tried, played, lessons_of, plays), lists_all=lists_all)
        written = {json: as_json(report), markdown: "\n".join(as_markdown(report)) + "\n"}
        if html:
            written[html] = _page(report, folder)
    unwritten = [error for name, text in written.items() if name not in ("", "-") and (error := _unwritten(name, text))]
    terminal.say(written["-"].rstrip("\n") if "-" in written else as_text(report))
    for error in unwritten:
        raise error
    return LEFT_OUT if tried.left_out else report.status


def _unwritten(name: str, text: str) -> LabError | None:
    """Write a file, or return why not: the user still gets the other files, and the report."""
    try:
        write(Path(name), text)
    except LabError as error:
        return error
    return None


def _play(
    tried: Trial, lessons_of: dict[str, lessons.Lesson], folder: Path, plays: int, max_wait_s: float, *, timelines: bool
) -> Played | None:
    if not lessons_of:
        return None
    progress = Progress(comparison.counted(len(lessons_of), "scenario"))
    chosen = list(lessons_of.values())
    try:
        return playing.play(
            tried, chosen, folder, plays=plays, max_wait_s=max_wait_s, timelines=timelines, progress=progress
        )
    finally:
        progress.end()


def _report(tried: Trial, played: Played | None, lessons_of: dict[str, lessons.Lesson], plays: int) -> Report:
    alive = sorted(tried.changed.keys() - tried.without_effect.keys())
    each_play = list(played.plays()) if played else []
    untried = {key: why for key in alive if (why := _untried(key, each_play, lessons_of))}
    return Report(
        tried, platform.release(), plays, tuple(compare.compare(played.before, played.after)) if played else (),
        lessons_of, tried.out_of_reach() | untried, tomllib.loads(_KEYS.read_text("utf-8")), _pinned(each_play),
        _reasons(played), tuple(play["story"] for play in played.not_compared) if played else (),
    )  # fmt: skip


def _pinned(plays: Iterable[Play]) -> dict[str, set[str]]:
    """The sysctls that each story has set itself."""
    pinned: dict[str, set[str]] = {}
    for play in plays:
        pinned.setdefault(play["story"], set()).update(play["pinned"])
    return pinned


def _reasons(played: Played | None) -> dict[str, str]:
    """Of each story, why plays of it did not end as expected; with the side, if that is not so on both."""
    told: dict[str, dict[str, set[str]]] = {}
    sides = {playing.BEFORE: played.before, playing.AFTER: played.after} if played else {}
    for side, run in sides.items():
        for play in (play for play in run.plays if play["verdict"] != StoryVerdict.PASSED):
            reason = f"{play['verdict']}: {play['reason']}"
            told.setdefault(play["story"], {}).setdefault(reason, set()).add(side)
    return {story: "; ".join(_on_its_side(*each) for each in reasons.items()) for story, reasons in told.items()}


def _on_its_side(reason: str, sides: set[str]) -> str:
    return reason if len(sides) > 1 else f"{min(sides)}: {reason}"


def _untried(key: str, plays: Sequence[Play], lessons_of: dict[str, lessons.Lesson]) -> str:
    """Why no story has tried a changed key; empty where one has."""
    tests = {name: governed(lesson, {key}) for name, lesson in lessons_of.items()}
    names = [name for name, each in tests.items() if each]
    if not names:
        return "no scenario covers it"
    of_it = [play for play in plays if test_of(play["story"]) in tests.get(playing.scenario(play["story"]), {})]
    free = [play for play in of_it if key not in play["pinned"]]
    if of_it and not free:
        return f"every story of {', '.join(names)} sets it itself"
    if not any(play["verdict"] in (StoryVerdict.PASSED, StoryVerdict.NOT_MEASURED) for play in free):
        return f"no story of {', '.join(names)} came to its end"
    return ""


def _page(report: Report, folder: Path) -> str:
    from harness.whatif.page import page

    return page(report, folder)


def as_text(report: Report) -> str:
    """For a terminal: what changes, the table, why, and what was left out."""
    from rich.padding import Padding
    from rich.text import Text

    from harness.views.lines import printed

    trial = report.trial
    parts = [
        Text(f"Linux {report.kernel}. Before: {printable(trial.before.name)}. After: {printable(trial.after.name)}. "
             f"Each story {comparison.counted(report.plays, 'time')}."),
        *(Padding(Text(printable(line)), (0, 0, 0, 2)) for line in report.settings()),
        *([comparison.table(rows)] if (rows := report.shown()) else [Text("")]),
        *(Text(line) for line in report.counts()),
        *([Text("")] if report.counts() else []),
    ]  # fmt: skip
    for heading, lines in sections(report):
        parts += [
            Text(heading, style="bold"),
            *(Padding(Text(printable(line)), (0, 0, 0, 2)) for line in lines),
            Text(""),
        ]
    parts.append(Text(headline(report), style="bold"))
    return printed(parts, terminal.width(), color=terminal.wants_color())


def as_markdown(report: Report) -> Iterator[str]:
    """For a pull request."""
    trial, safe = report.trial, comparison.escaped
    yield f"**{safe(headline(report))}**"
    yield ""
    yield f"Linux {safe(report.kernel)}. Each story {comparison.counted(report.plays, 'time')}."
    yield f"Before: {safe(trial.before.name)}. After: {safe(trial.after.name)}."
    yield ""
    yield from (f"- {safe(line)}" for line in report.settings())
    if rows := report.shown():
        yield ""
        yield from comparison.markdown(rows)
    if counts := report.counts():
        yield ""
        yield from (f"{safe(line)}  " for line in counts)
    for heading, lines in sections(report):
        yield ""
        yield f"**{heading}**"
        yield ""
        yield from (f"- {safe(line)}" for line in lines)
