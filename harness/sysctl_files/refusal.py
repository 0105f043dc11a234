"""The error of a command that would have printed JSON, as JSON."""

import json

from harness.errors import LabError
from harness.sysctl_files.lines import Malformed, shown


def as_json(error: LabError, status: int) -> str:
    """Version 1: the exit status, the message, and each place that cannot be read."""
    places = error.places if isinstance(error, Malformed) else ()
    return json.dumps(
        {
            "version": 1,
            "status": status,
            "error": str(error),
            "left_out": [
                {"file": each.source, "line": each.line, "column": each.column, "text": shown(each.why)}
                for each in places
            ],
        },
        indent=1,
    )
