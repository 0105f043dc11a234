"""The roles of a scenario's file, imported once in the nursery, so that each actor is but a fork."""

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import LabError


class _NotHere:
    """Stands for pytest, which takes 80 ms to import and is no concern of a role."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """A decorator gives back what it decorates; anything else (a mark, a parameter) is as little here as pytest."""
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) and not named else self


sys.modules.setdefault("pytest", _NotHere())  # type: ignore[arg-type]


def load(path: str) -> None:
    """Import the file under a name of its own. LabError where it cannot be, or where it starts a thread."""
    if path in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(path, path)
    if spec is None or spec.loader is None:
        raise LabError(f"{path} is no Python file. Hint: define roles in a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path]
        raise LabError(f"{path} cannot be imported. Hint:\n{traceback.format_exc(limit=-3)}") from None
    if len(os.listdir("/proc/self/task")) > 1:
        raise LabError(f"importing {Path(path).name} starts a thread, and roles are forked. Hint: start it in the role")


def find(path: str, qualified_name: str) -> Callable[..., Any]:
    """A role of a loaded file. LabError where it has none of that name."""
    found: Any = sys.modules[path]
    for part in qualified_name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise LabError(f"{Path(path).name} has no role {qualified_name}. Hint: define it at the top level of the file")
    role: Callable[..., Any] = found
    return role
