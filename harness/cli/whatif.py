"""`python -m harness whatif`: read the files, play before and after, compare, and report."""

from collections.abc import Sequence
from pathlib import Path

from harness.errors import LabError
from harness.explain.profile import governing
from harness.lessons import lessons
from harness.output import terminal
from harness.output.files import check, temporary_folder, write
from harness.output.wording import counted
from harness.sysctl_files.read import LEFT_OUT
from harness.whatif import playing
from harness.whatif.forms import as_json, as_markdown, as_text
from harness.whatif.governing import governed
from harness.whatif.making import report_of
from harness.whatif.playing import Played
from harness.whatif.progress import Progress
from harness.whatif.report import Report
from harness.whatif.trial import Trial, trial


def run(
    files: Sequence[str], before: Sequence[str], *, plays: int, max_wait_s: float, json: str, markdown: str, html: str,
    partial: bool = False, lists_all: bool = False,
) -> int:  # fmt: skip
    """Report what the files would change; also write it as `json`, `markdown` and `html` ("-" prints that form).

    Returns the exit status: 0 nothing changed, 1 changed, 3 not everything could be measured; LEFT_OUT if `partial` and
    something could not be read. Raises Malformed (status 2) and LabUnavailable (status 3, harness/cli/main.py).
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
        report = report_of(tried, played, lessons_of, plays, lists_all=lists_all)
        written = {json: as_json(report), markdown: "\n".join(as_markdown(report)) + "\n"}
        if html:
            written[html] = _page(report, folder)
    unwritten = [error for name, text in written.items() if name not in ("", "-") and (error := _unwritten(name, text))]
    terminal.say(written["-"].rstrip("\n") if "-" in written else as_text(report))
    for error in unwritten:
        raise error
    return LEFT_OUT if tried.left_out else report.status


def _unwritten(name: str, text: str) -> LabError | None:
    """Write a file, or return the error, so that the user still gets the other files and the report."""
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
    progress = Progress(counted(len(lessons_of), "scenario"))
    chosen = list(lessons_of.values())
    try:
        return playing.play(
            tried, chosen, folder, plays=plays, max_wait_s=max_wait_s, timelines=timelines, progress=progress
        )
    finally:
        progress.end()


def _page(report: Report, folder: Path) -> str:
    from harness.whatif.page import page

    return page(report, folder)
