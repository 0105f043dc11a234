"""`python -m harness explain`: a table of verdicts, or the same as JSON."""

import itertools
import textwrap
from collections.abc import Iterable, Sequence

from harness.explain.explain import (
    Kind,
    Verdict,
    as_of_a_container,
    explain,
    host_value,
    in_each_network,
    kernel_value,
)
from harness.explain.folding import fold
from harness.explain.reference import reference_profile
from harness.kernel.sysctls import Setting
from harness.lab.sandbox import network
from harness.output import terminal
from harness.sysctl_files.lines import Line, Place, one_network, shown
from harness.sysctl_files.read import LEFT_OUT, read_as_asked

_NARROWEST = 80
_UNFOLDED = 240
"""The width that limits the padding of the first two columns, to a third each, if no line is folded."""

_COLOURS = {
    Kind.APPLIED: 32, Kind.SAME: 2, Kind.OVERRIDDEN: 2, Kind.HOST_WIDE: 33, Kind.UNTRIED: 33,
    Kind.NO_EFFECT: 33,
}  # fmt: skip
"""The colour of each verdict (ECMA-48, SGR); red for the others."""

_NOT_READ = "not read"


def run(files: Sequence[str], before: str, *, as_json: bool, partial: bool) -> int:
    """Print the verdict on each setting of the files; returns the exit status. Raises Malformed and LabUnavailable.

    `partial`: use what can be read, list what cannot, and exit with LEFT_OUT if there is anything to list.

    `before` is what the settings are compared with: `host`, `kernel` (the defaults of a new network), `reference` (the
    values that scenarios run under), or a file, whose accepted settings are set on top of the kernel's defaults, in a
    network that is then discarded. A container does not have the host's values, so `host` means `kernel` for its lines.
    """
    lines, left_out = read_as_asked(files, partial=partial)
    old, also = read_as_asked([] if before in ("host", "kernel", "reference") else [before], partial=partial)
    left_out = [*left_out, *also]
    one_network(old)
    profile = reference_profile() if before == "reference" else []
    values = _values_under(old, {line.key for line in lines}) if old else {}
    verdicts = in_each_network(lines, lambda group: _verdicts(group, before, values, profile))
    width = max(terminal.width(), _NARROWEST) if terminal.is_there() else None
    terminal.say(_as_json(verdicts, left_out) if as_json else _as_table(verdicts, left_out, width))
    return LEFT_OUT if left_out else 0


def _values_under(old: Sequence[Line], keys: Iterable[str]) -> dict[str, str | None]:
    with network([]) as keeper:
        in_each_network(old, lambda group: explain(group, kernel_value(keeper), keeper))
        return {key: kernel_value(keeper)(key) for key in keys}


def _verdicts(
    lines: Sequence[Line], before: str, values: dict[str, str | None], profile: list[Setting]
) -> list[Verdict]:
    """The verdicts on lines of one network. `values`: the values before of all keys, if `before` is a file."""
    with network(profile) as keeper:
        if before == "host" and not lines[0].container:
            return explain(lines, host_value, keeper)
        was = values or {line.key: kernel_value(keeper)(line.key) for line in lines}
        verdicts = explain(lines, was.get, keeper, kernel_value(keeper))
    return [as_of_a_container(each) for each in verdicts] if before == "host" else verdicts


def _as_json(verdicts: Sequence[Verdict], left_out: Sequence[Place]) -> str:
    """A row for each setting, or for each key that a glob matches. A place that was left out has no key."""
    import json

    rows: list[dict[str, object]] = [
        {
            "file": each.line.source, "line": each.line.line, "column": each.line.column, "key": each.line.key,
            "value": each.line.value, "verdict": each.kind, "text": each.text,
        }
        for each in verdicts
    ]  # fmt: skip
    rows += [
        {
            "file": place.source, "line": place.line, "column": place.column, "key": None, "value": None,
            "verdict": _NOT_READ, "text": shown(place.why),
        }
        for place in left_out
    ]  # fmt: skip
    return json.dumps(rows, indent=1)


def _as_table(verdicts: Sequence[Verdict], left_out: Sequence[Place], width: int | None) -> str:
    """A table of place, setting and verdict, folded to `width`; without a width (for a program), a line for each row.

    Laid out by hand, because rich would take a fifth of the time that the whole command may take.
    """
    rows = [
        *map(_row, fold(verdicts)),
        *((_place(each), "", f"{_NOT_READ}: {shown(each.why)}", 31) for each in left_out),
    ]
    lines: list[str] = [] if verdicts else ["These files set no sysctl."]
    if not rows:
        return lines[0]
    color = terminal.wants_color()
    widest = (width or _UNFOLDED) // 3
    places = min(max(len(place) for place, *_ in rows), widest)
    settings = min(max(len(setting) for _, setting, *_ in rows), widest)
    columns = (places, settings, width - places - settings - 4) if width else (None, None, None)
    for place, setting, verdict, colour in rows:
        cells = map(_folded, (place, setting, verdict), columns)
        for first, second, third in itertools.zip_longest(*cells, fillvalue=""):
            third = f"\x1b[{colour}m{third}\x1b[0m" if color and third else third
            lines.append(f"{first:{places}}  {second:{settings}}  {third}".rstrip())
    return "\n".join(lines)


def _row(verdict: Verdict) -> tuple[str, str, str, int]:
    line, colour = verdict.line, _COLOURS.get(verdict.kind, 31)
    return line.place, shown(f"{line.key} = {line.value}"), shown(f"{verdict.kind}: {verdict.text}"), colour


def _place(place: Place) -> str:
    return f"{place.source}:{place.line}" if place.line else place.source


def _folded(text: str, width: int | None) -> list[str]:
    return textwrap.wrap(text, width or len(text) + 1, break_on_hyphens=False) or [""]
