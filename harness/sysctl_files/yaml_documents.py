"""The sysctls in YAML: Kubernetes, compose, Ansible, Salt, cloud-init, and any mapping of names to values.

The text is composed into nodes, which know their places, but never constructed into Python objects. It uses libyaml if
PyYAML has it: a file of the largest size takes libyaml a second, and PyYAML's own parser a minute.
"""

import re

import yaml

from harness.sysctl_files import formats, manifests
from harness.sysctl_files.lines import Found

_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TOO_DEEP = "exceeded maximum nesting depth"
"""libyaml's message."""


def read(text: str, source: str, found: Found) -> None:
    """Read one file of one or more documents into `found`."""
    if not manifests.concerns(text):
        return
    try:
        for document in yaml.compose_all(text, Loader=_LOADER):
            manifests.Document(source, found).walk(document)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        found.trouble(source, before.count("\n") + 1, len(before) - before.rfind("\n"), str(error.reason))
    except yaml.MarkedYAMLError as error:
        _not_yaml(text, source, found, error)
    except RecursionError:
        found.trouble(source, 0, 0, "nested too deeply")
    except ValueError as error:  # PyYAML: a malformed numeric escape or version
        found.trouble(source, 0, 0, f"not YAML: {error}")


def _not_yaml(text: str, source: str, found: Found, error: yaml.MarkedYAMLError) -> None:
    """Report the place of the error; or, if the text is a template, that."""
    if error.problem == _TOO_DEEP:
        found.trouble(source, 0, 0, "nested too deeply")
        return
    at, why = formats.template(text)
    if why:
        found.trouble(source, text.count("\n", 0, at) + 1, 1, why)
        return
    mark = error.problem_mark or error.context_mark
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    if line > len(lines):  # libyaml's mark at the end of the text
        line, column = len(lines), len(lines[-1]) + 1
    found.trouble(source, line, column, f"not YAML: {error.problem or error.context}")
