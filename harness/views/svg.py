"""The ladder as SVG: a rail with bars for the states at each end, segments as arrows between them, a row per moment.

Rows have two sets of heights: by steps (as close as their text allows) and to scale (waits in proportion, but at least
a row apart). The SVG shows the first; the page's script switches to the second.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from unicodedata import east_asian_width

from harness.evidence.sockets import State
from harness.evidence.transitions import Transition
from harness.evidence.wire import Segment
from harness.story.paths import End
from harness.story.timeline import Finding, Look, Timeline
from harness.views.rows import Lane, Row, client_port, lane_of, rows
from harness.views.states import checked

_TIME, _TEXT, _WIRE, _COLUMN, _GAP = 68, 192, 184, 13, 8
"""Widths, in the SVG's units (pixels if the ladder's column is about 660 wide)."""

_LINE, _AROUND, _HEAD, _SCALE_PX = 18, 12, 44, 1000
"""Heights: a line of text, the space of a row around its lines, the names of the lanes, a story drawn to scale."""

ROW_PX = _LINE + _AROUND
"""The height of a row with one line, and the least distance of rows drawn to scale."""

_STEP_CHARACTERS, _LOOK_CHARACTERS, _NOTE_CHARACTERS, _MOST_LINES = 24, 28, 88, 6
"""The characters that fit into a line of each kind, in the widest usual font (steps are bold); the lines of a row."""

_MOST_COLUMNS = 5
_PILL = re.compile(rf"(?:(\d+) )?({'|'.join(State)}|state \d+)")
_STAYS_TOGETHER = re.compile(r"(?<=\d) (?=s\b)| (?=[+-]\d)")
"""The space in "1.0 s" and in "TcpExtTW +1"."""

_FLAGS = {"S": "SYN", "F": "FIN", "R": "RST", "P": "PSH", "A": "ACK", "U": "URG", "E": "ECE", "C": "CWR", "N": "AE"}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A ladder, and the heights of its rows."""

    svg: str
    rows: list[Row]
    """The rows shown, with one that counts the rows left out in the middle."""
    by_steps: list[int]
    to_scale: list[int]
    """Heights of the rows, and of the ladder's end."""


@dataclass(slots=True)
class _Bar:
    lane: Lane
    column: int
    state: State
    first: int
    last: int = -1
    """The rows from which and to which it extends; -1: to the end."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The parts of a story that do not depend on how much of it is drawn."""

    start_ns: int
    rows: list[Row]
    states: list[tuple[int, End, State]]
    """Row by row, the ends whose state changes there."""


def prepare(timeline: Timeline, words: Mapping[str, str]) -> Prepared:
    """The rows of a timeline, and the states between them."""
    every = rows(timeline, words)
    return Prepared(timeline.start_ns, every, list(_states(timeline, every)))


def scale(stories: Sequence[Prepared]) -> float:
    """Pixels per nanosecond, the same for all stories, so that the longest is at most _SCALE_PX taller."""
    return _SCALE_PX / max(1, *(story.rows[-1].time_ns - story.rows[0].time_ns for story in stories if story.rows), 1)


def draw(story: Prepared, most: int, px_a_ns: float, label: str, words: Mapping[str, str]) -> Drawing:
    """Draw at most `most` rows. `label` is the picture's name for a screen reader."""
    shown, place = _folded(story.rows, most, words["left_out"])
    bars = _bars(story.states, place)
    rooms = _Rooms(*(1 + max((bar.column for bar in bars if bar.lane is lane), default=0) for lane in Lane))
    heights = [_LINE * max(1, *(len(lines) for lines in _texts(row, words))) + _AROUND for row in shown]
    waits_ns = [max(0, later.time_ns - row.time_ns) for row, later in pairwise([*shown, *shown[-1:]])]
    by_steps = _stacked(heights)
    to_scale = _stacked([max(height, round(wait * px_a_ns)) for height, wait in zip(heights, waits_ns, strict=True)])
    names = [_name(row, story.start_ns, words) for row in shown]
    several = len({client_port(row.segment) for row in story.rows if row.segment}) > 1
    drawn = [
        _row(*each, rooms, story.start_ns, several, words)
        for each in zip(shown, by_steps[:-1], heights, names, strict=True)
    ]
    svg = (
        f'<svg viewBox="0 0 {rooms.width} {by_steps[-1]}" role="listbox" aria-label="{escape(label)}">'
        f"{_lanes(rooms, by_steps[-1], words)}{''.join(_drawn_bar(bar, rooms, by_steps) for bar in bars)}"
        f'<g class="gaps" aria-hidden="true">{"".join(_waits(to_scale, heights, waits_ns))}</g>{"".join(drawn)}</svg>'
    )
    return Drawing(svg, shown, by_steps, to_scale)


def _folded(every: Sequence[Row], most: int, left_out: str) -> tuple[list[Row], list[int]]:
    """The rows to show, and for each row the index at which it is shown."""
    if len(every) <= most:
        return list(every), list(range(len(every)))
    begin, end = most // 2, len(every) - most // 2
    fold = Row(every[begin].time_ns, note=left_out.format(end - begin))
    place = [min(at, begin) if at < end else at - end + begin + 1 for at in range(len(every))]
    return [*every[:begin], fold, *every[end:]], place


class _Rooms:
    """The columns, from left to right: time, the client's text, its bars, wire, the server's bars, its text."""

    def __init__(self, client_columns: int, server_columns: int) -> None:
        self.left = _TIME + _TEXT + _GAP + _COLUMN * client_columns
        self.right = self.left + _WIRE
        self.text = {Lane.CLIENT: _TIME + _TEXT, Lane.SERVER: self.right + _COLUMN * server_columns + _GAP}
        self.width = self.text[Lane.SERVER] + _TEXT

    def bar(self, lane: Lane, column: int) -> int:
        """The left edge of a bar; the first column is the outermost."""
        text = self.text[lane]
        return text + _GAP + _COLUMN * column if lane is Lane.CLIENT else text - _GAP - _COLUMN * (column + 1)


def _states(timeline: Timeline, every: Sequence[Row]) -> Iterator[tuple[int, End, State]]:
    """Row by row, the ends whose state changes there: the states in the rows' lanes, and those of listeners."""
    _, corrections = checked(timeline)
    listening: dict[End, State] = {}
    for at, row in enumerate(every):
        for event in row.evidence:
            if isinstance(event, Transition):
                yield at, (event.local, event.remote), event.new
            elif isinstance(event, Look):
                yield from (
                    (at, (known.local, known.remote), known.state) for known in corrections if known.look is event
                )
                before = listening
                listening = {
                    (each.local, each.remote): each.state for each in event.sockets if each.state == State.LISTEN
                }
                yield from ((at, end, State.CLOSED) for end in before if end not in listening)
                yield from ((at, end, State.LISTEN) for end in listening if end not in before)


def _bars(states: Iterable[tuple[int, End, State]], place: Sequence[int]) -> list[_Bar]:
    """A bar for each state of each end. Connections that find no free column have their states only as text."""
    bars: list[_Bar] = []
    standing: dict[End, _Bar] = {}
    for at, end, state in states:
        before = standing.pop(end, None)
        lane = lane_of(end[0])
        if before:
            before.last = place[at]
        column = before.column if before else _free_column(standing.values(), lane)
        if state != State.CLOSED and column < _MOST_COLUMNS:
            standing[end] = _Bar(lane, column, state, place[at])
            bars.append(standing[end])
    return [bar for bar in bars if bar.last != bar.first]


def _free_column(standing: Iterable[_Bar], lane: Lane) -> int:
    taken = {bar.column for bar in standing if bar.lane is lane}
    return next(column for column in range(len(taken) + 1) if column not in taken)


def _stacked(heights: Sequence[int]) -> list[int]:
    """The middle of each row's first line, and the end of them all."""
    tops = [_HEAD]
    for height in heights:
        tops.append(tops[-1] + height)
    return [top + ROW_PX // 2 for top in tops[:-1]] + [tops[-1] + _AROUND]


def _texts(row: Row, words: Mapping[str, str]) -> tuple[list[str], list[str], list[str]]:
    """The lines at the client, at the server, and of the note."""
    client, server = (_wrapped(row.says[lane], _LOOK_CHARACTERS, words["more"]) for lane in Lane)
    return client, server, _wrapped([row.note] if row.note else [], _NOTE_CHARACTERS, words["more"])


def _wrapped(texts: Sequence[str], characters: int, more: str) -> list[str]:
    """At most a few lines of texts; the evidence has all of them."""
    lines = [line for text in texts for line in _fitted(text, _STEP_CHARACTERS if text[:1] == "»" else characters)]
    return lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], f"… {more}"]


def _fitted(text: str, characters: int) -> list[str]:
    """A text in lines of about this many small letters: capitals are wider, and Chinese characters twice as wide."""
    if _PILL.fullmatch(text):
        return [text]
    whole = _STAYS_TOGETHER.sub("\N{NO-BREAK SPACE}", text)
    wide = sum(2 if east_asian_width(each) in "WF" else 1.25 if each.isupper() else 1 for each in text)
    return textwrap.wrap(whole, max(4, int(characters * len(text) / max(1, wide)))) or [""]


def _row(
    row: Row, y: int, height: int, name: str, rooms: _Rooms, start_ns: int, several: bool, words: Mapping[str, str]
) -> str:
    client, server, note = _texts(row, words)
    parts = [
        f'<rect class="hit" y="{-3 - ROW_PX // 2}" width="{rooms.width}" height="{height}"/>',
        f'<text class="time" x="{_TIME - 12}" y="4">{_milliseconds(row.time_ns - start_ns)}</text>',
        *_lane(client, Lane.CLIENT, rooms),
        *_lane(server, Lane.SERVER, rooms),
    ]
    if row.segment:
        parts += _arrow(row.segment, row, rooms, several)
    if note:
        found = " found" if any(isinstance(event, Finding) for event in row.evidence) else ""
        parts.append(
            f'<rect class="band{found}" x="{_TIME}" y="-13" width="{rooms.width - _TIME}" height="{height - 4}"/>'
        )
        parts += [
            f'<text class="note" x="{_TIME + 12}" y="{4 + _LINE * at}">{escape(line)}</text>'
            for at, line in enumerate(note)
        ]
    return (
        f'<g class="row" role="option" tabindex="-1" aria-label="{escape(name)}" transform="translate(0 {y})">'
        f"{''.join(parts)}</g>"
    )


def _lane(lines: Sequence[str], lane: Lane, rooms: _Rooms) -> Iterator[str]:
    x = rooms.text[lane]
    step = False
    for at, line in enumerate(lines):
        pill = _PILL.fullmatch(line)
        step = not pill and (line.startswith("»") or step)
        y = _LINE * at
        if pill:
            yield _drawn_pill(pill, lane, x, y)
        else:
            yield f'<text class="{"step" if step else "look"} {lane}" x="{x}" y="{y + 4}">{escape(line)}</text>'


def _drawn_pill(pill: re.Match[str], lane: Lane, x: int, y: int) -> str:
    port, state = pill.groups()
    text = f"{port} {state}" if port else state
    width = round(6.65 * len(text)) + 12
    left = x - width if lane is Lane.CLIENT else x
    return (
        f'<g class="pill {state}"><rect x="{left}" y="{y - 8}" width="{width}" '
        f'height="16" rx="3"/><text x="{left + 6}" y="{y + 4}">{text}</text></g>'
    )


def _arrow(segment: Segment, row: Row, rooms: _Rooms, several: bool) -> list[str]:
    kind = "rst" if "R" in segment.flags else "data" if segment.length else "bare"
    start, end = rooms.left + 2, rooms.right - 2
    if row.sender is Lane.SERVER:
        start, end = end, start
    port = f'<tspan class="port">{client_port(segment)} </tspan>' if several else ""
    middle = (start + end) // 2
    if row.lost:
        kind, end = f"{kind} lost", middle
    return [
        f'<path class="arrow {kind}" d="M{start} 0H{end}"/>',
        f'<text class="flags {kind}" x="{middle}" y="-6">{port}{escape(row.label)}</text>',
    ]


def _lanes(rooms: _Rooms, height: int, words: Mapping[str, str]) -> str:
    rails = "".join(f'<path class="rail" d="M{x} {_HEAD - 12}V{height}"/>' for x in (rooms.left, rooms.right))
    return (
        f'<text class="time" x="{_TIME - 12}" y="24">ms</text>'
        f'<text class="end client" x="{rooms.left}" y="24">{words["client"]}</text>'
        f'<text class="end server" x="{rooms.right}" y="24">{words["server"]}</text>{rails}'
    )


def _drawn_bar(bar: _Bar, rooms: _Rooms, heights: Sequence[int]) -> str:
    top, bottom = heights[bar.first], heights[bar.last]
    return (
        f'<rect class="bar {bar.state}" data-first="{bar.first}" data-last="{bar.last}" '
        f'x="{rooms.bar(bar.lane, bar.column) + 2}" y="{top}" width="{_COLUMN - 4}" height="{bottom - top}">'
        f"<title>{bar.state}</title></rect>"
    )


def _waits(to_scale: Sequence[int], heights: Sequence[int], waits_ns: Sequence[int]) -> Iterator[str]:
    """The duration of each wait that is conspicuous when drawn to scale."""
    for (top, bottom), height, wait_ns in zip(pairwise(to_scale), heights, waits_ns, strict=True):
        if bottom - top > height + 2 * _LINE:
            yield (
                f'<path d="M{_TIME - 16} {top + height - _AROUND}V{bottom - _AROUND}"/>'
                f'<text x="{_TIME - 22}" y="{(top + height + bottom) // 2 - 8}">+{_short(wait_ns)}</text>'
            )


def _short(wait_ns: int) -> str:
    return f"{wait_ns / 1e9:.2f} s" if wait_ns >= 10**9 else f"{wait_ns / 1e6:.0f} ms"


def _milliseconds(after_ns: int) -> str:
    return f"{after_ns / 1e6:.{3 if after_ns < 10**10 else 1}f}"


def _name(row: Row, start_ns: int, words: Mapping[str, str]) -> str:
    """`20.098 ms: client → server: SYN; client: SYN_SENT`."""
    parts = []
    if row.segment:
        way = [words["client"], words["server"]]
        sender, receiver = way if row.sender is Lane.CLIENT else reversed(way)
        flags = " ".join(_FLAGS.get(flag, flag) for flag in row.segment.all_flags)
        size = f", {row.segment.length} B" if row.segment.length else ""
        parts.append(f"{sender} → {receiver}: {flags}{size}{words['lost'] if row.lost else ''}")
        if row.segment.arrives:
            parts[-1] += f", {words['router']}"
    for lane in Lane:
        if texts := [text.removeprefix("» ") for text in row.says[lane][:_MOST_LINES]]:
            parts.append(f"{words[lane]}: {', '.join(texts)}")
    if row.note:
        parts.append(row.note)
    return f"{_milliseconds(row.time_ns - start_ns)} ms: {'; '.join(parts)}"
