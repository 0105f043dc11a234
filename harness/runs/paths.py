"""Where the records are: by a name, in a folder of the current one, or by a path."""

import re
from pathlib import Path

from harness.errors import LabError

FOLDER = ".tcp-fault-lab"
"""Where records are that are called by a name."""


def path_of(name: str) -> Path:
    """The file of the record called so, or the file itself (FILE.json, or with a `/`). LabError for no such name."""
    if name.endswith(".json") or "/" in name:
        return Path(name)
    if not re.fullmatch(r"[\w+@-][\w.+@-]*", name):
        raise LabError(f"{name!r} is not a record's name. Hint: use letters, digits and . + @ - _, or a file NAME.json")
    return Path(FOLDER, f"{name}.json")
