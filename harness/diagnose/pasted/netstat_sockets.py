"""`netstat -tan` with any of -p, -e, -o, -W (net-tools, netstat.c). It prints what /proc/net/tcp has."""

import re

from harness.diagnose.pasted import endpoints
from harness.diagnose.pasted.proc_net_tcp import BACKLOG_AND_OWNERS
from harness.diagnose.pasted.programs import owner
from harness.diagnose.pasted.reading import UNKNOWN_BACKLOG, Inodes, Reading, Table, number
from harness.diagnose.pasted.text import MOST_ROWS
from harness.evidence.sockets import Endpoint, Socket, State, Timer

_STATES = {each.value: each for each in State} | {"CLOSE": State.CLOSED}
"""tcp_state; its CLOSED is "CLOSE"."""
_TIMERS = {
    "off": "none", "on": "retransmit", "keepalive": "keepalive", "timewait": "time_wait", "probe": "zero_window_probe",
}  # fmt: skip
_OTHERS = frozenset((
    "udp", "udp6", "udplit", "udpli6", "udplite", "raw", "raw6", "sctp", "unix", "l2cap", "rfcom", "rfcomm", "ax25",
    "x25", "Proto", "Active", "igmp", "bluetooth",
))  # fmt: skip
_ROW = re.compile(
    r"tcp6?\s+(\d{1,20})\s+(\d{1,20})\s+(\S+)\s+(\S+)\s+([A-Z_0-9]+)"
    r"(?:\s+([^\s/]{1,64})\s+(\d{1,20}))?"
    r"(?:\s+(?:-|(\d{1,10})/(.{0,64}?)))?"
    r"(?:\s+(off|on|keepalive|timewait|probe|unkn-\d+) \((\d{1,12}[.,]\d\d)/(\d{1,10})/(\d{1,10})\))?\s*"
)
_BEGINNING_OF_ROW = re.compile(r"tcp6?\s+\d+\s+\d+\s+\S+\s+\S+\s+[A-Z]")
_NOT_ROOT = ("(Not all processes could be identified", " will not be shown, you would have to be root")
"""prg_cache_load(): what an ordinary user is told on the standard error, before the table."""
_CUT_OFF = 23
"""addr_do_one(): without -W, a longer address and port are shortened to this many characters."""


class NetstatSockets:
    """See the module."""

    name = "netstat"

    def __init__(self, reading: Reading, source: str, command: str) -> None:
        del command
        self._reading = reading
        self._inodes = Inodes()
        self._table = Table(self.name, source)
        self._is_wide = self._shows_inode = self._shows_timer = False

    @staticmethod
    def begins(line: str) -> bool:
        """The title, the header, or a row of TCP."""
        is_title = line.startswith(("Active Internet", "Proto Recv-Q", *_NOT_ROOT))
        return is_title or _BEGINNING_OF_ROW.match(line) is not None

    @staticmethod
    def is_header(line: str) -> bool:
        """Whether another output of this format begins here."""
        return line.startswith(("Active Internet", "Proto Recv-Q"))

    def read(self, line: str) -> str:
        """A header, or a row; those of other protocols are not needed."""
        if line.partition(" ")[0] in _OTHERS or line.startswith(_NOT_ROOT):
            return ""
        found = _ROW.fullmatch(line)
        if found is None or found[5] not in _STATES:
            return "not a row of netstat, or one that is cut off"
        if len(self._table.rows) >= MOST_ROWS:
            return f"only {MOST_ROWS} rows are read"
        return self._add(found)

    def _add(self, found: re.Match[str]) -> str:
        self._is_wide |= max(len(found[3]), len(found[4])) > _CUT_OFF
        if not self._is_wide and any(len(text) == _CUT_OFF and text.count(":") > 1 for text in (found[3], found[4])):
            return "an address that may be cut off. Hint: use netstat -W"
        local, remote = endpoints.parse(found[3]), endpoints.parse(found[4])
        if isinstance(local, str) or isinstance(remote, str):
            return str(local if isinstance(local, str) else remote)
        if found[0].startswith("tcp6"):
            local, remote = _mapped(local), _mapped(remote)
        state = _STATES[found[5]]
        inode = int(found[7]) if found[7] else self._inodes.make_up(state, local, remote)
        user = found[6] if found[6] and found[6].isdecimal() else "0"
        self._table.rows.append(
            Socket(
                state, local, remote, number(found[1]),
                UNKNOWN_BACKLOG if state == State.LISTEN else number(found[2]), _timer(found), inode, number(user),
            )
        )  # fmt: skip
        if found[8]:
            self._table.owners[inode] = (owner(found[8], found[9].strip()),)
        self._shows_inode |= bool(found[7])
        self._shows_timer |= bool(found[10])
        return ""

    def end(self) -> None:
        """The text is at its end."""
        if not self._table.rows:
            return
        backlogs, programs, details = BACKLOG_AND_OWNERS
        self._table.lacks = [backlogs, details, *([] if self._table.owners else [programs])]
        if not self._shows_inode:
            self._table.lacks.append("which sockets no process has open. Hint: use netstat -e, or ss -e")
        if not self._shows_timer:
            self._table.lacks.append("timers. Hint: use netstat -o, or ss -o")
        self._reading.tables.append(self._table)


def _mapped(endpoint: Endpoint) -> Endpoint:
    """An IPv4-mapped address (RFC 4291, 2.5.5.2) is printed without its prefix in a row of tcp6."""
    host, port = endpoint
    return (host if ":" in host else f"::ffff:{host}"), port


def _timer(found: re.Match[str]) -> Timer:
    """NAME (seconds/retransmissions/probes)."""
    if not found[10] or found[10] == "off":
        return Timer("none", 0.0, 0)
    name = _TIMERS.get(found[10], found[10])
    tries = found[13] if name in ("keepalive", "zero_window_probe") else found[12]
    return Timer(name, float(found[11].replace(",", ".")), int(tries))
