"""The roles of a scenario's file, imported once in the nursery, so that each actor is but a fork."""

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import LabError


def load(path: str) -> None:
    """Import the file under a name of its own. LabError where it cannot be, or where it starts a thread."""
    if path in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(path, path)
    if spec is None or spec.loader is None:
        raise LabError(f"{path} is no Python file. Mend: define roles in a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path]
        raise LabError(f"{path} cannot be imported. Mend:\n{traceback.format_exc(limit=-3)}") from None
    if len(os.listdir("/proc/self/task")) > 1:
        raise LabError(f"importing {Path(path).name} starts a thread, and roles are forked. Mend: start it in the role")


def find(path: str, qualified_name: str) -> Callable[..., Any]:
    """A role of a loaded file. LabError where it has none of that name."""
    found: Any = sys.modules[path]
    for part in qualified_name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise LabError(f"{Path(path).name} has no role {qualified_name}. Mend: define it at the top level of the file")
    role: Callable[..., Any] = found
    return role
