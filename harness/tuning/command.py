"""`python -m harness explain`: a table of verdicts, or the same as JSON."""

import itertools
import json
import textwrap
from collections.abc import Sequence

from harness import terminal
from harness.nursery import KeeperHandle, network
from harness.tuning import known
from harness.tuning.explain import Before, Kind, Verdict, explain, host_value, kernel_value
from harness.tuning.lines import Line, shown
from harness.tuning.read import read
from harness.tuning.sysctl_d import reference_profile

_NARROWEST = 80
_COLOURS = {
    Kind.APPLIED: 32, Kind.SAME: 2, Kind.OVERRIDDEN: 2, Kind.HOST_WIDE: 33, Kind.NO_EFFECT: 33,
}  # fmt: skip
"""Of a verdict; red for the others (ECMA-48, SGR)."""


def run(files: Sequence[str], before: str, *, as_json: bool) -> int:
    """Print the verdict on each setting of the files; the exit status. Malformed, LabUnavailable.

    `before` is what they are compared with: `host`, `kernel` (what a network begins with), `reference` (what scenarios
    run under), or a file, whose settings lie over the kernel's.
    """
    lines = read(files)
    over = _over(before)
    with network([]) as keeper:
        verdicts = explain(lines, _before(over, lines, keeper), keeper)
    terminal.say(_as_json(verdicts) if as_json else _as_table(verdicts))
    return 0


def _over(before: str) -> dict[str, str] | None:
    """The settings that lie over the kernel's; None where the host's values count."""
    if before in ("host", "kernel"):
        return None if before == "host" else {}
    if before == "reference":
        return {setting.key: setting.value for setting in reference_profile()}
    return {line.key: line.value for line in read([before]) if not line.overridden_by}


def _before(over: dict[str, str] | None, lines: Sequence[Line], keeper: KeeperHandle) -> Before:
    if over is None:
        return host_value
    kernel = {key: kernel_value(keeper)(key) for key in {line.key for line in lines} | known.others()}
    return lambda key: " ".join(over[key].split()) if key in over else kernel.get(key)


def _as_json(verdicts: Sequence[Verdict]) -> str:
    rows = [
        {
            "file": each.line.source, "line": each.line.line, "column": each.line.column, "key": each.line.key,
            "value": each.line.value, "verdict": each.kind, "text": each.text,
        }
        for each in verdicts
    ]  # fmt: skip
    return json.dumps(rows, indent=1)


def _as_table(verdicts: Sequence[Verdict]) -> str:
    """Place, setting and verdict, by hand: rich would take a fifth of the time that the whole command may take."""
    if not verdicts:
        return "No sysctl is set there."
    width, color = max(terminal.width(), _NARROWEST), terminal.wants_color()
    rows = [
        (each.line.place, shown(f"{each.line.key} = {each.line.value}"), shown(f"{each.kind}: {each.text}"), each.kind)
        for each in verdicts
    ]
    places = min(max(len(place) for place, *_ in rows), width // 3)
    settings = min(max(len(setting) for _, setting, *_ in rows), width // 3)
    lines: list[str] = []
    for place, setting, verdict, kind in rows:
        cells = _folded(place, places), _folded(setting, settings), _folded(verdict, width - places - settings - 4)
        for first, second, third in itertools.zip_longest(*cells, fillvalue=""):
            third = f"\x1b[{_COLOURS.get(kind, 31)}m{third}\x1b[0m" if color and third else third
            lines.append(f"{first:{places}}  {second:{settings}}  {third}".rstrip())
    return "\n".join(lines)


def _folded(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]
