"""`ss -tan` with any of -p, -e, -i, -m, -o, -O, -H, -T, -Z, with or without the columns Netid and State.

Source: iproute2, misc/ss.c. With a filter for one state, ss prints no State column; the state is then known only if the
command itself is part of the text (or of the file's name). Details follow their row on lines that begin with white
space, or on the same line (-O).
"""

import re
from dataclasses import replace

from harness.diagnose.pasted import endpoints
from harness.diagnose.pasted.programs import owner
from harness.diagnose.pasted.reading import Inodes, Reading, Table, number
from harness.diagnose.pasted.text import MOST_ROWS
from harness.evidence.sockets import Socket, State, Timer
from harness.evidence.tcp_info import Details

_STATES = {
    "ESTAB": State.ESTABLISHED, "SYN-SENT": State.SYN_SENT, "SYN-RECV": State.SYN_RECV,
    "FIN-WAIT-1": State.FIN_WAIT1, "FIN-WAIT-2": State.FIN_WAIT2, "TIME-WAIT": State.TIME_WAIT,
    "CLOSE-WAIT": State.CLOSE_WAIT, "LAST-ACK": State.LAST_ACK, "LISTEN": State.LISTEN, "CLOSING": State.CLOSING,
    "UNCONN": State.CLOSED,
}  # fmt: skip
"""sock_state_print(), sstate_name."""

_FILTERS = {name.lower(): state for name, state in _STATES.items()} | {
    "established": State.ESTABLISHED, "syn-rcv": State.SYN_RECV, "listening": State.LISTEN,
}  # fmt: skip
"""scan_state(): the names after `state`."""

_TIMERS = {
    "on": "retransmit", "keepalive": "keepalive", "timewait": "time_wait", "persist": "zero_window_probe",
    "delack": "delayed_ack",
}  # fmt: skip
"""tcp_timer_print(), tmr_name."""

_NETIDS = frozenset((
    "tcp", "udp", "icmp6", "u_str", "u_dgr", "u_seq", "p_raw", "p_dgr", "nl", "sctp", "dccp", "ti_st", "ti_sq", "ti_rd",
    "ti_dg", "v_str", "v_dgr", "v_???", "xdp", "mptcp", "raw", "???", "unknown",
))  # fmt: skip
_COMMAND = re.compile(r"\bss[\s_].*?\bstate[\s_]+([a-z][a-z0-9-]+)\b(?!.*\bstate[\s_])")
_USERS = re.compile(r"users:\((?:\([^()]{0,200}\),?)*\)?")
_USER = re.compile(r'\("([^"]{0,64})",(?:pid=)?(\d{1,10})\b')
_TIMER = re.compile(r"\btimer:\((\w{1,16}),([\w.]{0,16}),(\d{1,10})\)")
_DURATION = re.compile(r"(?:(\d{1,6})min)?(?:(\d{1,2})(?:\.(\d{3})(?:sec|ms)|sec)|(\d{1,3})ms)?")
_INODE, _UID = re.compile(r"\bino:(\d{1,20})\b"), re.compile(r"\buid:(\d{1,10})\b")
_NUMBER = re.compile(
    r"\b(rto|rtt|mss|unacked|cwnd|lastsnd|lastrcv|bytes_acked|bytes_received|notsent|busy|rwnd_limited|retrans|backoff|snd_wnd):"
    r"(\d{1,20}(?:\.\d{1,20})?(?:e[+-]\d\d)?)(?:/(\d{1,20}))?"
)
_MEMORY = re.compile(
    r"\bskmem:\(r\d{1,10},rb(\d{1,10}),t\d{1,10},tb(\d{1,10}),f\d{1,10},w\d{1,10},o\d{1,10}(?:,bl\d{1,10})?"
    r"(?:,d(\d{1,10}))?\)"
)
_ROW = re.compile(r"(?:(?:tcp|udp|nl|u_\w+)\s+)?([A-Z][A-Z0-9-]+)\s+\d+\s+\d+\s+\S+:\S+\s+\S+")
_ROW_WITHOUT_STATE = re.compile(r"(?:tcp\s+)?\d+\s+\d+\s+\S+:\S+\s+\S+:\S+(?:\s|$)")
_ANY_IPV4 = "0.0.0.0"  # noqa: S104 (nothing is bound to it)
"""What * means in old versions of ss, which are known by IPv6 addresses without brackets: ":::80" and "*:80"."""
_MOST_DETAILS = 1 << 16
_NO_STATE = "no State column. Hint: run ss without a filter for one state"


class Ss:
    """See the module."""

    name = "ss"

    def __init__(self, reading: Reading, source: str, command: str) -> None:
        self._table = Table(self.name, source)
        self._inodes = Inodes()
        self._reading = reading
        self._row: Socket | None = None
        self._rest: list[str] = []
        self._state = _filter(command)
        self._shows = dict.fromkeys(("inode", "timer", "user", "details"), False)
        self._is_old = self._is_empty = False
        self._asterisks: list[int] = []

    @staticmethod
    def begins(line: str) -> bool:
        """A header, or a row."""
        if Ss.is_header(line):
            return True
        row = _ROW.match(line)
        return (row is not None and row[1] in _STATES) or _ROW_WITHOUT_STATE.match(line) is not None

    @staticmethod
    def is_header(line: str) -> bool:
        """Whether another output of this format begins here."""
        return "Recv-Q" in line and "Address:Port" in line

    def read(self, line: str) -> str:
        """Details of the row above, a header, or a row."""
        if line[0].isspace():
            return self._detail(line)
        self._finish_row()
        if self.is_header(line):
            self._is_empty = True
            return ""
        words = line.split(None, 6)
        if words[0] in _NETIDS and words.pop(0) != "tcp":
            return ""
        self._is_empty = False
        return self._start_row(words)

    def end(self) -> None:
        """The text is at its end."""
        self._finish_row()
        for at in self._asterisks if self._is_old else ():
            row = self._table.rows[at]
            self._table.rows[at] = replace(row, local=(_ANY_IPV4, row.local[1]), remote=(_ANY_IPV4, 0))
        if self._table.rows:
            self._note_what_is_lacking()
        if self._table.rows or self._is_empty:
            self._reading.tables.append(self._table)

    def _detail(self, line: str) -> str:
        text = line.strip()
        if text[0].isdecimal() or text.startswith("sl "):
            return "not details of a socket"
        if self._row and sum(map(len, self._rest)) < _MOST_DETAILS:
            self._rest.append(text)
        return ""

    def _start_row(self, words: list[str]) -> str:
        """The columns from State on; the state is empty if only the command line names it."""
        if words and words[0].isdecimal():
            if not self._state:
                return _NO_STATE
            words.insert(0, "")
        if len(words) < 5:
            return "a row of ss that is cut off"
        state = _STATES.get(words[0]) if words[0] else self._state
        if not state or not (words[1].isdecimal() and words[2].isdecimal()):
            return "not a row of ss"
        return self._start_row_of(state, words)

    def _start_row_of(self, state: State, words: list[str]) -> str:
        if len(self._table.rows) >= MOST_ROWS:
            return f"only {MOST_ROWS} rows are read"
        local, remote = endpoints.parse(words[3]), endpoints.parse(words[4])
        if isinstance(local, str) or isinstance(remote, str):
            return str(local if isinstance(local, str) else remote)
        if words[3].startswith("*:"):
            self._asterisks.append(len(self._table.rows))
        self._is_old |= words[3].count(":") > 1 and not words[3].startswith("[")
        self._row = Socket(state, local, remote, number(words[1]), number(words[2]), Timer("none", 0.0, 0), 0, 0)
        self._rest = [part for part in words[5:] if part]
        return ""

    def _finish_row(self) -> None:
        if not self._row:
            return
        text = " ".join(self._rest)
        row, self._row, self._rest = self._row, None, []
        users = _USERS.search(text) if "users:(" in text else None
        names = _USER.findall(users[0]) if users else []
        text = _USERS.sub("", text) if users else text
        inode, uid, timer = _INODE.search(text), _UID.search(text), _timer(text)
        details = _details(text)
        row = Socket(
            row.state, row.local, row.remote, row.recv_q, row.send_q, timer or row.timer,
            number(inode[1]) if inode else self._inodes.make_up(row.state, row.local, row.remote),
            int(uid[1]) if uid else 0, details,
        )  # fmt: skip
        self._table.rows.append(row)
        if names:
            self._table.owners[row.inode] = tuple({pid: owner(pid, name) for name, pid in names}.values())
        for what, shown in (("inode", inode), ("timer", timer), ("user", names), ("details", details)):
            self._shows[what] |= bool(shown)

    def _note_what_is_lacking(self) -> None:
        lacks, shows = self._table.lacks, self._shows
        if not shows["inode"]:
            lacks.append("which sockets no process has open. Hint: use ss -e")
        if not shows["timer"]:
            lacks.append("timers, unless none was running. Hint: use ss -o")
        if not shows["user"]:
            lacks.append("the sockets' programs. Hint: use ss -p, as root")
        if not shows["details"]:
            lacks.append("tcp_info and memory. Hint: use ss -i -m")
        if not any(row.state == State.LISTEN for row in self._table.rows):
            lacks.append("listeners, unless there are none. Hint: use ss -a, without a filter")


def _filter(command: str) -> State | None:
    """The one state for which a command line filters."""
    found = _COMMAND.search(command.replace("_", " "))
    return _FILTERS.get(found[1]) if found else None


def _timer(text: str) -> Timer | None:
    found = _TIMER.search(text)
    if not found:
        return None
    name, when, retransmits = found.groups()
    return Timer(_TIMERS.get(name, name), _seconds(when), int(retransmits))


def _seconds(text: str) -> float:
    """print_ms_timer(): "1min59sec", "12sec", "200ms", "1.200sec".

    Before iproute2 6.11 (commit 3e807112), the last one is "1.200ms", and means the same.
    """
    found = _DURATION.fullmatch(text)
    minutes, seconds, thousandths, milliseconds = (int(part or 0) for part in found.groups()) if found else (0,) * 4
    return minutes * 60 + seconds + (thousandths + milliseconds) / 1000


def _details(text: str) -> Details | None:
    """tcp_stats_print() and print_skmeminfo(). What is 0 is not printed; neither is an RTO of 3 s. None without -i.

    Every socket that has tcp_info has a congestion window. Without "snd_wnd:", the peer's window is 0, or this version
    of ss does not print it, so it is not known.
    """
    if "cwnd:" not in text:
        return None
    read = {name: (value, second) for name, value, second in _NUMBER.findall(text)}

    def real(name: str) -> float:
        return float(read[name][0]) if name in read else 0.0

    def whole(name: str) -> int:
        return number(read[name][0].partition(".")[0].partition("e")[0]) if name in read else 0

    memory = _MEMORY.search(text)
    rcvbuf, sndbuf, drops = (int(part) if part else None for part in memory.groups()) if memory else (None,) * 3
    return Details(
        rto_ms=real("rto"), mss=whole("mss"), unacked=whole("unacked"), retrans=whole("retrans"),
        total_retrans=number(read.get("retrans", ("", "0"))[1] or "0"), cwnd=whole("cwnd"), rtt_ms=real("rtt"),
        last_sent_ms=whole("lastsnd"), last_received_ms=whole("lastrcv"), bytes_acked=whole("bytes_acked"),
        bytes_received=whole("bytes_received"), notsent=whole("notsent"), busy_ms=real("busy"),
        rwnd_limited_ms=real("rwnd_limited"), backoff=whole("backoff"),
        snd_wnd=whole("snd_wnd") if "snd_wnd" in read else None, rcvbuf=rcvbuf, sndbuf=sndbuf, drops=drops,
    )  # fmt: skip
