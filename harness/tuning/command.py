"""`python -m harness explain`: a table of verdicts, or the same as JSON."""

import itertools
import textwrap
from collections.abc import Iterable, Sequence

from harness import terminal
from harness.kernel.sysctls import Setting
from harness.sandbox import network
from harness.tuning.explain import (
    Kind,
    Verdict,
    as_of_a_container,
    explain,
    host_value,
    in_each_network,
    kernel_value,
)
from harness.tuning.lines import Line, one_network, shown
from harness.tuning.read import read
from harness.tuning.sysctl_d import reference_profile

_NARROWEST = 80
_UNFOLDED = 240
"""Three times the widest column that others are filled up to, where no line is folded."""

_COLOURS = {
    Kind.APPLIED: 32, Kind.SAME: 2, Kind.OVERRIDDEN: 2, Kind.HOST_WIDE: 33, Kind.UNTRIED: 33,
    Kind.NO_EFFECT: 33,
}  # fmt: skip
"""Of a verdict; red for the others (ECMA-48, SGR)."""


def run(files: Sequence[str], before: str, *, as_json: bool) -> int:
    """Print the verdict on each setting of the files; the exit status. Malformed, LabUnavailable.

    `before` is what they are compared with: `host`, `kernel` (what a network begins with), `reference` (what scenarios
    run under), or a file: what the kernel takes of its settings lies over the kernel's own, and is gone afterwards. A
    container does not have the host's values: where those are asked for, it is compared with the kernel's own.
    """
    lines = read(files)
    old = [] if before in ("host", "kernel", "reference") else read([before])
    one_network(old)
    profile = reference_profile() if before == "reference" else []
    values = _values_under(old, {line.key for line in lines}) if old else {}
    verdicts = in_each_network(lines, lambda group: _told(group, before, values, profile))
    width = max(terminal.width(), _NARROWEST) if terminal.is_there() else None
    terminal.say(_as_json(verdicts) if as_json else _as_table(verdicts, width))
    return 0


def _values_under(old: Sequence[Line], keys: Iterable[str]) -> dict[str, str | None]:
    with network([]) as keeper:
        in_each_network(old, lambda group: explain(group, kernel_value(keeper), keeper))
        return {key: kernel_value(keeper)(key) for key in keys}


def _told(lines: Sequence[Line], before: str, values: dict[str, str | None], profile: list[Setting]) -> list[Verdict]:
    """The verdicts on lines of one network. `values`: of the keys before, where a file has said something of them."""
    with network(profile) as keeper:
        if before == "host" and not lines[0].container:
            return explain(lines, host_value, keeper)
        was = values or {line.key: kernel_value(keeper)(line.key) for line in lines}
        verdicts = explain(lines, was.get, keeper, kernel_value(keeper))
    return [as_of_a_container(each) for each in verdicts] if before == "host" else verdicts


def _as_json(verdicts: Sequence[Verdict]) -> str:
    import json

    rows = [
        {
            "file": each.line.source, "line": each.line.line, "column": each.line.column, "key": each.line.key,
            "value": each.line.value, "verdict": each.kind, "text": each.text,
        }
        for each in verdicts
    ]  # fmt: skip
    return json.dumps(rows, indent=1)


def _as_table(verdicts: Sequence[Verdict], width: int | None) -> str:
    """Place, setting and verdict, each folded; for a program (no width) one line each, however long.

    By hand: rich would take a fifth of the time that the whole command may take.
    """
    if not verdicts:
        return "No sysctl is set there."
    color = terminal.wants_color()
    rows = [
        (each.line.place, shown(f"{each.line.key} = {each.line.value}"), shown(f"{each.kind}: {each.text}"), each.kind)
        for each in verdicts
    ]
    widest = (width or _UNFOLDED) // 3
    places = min(max(len(place) for place, *_ in rows), widest)
    settings = min(max(len(setting) for _, setting, *_ in rows), widest)
    columns = (places, settings, width - places - settings - 4) if width else (None, None, None)
    lines: list[str] = []
    for place, setting, verdict, kind in rows:
        cells = map(_folded, (place, setting, verdict), columns)
        for first, second, third in itertools.zip_longest(*cells, fillvalue=""):
            third = f"\x1b[{_COLOURS.get(kind, 31)}m{third}\x1b[0m" if color and third else third
            lines.append(f"{first:{places}}  {second:{settings}}  {third}".rstrip())
    return "\n".join(lines)


def _folded(text: str, width: int | None) -> list[str]:
    return textwrap.wrap(text, width or len(text) + 1, break_on_hyphens=False) or [""]
