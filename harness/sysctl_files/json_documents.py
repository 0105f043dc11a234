"""The sysctls in JSON, for example an ECS task definition, Chef's attributes, or a Kubernetes manifest."""

import json
import re

from harness.sysctl_files import yaml_documents
from harness.sysctl_files.lines import Found

_ESCAPE = re.compile(
    r"\\(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.S
)
"""An escape: a pair of surrogates, which is one character; a single one, which is not a character; any other."""


def read(text: str, source: str, found: Found) -> None:
    """Read one file into `found`. A text that is not JSON (several documents, comments) is read as YAML.

    Python's reader checks the text. The places come from PyYAML, which reads JSON except for tabs. These are replaced
    by spaces: tabs occur only between tokens, as a JSON string contains none (RFC 8259, section 7).
    Pairs of surrogates are combined.
    """
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except RecursionError:
        found.trouble(source, 0, 0, "nested too deeply")
    except json.JSONDecodeError as error:
        _read_as_yaml(text, source, found, error)
    else:
        yaml_documents.read(_ESCAPE.sub(_as_yaml, text.replace("\t", " ")), source, found)


def _as_yaml(escape: re.Match[str]) -> str:
    """An escape for YAML, which has no surrogates. Later columns in the line shrink if the result is shorter."""
    if len(escape[0]) == len(r"\ud83d\ude00"):
        return str(json.loads(f'"{escape[0]}"'))
    return r"\uFFFD" if len(escape[0]) == len(r"\ud83d") else escape[0]


def _read_as_yaml(text: str, source: str, found: Found, error: json.JSONDecodeError) -> None:
    part = Found()
    yaml_documents.read(text, source, part)
    if any(place.why.startswith("not YAML") for place in part.troubles):
        found.trouble(source, error.lineno, error.colno, f"not JSON: {error.msg}")
    else:
        found.take_in(part, lambda where: where)
