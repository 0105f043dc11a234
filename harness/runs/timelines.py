"""Timelines of single plays, pickled into a folder of this program's own: a page is drawn from them after the run."""

import pickle
from hashlib import sha256
from pathlib import Path

from harness.output import files
from harness.story.timeline import Timeline


def keep(timeline: Timeline, verdict: str, *, story: str, turn: str, folder: Path) -> None:
    """Put what one play has shown into a folder that belongs to this program alone, for kept()."""
    files.write(_path(story, turn, folder), pickle.dumps((verdict, timeline)))


def kept(*, story: str, turn: str, folder: Path) -> tuple[str, Timeline] | None:
    """Its verdict and its timeline, where that play had one. It is a pickle: only from a folder of one's own."""
    path = _path(story, turn, folder)
    if not path.exists():
        return None
    verdict, timeline = pickle.loads(path.read_bytes())
    return verdict, timeline


def _path(story: str, turn: str, folder: Path) -> Path:
    """A hash, for a story's name may be longer than a file's."""
    return folder / f"{sha256(f'{story} {turn}'.encode(errors='replace')).hexdigest()}.timeline"
