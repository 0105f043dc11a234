"""The picture in the README, docs/lesson.png: `make screenshot` makes it, and records what it was drawn from.

A test compares that record, not the pixels: times differ from run to run, but a change of the code that draws the page,
or of the lesson, needs a new picture.
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.inside.installed import find_program
from harness.lessons import lessons
from harness.output import files
from tests.playing import ROOT, clean_environment

NAME = "close_with_unread_data"
PICTURE = ROOT / "docs" / "lesson.png"
NOTE = ROOT / "docs" / "lesson.drawn-from"
_QUIETLY = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars"]  # fmt: skip


def drawn_from() -> str:
    """A line for each file that the page is made from, with its SHA-256."""
    views = ROOT / "harness" / "views"
    lesson = [lessons.load(NAME).path, lessons.load(NAME).path.with_suffix(".toml")]
    drawing = [views / f"{name}.py" for name in ("html", "svg", "rows", "states", "words")]
    sources = sorted([*lesson, *drawing, *(views / "page").iterdir()])
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(ROOT)}" for path in sources]
    return "\n".join(lines) + "\n"


def take() -> None:
    """Play the lesson, open its page in a real browser, and save a picture of it."""
    with tempfile.TemporaryDirectory() as folder:
        page, taken = Path(folder, "lesson.html"), Path(folder, "lesson.png")
        lesson = [sys.executable, "-m", "harness", "lesson", NAME, "--html", str(page)]
        subprocess.run(lesson, cwd=ROOT, env=clean_environment(), check=True, stdout=subprocess.DEVNULL)
        browser = [find_program("chromium", "chromium"), *_QUIETLY, f"--user-data-dir={folder}/profile"]
        shot = ["--window-size=1400,1480", f"--screenshot={taken}", page.as_uri()]
        subprocess.run([*browser, *shot], check=True, capture_output=True, timeout=60)
        files.write(PICTURE, taken.read_bytes())
    files.write(NOTE, drawn_from())


if __name__ == "__main__":
    take()
