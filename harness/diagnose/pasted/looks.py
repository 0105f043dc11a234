"""One or two snapshots from text."""

from collections.abc import Sequence
from dataclasses import replace

from harness.diagnose.pasted import files
from harness.diagnose.pasted.groups import group_of
from harness.diagnose.pasted.netstat_counters import NetstatCounters
from harness.diagnose.pasted.netstat_sockets import NetstatSockets
from harness.diagnose.pasted.nstat import Nstat
from harness.diagnose.pasted.proc_counters import ProcCounters
from harness.diagnose.pasted.proc_net_tcp import ProcNetTcp
from harness.diagnose.pasted.reading import Counters, Reading, Table
from harness.diagnose.pasted.ss import Ss
from harness.diagnose.snapshot import Snapshot
from harness.errors import LabError, LabUnavailable
from harness.evidence.sockets import State
from harness.sysctl_files.lines import shown

_TABLES = (Ss.name, ProcNetTcp.name, NetstatSockets.name)
"""The best first: only ss shows backlogs, and only the first one that was read is used."""
_COUNTERS = (NetstatCounters.name, Nstat.name, ProcCounters.name)
"""The best last: it overrules the others."""
_TWO_LOOKS = "Hint: give two looks as two sources: --from FIRST --from SECOND"
_MOST_NOTES = 30


def take(sources: Sequence[str]) -> tuple[Snapshot, Snapshot]:
    """The snapshots of a first and a second look; the same one twice if there is one source.

    The second one's `unseen` has the notes of both. LabError if a source has nothing in a known format,
    LabUnavailable if it has neither sockets nor counters.
    """
    if len(sources) > 2:
        raise LabError("--from is given more than twice. Hint: give a first and a second look")
    readings = [files.read(source) for source in sources]
    for source, reading in zip(sources, readings, strict=True):
        _check("the standard input" if source == "-" else shown(source), reading)
    first, *others = [_snapshot(reading) for reading in readings]
    if not others:
        first = replace(first, unseen=_bounded(first.unseen))
        return first, first
    second = others[0]
    notes = (*first.unseen, *second.unseen, *_differences(first, second))
    for one, other, reading in ((first, second, readings[0]), (second, first, readings[1])):
        _add_zeros(one.counters, other.counters, reading)
    only = sum(name not in first.counters for name in second.counters)
    if first.counters and only:
        notes = (*notes, f"the growth of {only} counters that only the second look has")
    return first, replace(second, unseen=_bounded(notes))


def _check(source: str, reading: Reading) -> None:
    if not reading.understood:
        why = "; ".join(dict.fromkeys((*reading.unseen[:1], *reading.unseen[-1:]))) or "it is empty"
        raise LabError(
            f"nothing in {source} could be read ({why}). Hint: give the output of ss -tanpeimo, nstat -az, netstat -s "
            "or /proc/net/tcp, or an unpacked sosreport"
        )
    if not reading.tables and not reading.counters:
        what = f"{source} has neither sockets nor counters ({'; '.join(reading.unseen[:1]) or 'only other lines'})"
        raise LabUnavailable(what, "give the output of ss -tanpeimo and of nstat -az")


def _snapshot(reading: Reading) -> Snapshot:
    notes = list(reading.unseen)
    table = _table(reading.tables, notes)
    counters = _counters(reading.counters, notes)
    if not reading.tables:
        notes.append("sockets: there is no table of them. Hint: add the output of ss -tanpeimo")
    if not counters:
        notes.append("counters: there are none. Hint: add the output of nstat -az")
    if not reading.sysctls:
        notes.append("sysctls: there are none. Hint: add the output of sysctl -a")
    notes += table.lacks
    states = {row.state == State.LISTEN for row in table.rows}
    if states == {True}:
        notes.append("connections, if there are any: the table has only listeners. Hint: use ss -tan")
    elif states == {False}:
        notes.append("listeners, if there are any: the table has only connections. Hint: use ss -tan")
    notes.append("the limits, file descriptors and processor time of processes, which no such text shows")
    return Snapshot(
        0.0,
        tuple(table.rows),
        table.owners,
        counters,
        reading.sockstat,
        reading.sysctls,
        tuple(dict.fromkeys(notes)),
        has_all_states=len(states) != 1,
    )


def _table(tables: list[Table], notes: list[str]) -> Table:
    """The best table, with others of its format that show other sockets (tcp and tcp6)."""
    ordered = sorted(tables, key=lambda table: (_TABLES.index(table.format), not table.rows))
    if not ordered:
        return Table("", "")
    best = ordered[0]
    used = Table(best.format, best.source, list(best.rows), dict(best.owners), list(best.lacks))
    for other in ordered[1:]:
        if other.format != best.format:
            notes.append(f"the sockets of {other.source} ({other.format}), as {best.source} ({best.format}) shows more")
        elif {(row.state, row.local, row.remote) for row in used.rows}.isdisjoint(
            (row.state, row.local, row.remote) for row in other.rows
        ):
            used.rows += other.rows
            used.owners |= other.owners
            used.lacks = [each for each in used.lacks if each in other.lacks]
        else:
            notes.append(f"another table in {other.source}, as it has the same sockets again. {_TWO_LOOKS}")
    return used


def _counters(several: list[Counters], notes: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for format in _COUNTERS:
        of_format: dict[str, int] = {}
        for each in (each for each in several if each.format == format):
            if not of_format.keys().isdisjoint(each.numbers):
                notes.append(f"earlier counters of {each.source}, as the same ones follow. {_TWO_LOOKS}")
            of_format |= each.numbers
        found |= of_format
    return found


def _add_zeros(counters: dict[str, int], others: dict[str, int], reading: Reading) -> None:
    """A counter that the other look has, and that this one's text would show if it were not 0, is 0."""
    omits_zeros_of = set[str]().union(*(each.omits_zeros_of for each in reading.counters))
    for name in others:
        if name not in counters and group_of(name) in omits_zeros_of:
            counters[name] = 0


def _differences(first: Snapshot, second: Snapshot) -> list[str]:
    notes = []
    if bool(first.sockets) != bool(second.sockets):
        notes.append("which sockets last, as only one look has sockets")
    if bool(first.counters) != bool(second.counters):
        notes.append("the growth of counters, as only one look has counters")
    made_up = [any(row.inode < 0 for row in look.sockets) for look in (first, second)]
    if first.sockets and second.sockets and made_up[0] != made_up[1]:
        notes.append("which sockets last, as only one look has their inodes. Hint: use the same options twice")
    return notes


def _bounded(notes: Sequence[str]) -> tuple[str, ...]:
    several = list(dict.fromkeys(notes))
    more = len(several) - _MOST_NOTES
    return (*several[:_MOST_NOTES], *([f"{more} more notes like these"] if more > 0 else []))
