"""The paths of records: by a name, below the current folder, or by a path."""

import re
from pathlib import Path

from harness.errors import LabError

FOLDER = ".tcp-fault-lab"
"""The folder of records that are given by a name."""


def path_of(name: str) -> Path:
    """The file of the record with this name, or this file (NAME.json, or with a `/`). LabError for an invalid name."""
    if name.endswith(".json") or "/" in name:
        return Path(name)
    if not re.fullmatch(r"[\w+@-][\w.+@-]*", name):
        raise LabError(f"{name!r} is not a record's name. Hint: use letters, digits and . + @ - _, or a file NAME.json")
    return Path(FOLDER, f"{name}.json")
