"""A story as files: what Wireshark opens, what an issue shows, and the record that two runs are compared by."""

import os
import platform
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from harness.errors import unwritable
from harness.outcome import outcome, written
from harness.timeline import Timeline
from harness.views.mermaid import mermaid
from harness.views.pcapng import pcapng

__tracebackhide__ = True


def try_folder(folder: Path) -> None:
    """LabError where no file can be written there. Nothing is left of the trial."""
    missing: list[Path] = []
    try:
        missing += [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise unwritable(folder, error, "folder") from None
    finally:
        for each in missing:
            with suppress(OSError):
                each.rmdir()


def write(timeline: Timeline, folder: Path, story: str, verdict: str, claim: str, profile: str) -> list[Path]:
    """Write STORY.pcapng, STORY.mmd and STORY.json into `folder`, which is made where it is not there; their paths.

    `story` is pytest's name of it; in a file's name, whatever a shell would mind becomes an underscore. LabError where
    they cannot be written.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", story.rpartition("/")[2]).strip("_")
    record = outcome(timeline, story=story, verdict=verdict, kernel=platform.release(), profile=profile)
    contents = {
        "pcapng": pcapng(timeline, claim),
        "mmd": mermaid(timeline, claim or story).encode(),
        "json": written(record).encode(),
    }
    paths = {ending: folder / f"{name}.{ending}" for ending in contents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for ending, path in paths.items():
            _write(path, contents[ending])
    except OSError as error:
        raise unwritable(folder, error, "folder") from None
    return list(paths.values())


def _write(path: Path, data: bytes) -> None:
    """The whole file, or none; what was there stays until then."""
    part = path.with_name(f".{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
