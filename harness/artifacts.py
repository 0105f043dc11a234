"""A story as files: what Wireshark opens, what an issue shows, and the record that two runs are compared by."""

import platform
import re
from pathlib import Path

from harness.outcome import outcome, written
from harness.timeline import Timeline
from harness.views.mermaid import mermaid
from harness.views.pcapng import pcapng

__tracebackhide__ = True


def write(timeline: Timeline, folder: Path, story: str, verdict: str, claim: str, profile: str) -> list[Path]:
    """Write STORY.pcapng, STORY.mmd and STORY.json into `folder`, which is made where it is not there; their paths.

    `story` is pytest's name of it; in a file's name, whatever a shell would mind becomes an underscore.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", story.rpartition("/")[2]).strip("_")
    record = outcome(timeline, story=story, verdict=verdict, kernel=platform.release(), profile=profile)
    contents = {
        "pcapng": pcapng(timeline, claim),
        "mmd": mermaid(timeline, claim or story).encode(),
        "json": written(record).encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for ending, content in contents.items():
        path = folder / f"{name}.{ending}"
        path.write_bytes(content)
        paths.append(path)
    return paths
