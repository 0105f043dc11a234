"""The roles of a scenario's file, imported once in the nursery, so that starting an actor is only a fork."""

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
    """Replaces pytest, which takes 80 ms to import, while a file with roles is imported: for marks and parameters.

    A role that runs cannot use it: pytest.fail(), for example, would do nothing.
    """

    importing = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if not _NotHere.importing:
            raise LabError(
                "a role cannot use pytest. Hint: raise an exception, or return a value for the test to check"
            )
        return self

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Return the decorated function if used as a decorator; else this object, for a mark or a parameter."""
        return arguments[0] if len(arguments) == 1 and callable(arguments[0]) and not named else self


sys.modules.setdefault("pytest", _NotHere())  # type: ignore[arg-type]

_refused: dict[str, str] = {}
"""Why a file was refused, by its path. A keeper inherits this from the nursery, which imports the file first: to import
it again would start its threads again, in the process that forks the actors."""


def load(path: str) -> None:
    """Import a file under a unique name. LabError, at each call, if the import fails or starts a thread."""
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
    threads = len(os.listdir("/proc/self/task"))  # a file that was refused before may have left some
    spec = importlib.util.spec_from_file_location(path, path)
    if spec is None or spec.loader is None:
        raise LabError(f"{path} is not a Python file. Hint: define roles in a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path] = module
    try:
        spec.loader.exec_module(module)
        linecache.getlines(path)  # for the tracebacks of roles that fail: each would read the file again
    except BaseException:
        raise LabError(
            f"{path} cannot be imported. Hint: correct this error:\n{traceback.format_exc(limit=-3)}"
        ) from None
    if len(os.listdir("/proc/self/task")) > threads:
        raise LabError(
            f"importing {Path(path).name} starts a thread, but roles are forked. Hint: start the thread in the role"
        )


def find(path: str, qualified_name: str) -> Callable[..., Any]:
    """A role of a loaded file. LabError if the file has no role of that name."""
    found: Any = sys.modules[path]
    for part in qualified_name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise LabError(f"{Path(path).name} has no role {qualified_name}. Hint: define it at the top level of the file")
    role: Callable[..., Any] = found
    return role
