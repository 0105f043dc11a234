"""The record of a whole run, as JSON, for comparing two kernels, two hosts or two dates (runs/compare.py).

Version 2, described by runs/record.schema.json (version 1 had other sysctls, and ECN among the flags of a course).
It has a line for each play of each story, so that a diff shows which have changed. Times are in seconds. Values that
differ from run to run (ports, points in time, sequence numbers) are left out.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import LabError
from harness.output import files
from harness.story.outcome import findings, written
from harness.story.shape import shape
from harness.story.timeline import Timeline
from harness.story.verdicts import StoryVerdict

VERSION = 2

_MOST_BYTES = 64 * 2**20

Play = dict[str, Any]
"""One play of one story: story, verdict, reason, pinned, findings ({name, value}), course (lines of text)."""


@dataclass(frozen=True, slots=True)
class Run:
    """The content of a record. `settings` are the effective sysctls (harness/explain/profile.py, effective_values).

    A story may have several plays.
    """

    kernel: str
    profile: str
    settings: dict[str, str]
    plays: tuple[Play, ...]


def play(
    timeline: Timeline | None, *, story: str, verdict: str, reason: str, pinned: Iterable[str], course: bool
) -> Play:
    """The record of one play. `reason`: why it did not pass, in one line; `pinned`: sysctls that the story set itself.

    `course`: whether to include the shape of its timeline (harness/story/shape.py).
    """
    found = findings(timeline) if timeline else []
    names = _numbered([each["name"] for each in found])
    return {
        "story": story,
        "verdict": verdict,
        "reason": reason,
        "pinned": sorted(pinned),
        "findings": [{"name": name, "value": each["value"]} for name, each in zip(names, found, strict=True)],
        "course": shape(timeline) if timeline and course else [],
    }


def _numbered(names: list[str]) -> Iterator[str]:
    """The names, with a number for the second and further findings of the same name."""
    seen: dict[str, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name} ({seen[name]})"


def text(run: Run) -> str:
    """The run as JSON, its stories in the order of their names, so that two records of one run have the same order."""
    rows = sorted(run.plays, key=lambda each: each["story"])
    return written(
        {
            "version": VERSION,
            "kernel": run.kernel,
            "profile": run.profile,
            "settings": dict(sorted(run.settings.items())),
            "plays": rows,
        }
    )


def save(run: Run, path: Path) -> None:
    """Write a record. LabError if that fails; an older record is then unchanged."""
    files.write(path, text(run))


def load(path: Path) -> Run:
    """Read a record. LabError if it is missing or damaged, or has an unknown version."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise LabError(
                f"{path} has more than {_MOST_BYTES >> 20} MiB, so it is not a record. Hint: name a saved run"
            )
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabError(f"there is no record {path}. Hint: save one with --lab-save") from None
    except OSError as error:
        raise LabError(f"{path} cannot be read: {error.strerror}. Hint: name a saved run") from None
    except (ValueError, RecursionError) as error:
        raise LabError(f"{path} is damaged ({error}). Hint: save it again with --lab-save") from None
    return _run(found, path)


def _run(found: Any, path: Path) -> Run:
    version = found.get("version") if isinstance(found, dict) else None
    if version != VERSION or isinstance(version, bool):  # True == 1
        raise LabError(
            f"{path} is a record of version {version!r}, but this program reads version {VERSION}. "
            "Hint: save it again with this program, or compare it with the program that saved it"
        )
    try:
        run = Run(
            _a(str, found["kernel"]),
            _a(str, found["profile"]),
            {_a(str, key): _a(str, value) for key, value in _a(dict, found["settings"]).items()},
            tuple(_checked(each) for each in _a(list, found["plays"])),
        )
    except (KeyError, TypeError, OverflowError) as error:
        raise LabError(f"{path} is damaged: {error}. Hint: save it again with --lab-save") from None
    return run


def _checked(each: Any) -> Play:
    if _a(str, each["verdict"]) not in set(StoryVerdict):
        raise TypeError(f"{each['verdict']!r} is not a verdict")
    return {
        "story": _a(str, each["story"]),
        "verdict": each["verdict"],
        "reason": _a(str, each["reason"]),
        "pinned": [_a(str, key) for key in _a(list, each["pinned"])],
        "findings": [
            {"name": _a(str, finding["name"]), "value": _value(finding["value"])}
            for finding in _a(list, each["findings"])
        ],
        "course": [_a(str, line) for line in _a(list, each["course"])],
    }


def _value(value: Any) -> Any:
    match value:
        case {"seconds": int() | float() as seconds, "from": int() | float() as begins, "to": int() | float() as ends}:
            return {"seconds": _finite(seconds), "from": _finite(begins), "to": _finite(ends)}
        case {"predicted": str() as predicted, "why": str() as why}:
            interval = {name: _finite(value[name]) for name in ("from", "to") if name in value}
            return {"predicted": predicted, "why": why, **interval}
        case bool() | int() | float() | str() | None:
            return value
    raise TypeError(f"{str(value)[:80]!r} is not a finding's value")


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise TypeError(f"{number} is not a time")
    return float(number)


def _a(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{str(value)[:80]!r} is not a {kind.__name__}")
    return value
