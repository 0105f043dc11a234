"""The way of each segment through a router: which were lost, which the router sent itself, and what its NAT changed."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from harness.evidence.sockets import Endpoint
from harness.evidence.wire import Segment

End = tuple[Endpoint, Endpoint]
"""One end of a connection, as its own socket has it: local and remote."""


@dataclass(slots=True)
class Paths:
    """What became of the segments; `lost`, `by_router` and the keys of `arrived` are id()s of Segments."""

    lost: set[int] = field(default_factory=set)
    """Those that a host sent and that no receiver got."""
    by_router: set[int] = field(default_factory=set)
    """Those that no host sent: answers of the router itself, perhaps in a host's name."""
    arrived: dict[int, Segment] = field(default_factory=dict)
    """For each segment that arrived, the same as its receiver got it, perhaps with other addresses and ports."""
    translated: dict[End, End] = field(default_factory=dict)
    """For an end that knows its peer by an address of the router: that peer's own end."""

    def connection(self, local: Endpoint, remote: Endpoint) -> frozenset[Endpoint]:
        """The two endpoints of an end's connection, as the end knows them that was heard first: the same for both."""
        known = self.translated.get((local, remote)) or self.translated.get((remote, local))
        return frozenset(known or (local, remote))


def follow(captured: Iterable[Segment]) -> Paths:
    """Match what came into a router with what left it.

    A router passes a segment on before the sender can repeat it, so what leaves is the latest one that is alike. NAT
    may have changed its addresses and ports, so these are not compared.
    """
    paths = Paths()
    under_way: dict[tuple[str, int, int, int], list[Segment]] = {}
    for segment in captured:
        alike = under_way.setdefault((segment.flags, segment.seq, segment.ack, segment.length), [])
        if not segment.arrives:
            alike.append(segment)
        elif alike:
            sent = alike.pop()
            paths.arrived[id(sent)] = segment
            sender, receiver = (sent.source, sent.destination), (segment.destination, segment.source)
            if receiver != sender[::-1] and sender not in paths.translated:
                paths.translated[receiver] = sender
        else:
            paths.by_router.add(id(segment))
    paths.lost = {id(segment) for alike in under_way.values() for segment in alike}
    return paths
