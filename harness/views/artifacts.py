"""A story as files: a capture for Wireshark, a Mermaid diagram for an issue, and a record for comparing two runs."""

import platform
from pathlib import Path

from harness.lessons.lessons import story_name
from harness.output import files
from harness.story.outcome import outcome, written
from harness.story.timeline import Timeline
from harness.views.mermaid import mermaid
from harness.views.pcapng import pcapng
from harness.views.plain import plain

__tracebackhide__ = True


def write(
    timeline: Timeline, folder: Path, story: str, verdict: str, claim: str, profile: str, played_by: str = ""
) -> list[Path]:
    """Write STORY.pcapng, STORY.mmd and STORY.json into `folder`, which is made if it is missing; returns their paths.

    `story` is the story's name in pytest (its node ID). LabError if they cannot be written.
    """
    name = _name(story, played_by)
    record = outcome(timeline, story=story_name(story), verdict=verdict, kernel=platform.release(), profile=profile)
    contents = {
        "pcapng": pcapng(timeline, claim),
        "mmd": mermaid(timeline, claim or story).encode(),
        "json": written(record).encode(),
    }
    return _write_each(contents, folder, name)


def write_plain(timeline: Timeline, folder: Path, story: str, played_by: str = "") -> list[Path]:
    """The same without the answer, for a class: only .pcapng and .mmd, under a neutral name."""
    seen, name = plain(timeline), plain_name(story, played_by)
    return _write_each({"pcapng": pcapng(seen), "mmd": mermaid(seen).encode()}, folder, name)


def _write_each(contents: dict[str, bytes], folder: Path, name: str) -> list[Path]:
    """Write a file for each ending; returns their paths."""
    paths = {ending: folder / f"{name}.{ending}" for ending in contents}
    for ending, path in paths.items():
        files.write(path, contents[ending], named=folder)
    return list(paths.values())


def plain_name(story: str, played_by: str = "") -> str:
    """A story's neutral name for a class: the same in every run, on its page and for both of its files."""
    return files.name_for("story", f"{story} {played_by}".rstrip()).replace("_", "-")


def _name(story: str, played_by: str) -> str:
    """The base name of a story's files. `played_by`: the worker, if each worker plays every story (--dist each)."""
    path, _, test = story.partition("::")
    return files.name_for(f"{Path(path).stem} {test} {played_by}", f"{story} {played_by}".rstrip())
