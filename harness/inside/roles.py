"""The roles of a scenario's file, imported once in the nursery, so that each actor is but a fork."""

import importlib.util
import linecache
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import LabError


class _NotHere:
    """Stands for pytest, which takes 80 ms to import, while a file with roles is imported: marks and parameters.

    A role that runs cannot use it. pytest.fail(), say, would do nothing.
    """

    importing = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if not _NotHere.importing:
            raise LabError("a role cannot use pytest. Hint: raise an exception, or return what the test is to check")
        return self

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """A decorator gives back what it decorates; anything else (a mark, a parameter) is as little here as pytest."""
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) and not named else self


sys.modules.setdefault("pytest", _NotHere())  # type: ignore[arg-type]

_refused: dict[str, str] = {}
"""Why a file was refused, by its path. A keeper inherits this from the nursery, where the file is tried first: to run
it once more would start its threads once more, in the process that forks the actors."""


def load(path: str) -> None:
    """Import the file under a name of its own. LabError if that fails, or if it starts a thread; each time."""
    if path in sys.modules:
        return
    if path in _refused:
        raise LabError(_refused[path])
    _NotHere.importing = True
    try:
        _import(path)
    except LabError as error:
        _refused[path] = str(error)
        sys.modules.pop(path, None)
        raise
    finally:
        _NotHere.importing = False


def _import(path: str) -> None:
    threads = len(os.listdir("/proc/self/task"))  # those of a file that was refused before are not this one's
    spec = importlib.util.spec_from_file_location(path, path)
    if spec is None or spec.loader is None:
        raise LabError(f"{path} is no Python file. Hint: define roles in a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path] = module
    try:
        spec.loader.exec_module(module)
        linecache.getlines(path)  # for the tracebacks of roles that fail, which would each read the file
    except BaseException:
        raise LabError(f"{path} cannot be imported. Hint:\n{traceback.format_exc(limit=-3)}") from None
    if len(os.listdir("/proc/self/task")) > threads:
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
