"""What the formats read: tables of sockets, counters and sysctls, and notes on what is missing."""

import hashlib
from dataclasses import dataclass, field

from harness.diagnose.snapshot import Owner
from harness.evidence.sockets import Endpoint, Socket, State

UNKNOWN_BACKLOG = 2**63 - 1
"""Send-Q of a listener whose backlog the text does not show: no queue is longer, so none looks full."""


@dataclass(slots=True)
class Table:
    """The sockets of one text. `owners`: by inode, real or made up. `lacks`: what it does not show, each with a remedy.

    An inode below 0 is made up (see Inodes): it is not known whether a process has the socket open.
    """

    format: str
    source: str
    rows: list[Socket] = field(default_factory=list)
    owners: dict[int, tuple[Owner, ...]] = field(default_factory=dict)
    lacks: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Counters:
    """`omits_zeros_of`: the groups ("TcpExt") in which the text shows each counter that is not 0, and only those."""

    format: str
    source: str
    numbers: dict[str, int] = field(default_factory=dict)
    omits_zeros_of: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Reading:
    """All that was read for one look. `understood`: the number of lines that a format knows, needed or not."""

    tables: list[Table] = field(default_factory=list)
    counters: list[Counters] = field(default_factory=list)
    sockstat: dict[str, int] = field(default_factory=dict)
    sysctls: dict[str, str] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    understood: int = 0


class Inodes:
    """Makes up an inode below 0 for each row without one: the same for the same socket in both looks."""

    def __init__(self) -> None:
        self._count: dict[tuple[bool, Endpoint, Endpoint], int] = {}

    def make_up(self, state: State, local: Endpoint, remote: Endpoint) -> int:
        """0 if the state alone makes clear that no process has the socket open, as it is not a full socket.

        inet_twsk_diag_fill() and inet_req_diag_fill() report no inode.
        """
        if state in (State.TIME_WAIT, State.SYN_RECV):
            return 0
        key = (state == State.LISTEN, local, remote)
        nth = self._count[key] = self._count.get(key, 0) + 1  # several listeners with SO_REUSEPORT
        digest = hashlib.blake2b(f"{key} {nth}".encode(), digest_size=7).digest()
        return -1 - int.from_bytes(digest, "big")


def number(digits: str) -> int:
    """A decimal number of any length, no larger than an unsigned 64-bit integer."""
    return min(int(digits[:21]), 2**64 - 1)
