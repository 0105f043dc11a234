"""Timelines of single plays, pickled into a temporary folder of this program, to draw a page after the run."""

import pickle
from hashlib import sha256
from pathlib import Path

from harness.output import files
from harness.story.timeline import Timeline


def keep(timeline: Timeline, verdict: str, *, story: str, turn: str, folder: Path) -> None:
    """Write the timeline of one play into a folder that only this program uses, for kept()."""
    files.write(_path(story, turn, folder), pickle.dumps((verdict, timeline)))


def kept(*, story: str, turn: str, folder: Path) -> tuple[str, Timeline] | None:
    """A play's verdict and timeline; None if it was not kept. It is a pickle, so read only from a private folder."""
    path = _path(story, turn, folder)
    if not path.exists():
        return None
    verdict, timeline = pickle.loads(path.read_bytes())
    return verdict, timeline


def _path(story: str, turn: str, folder: Path) -> Path:
    """A file named by a hash, because a story's name may be too long for a file's name."""
    return folder / f"{sha256(f'{story} {turn}'.encode(errors='replace')).hexdigest()}.timeline"
