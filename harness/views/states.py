"""The states that a picture shows: inferred from the segments, and checked by every look at the socket table."""

from dataclasses import dataclass

from harness.evidence.sockets import Endpoint, State
from harness.evidence.transitions import Transition
from harness.timeline import Look

End = tuple[Endpoint, Endpoint]


@dataclass(frozen=True, slots=True)
class Correction:
    """The table knew better than the segments: an end was in this state at a look."""

    look: Look
    local: Endpoint
    remote: Endpoint
    state: State


def checked(changes: list[Transition], looks: list[Look]) -> tuple[list[Transition], list[Correction]]:
    """The changes that no look refutes, and what looks alone can tell.

    Segments may be dropped as they arrive, or ignored (a full accept queue), and minisocks end without one. A look
    shows the state at rest: where it is still the one before the latest change, that change did not take place.
    """
    kept: list[Transition] = []
    corrections: list[Correction] = []
    now: dict[End, State] = {}
    latest: dict[End, Transition] = {}
    events: list[Transition | Look] = [*changes, *looks]
    for event in sorted(events, key=lambda each: each.time_ns):
        if isinstance(event, Transition):
            end = (event.local, event.remote)
            kept.append(event)
            now[end], latest[end] = event.new, event
            continue
        table = {(row.local, row.remote): row.state for row in event.sockets if row.state != State.LISTEN}
        for end in {**now, **table}:
            seen = table.get(end, State.CLOSED)
            if seen == now.get(end, State.CLOSED):
                continue
            if end in latest and latest[end].old == seen:
                kept.remove(latest[end])
            else:
                corrections.append(Correction(event, *end, seen))
            now[end] = seen
        latest.clear()
    return kept, corrections
