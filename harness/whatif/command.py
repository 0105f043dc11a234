"""`python -m harness whatif`: reads, plays, compares, tells."""

import platform
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import compare, lessons, terminal
from harness.errors import LabError
from harness.files import check, temporary_folder, write
from harness.profile import governing
from harness.record import Run
from harness.tuning.read import LEFT_OUT
from harness.views import comparison
from harness.views.rows import printable
from harness.whatif import playing
from harness.whatif.report import Report, as_json, headline, sections
from harness.whatif.trial import Trial, trial

_KEYS = Path(__file__).parent / "keys.toml"


def run(
    files: Sequence[str], before: Sequence[str], *, plays: int, max_wait_s: float, json: str, markdown: str, html: str,
    partial: bool = False,
) -> int:  # fmt: skip
    """Print what the files would change; also into the files named by `json`, `markdown` and `html` ("-": print that).

    The exit status: 0 nothing changed, 1 changed, 3 could not be measured; LEFT_OUT if `partial`, and something could
    not be read. Malformed and LabUnavailable, LabErrors, are 2 and 3 (harness/__main__.py).
    """
    asked = [name for name in (json, markdown, html) if name]
    if len(asked) != len(set(asked)):
        raise LabError(f"{asked[0]} cannot hold two forms. Hint: name a file for each")
    for name in asked:
        if name != "-":
            check(Path(name))
    every = {lesson.name: lesson for lesson in lessons.every()}
    tried = trial(files, before, governing(), partial=partial)
    governed = {name: lesson for name, lesson in every.items() if set(lesson.sysctls) & set(tried.changed)}
    with temporary_folder() as folder:
        runs = _play(tried, governed, folder, plays, max_wait_s, timelines=bool(html))
        alive = tried.changed.keys() - tried.without_effect.keys()
        report = Report(
            tried, platform.release(), plays, tuple(compare.compare(*runs)) if runs else (), governed,
            tried.out_of_reach() | {key: why for key in sorted(alive) if (why := _untried(key, runs, governed))},
            tomllib.loads(_KEYS.read_text("utf-8")), _pinned(runs), _reasons(runs),
        )  # fmt: skip
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
    tried: Trial, governed: dict[str, lessons.Lesson], folder: Path, plays: int, max_wait_s: float, *, timelines: bool
) -> tuple[Run, Run] | None:
    if not governed:
        return None
    if sys.stderr.isatty():
        what, times = comparison.counted(len(governed), "scenario"), comparison.counted(plays, "time")
        terminal.complain(f"playing {what}, {times} before and {times} after ...")
    chosen = list(governed.values())
    return playing.play(tried, chosen, folder, plays=plays, max_wait_s=max_wait_s, timelines=timelines)


def _pinned(runs: tuple[Run, Run] | None) -> dict[str, set[str]]:
    """The sysctls that each story has set itself."""
    pinned: dict[str, set[str]] = {}
    for play in (play for run in runs or () for play in run.plays):
        pinned.setdefault(play["story"], set()).update(play["pinned"])
    return pinned


def _reasons(runs: tuple[Run, Run] | None) -> dict[str, str]:
    """Of each story, why plays of it did not end as expected."""
    told: dict[str, dict[str, None]] = {}
    for play in (play for run in runs or () for play in run.plays):
        if play["verdict"] != "passed":
            told.setdefault(play["story"], {})[f"{play['verdict']}: {play['reason']}"] = None
    return {story: "; ".join(each) for story, each in told.items()}


def _untried(key: str, runs: tuple[Run, Run] | None, governed: dict[str, lessons.Lesson]) -> str:
    """Why no story has tried a changed key; empty where one has."""
    names = [lesson.name for lesson in governed.values() if key in lesson.sysctls]
    if not names:
        return "no scenario covers it"
    plays = [play for run in runs or () for play in run.plays if playing.scenario(play["story"]) in names]
    free = [play for play in plays if key not in play["pinned"]]
    if plays and not free:
        return f"every story of {', '.join(names)} sets it itself"
    if not any(play["verdict"] == "passed" for play in free):
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
        *([comparison.table(report.shown())] if report.rows else [Text("")]),
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
    if report.rows:
        yield ""
        yield from comparison.markdown(report.shown())
    for heading, lines in sections(report):
        yield ""
        yield f"**{heading}**"
        yield ""
        yield from (f"- {safe(line)}" for line in lines)
