"""The states that a picture shows: inferred from the segments, and checked against every look at the socket table."""

from collections import defaultdict
from dataclasses import dataclass

from harness.evidence.sockets import Endpoint, State
from harness.evidence.transitions import Transition
from harness.evidence.wire import Segment
from harness.story.paths import End, Paths
from harness.story.timeline import Look, Timeline


@dataclass(frozen=True, slots=True)
class Correction:
    """The state of an end at a look, where the segments had implied another."""

    look: Look
    local: Endpoint
    remote: Endpoint
    state: State


def checked(timeline: Timeline) -> tuple[list[Transition], list[Correction]]:
    """The state changes that no look refutes, and the corrections that only looks can make.

    A segment that an end sent proves its state. But one that it received may have been dropped on arrival, or ignored
    (a full accept queue), and minisocks end without a segment. A look shows the actual state: if it is still the one
    before a change that a received segment implied, that change and those that would follow from it did not happen.
    """
    implied, paths = defaultdict(list), timeline.paths()
    for change in timeline.transitions():
        implied[change.time_ns, paths.connection(change.local, change.remote)].append(change)
    states = _Checked(paths)
    for event in timeline:  # by time: a look may have been added before a segment that it already reflects
        if isinstance(event, Segment):
            states.segment(event, implied.pop((event.time_ns, paths.connection(event.source, event.destination)), []))
        elif isinstance(event, Look):
            states.look(event)
    return states.kept, states.corrections


class _Checked:
    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self.kept: list[Transition] = []
        self.corrections: list[Correction] = []
        self._now: dict[End, State] = {}
        self._doubtful: dict[End, Transition] = {}
        """Each end's latest change since the last look, if only a received segment implies it."""

    def segment(self, segment: Segment, changes: list[Transition]) -> None:
        for change in changes:
            end = (change.local, change.remote)
            before = self._now.get(end, State.CLOSED)
            peer = self._now.get(self._paths.translated.get(end, (change.remote, change.local)))
            sends = change.local == segment.source
            follows = sends or change.old == before or change.new == State.CLOSED
            made_up = change.new == State.SYN_RECV and peer != State.SYN_SENT  # a provoked SYN: no peer has sent one
            if change.new == before or not follows or made_up:
                continue
            self.kept.append(change)
            self._now[end] = change.new
            self._doubtful.pop(end, None)
            if not sends:
                self._doubtful[end] = change

    def look(self, look: Look) -> None:
        table = {(row.local, row.remote): row.state for row in look.sockets if row.state != State.LISTEN}
        for end in {**self._now, **table}:
            seen = table.get(end, State.CLOSED)
            if seen == self._now.get(end, State.CLOSED):
                continue
            doubtful = self._doubtful.get(end)
            if doubtful and doubtful.old == seen:
                self.kept.remove(doubtful)
            else:
                self.corrections.append(Correction(look, *end, seen))
            self._now[end] = seen
        self._doubtful.clear()
