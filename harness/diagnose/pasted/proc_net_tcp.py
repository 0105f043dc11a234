"""/proc/net/tcp and /proc/net/tcp6 (Documentation/networking/proc_net_tcp.rst), of a little-endian machine.

A listener's queue is in rx_queue (get_tcp4_sock), but its backlog is not shown. Neither are owners.
"""

import re

from harness.diagnose.pasted.reading import UNKNOWN_BACKLOG, Reading, Table
from harness.diagnose.pasted.text import MOST_ROWS
from harness.evidence.sockets import TIMERS, Socket, State, Timer, host_of_words, state_of

USER_HZ = 100
"""The unit of times in /proc/net/tcp, whatever HZ is: jiffies_delta_to_clock_t() (include/linux/jiffies.h)."""

_ROW = re.compile(
    r"\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) ([0-9A-F]{2}) "
    r"([0-9A-F]{8,16}):([0-9A-F]{8,16}) ([0-9A-F]{2}):([0-9A-F]{8,16}) ([0-9A-F]{8,16})\s+(\d{1,10})\s+(\d{1,10})\s+"
    r"(\d{1,20})\b"
)
_BEGINNING_OF_ROW = re.compile(r"\s*\d+: [0-9A-F]{8,32}:[0-9A-F]{4} ")
BACKLOG_AND_OWNERS = (
    "the backlogs of listeners. Hint: use ss -tln",
    "the sockets' programs. Hint: use ss -tanp, as root",
    "tcp_info and memory. Hint: use ss -tanim",
)


class ProcNetTcp:
    """See the module."""

    name = "/proc/net/tcp"

    def __init__(self, reading: Reading, source: str, command: str) -> None:
        del command
        self._reading = reading
        self._table = Table(self.name, source, lacks=list(BACKLOG_AND_OWNERS))

    @staticmethod
    def begins(line: str) -> bool:
        """The header, or a row."""
        return line.lstrip().startswith("sl  local_address") or _BEGINNING_OF_ROW.match(line) is not None

    @staticmethod
    def is_header(line: str) -> bool:
        """Whether another output of this format begins here."""
        return line.lstrip().startswith("sl  local_address")

    def read(self, line: str) -> str:
        """The header, or a row."""
        found = _ROW.match(line)
        if found is None:
            return "" if line.lstrip().startswith("sl  local_address") else "a row of /proc/net/tcp that is cut off"
        if len(self._table.rows) >= MOST_ROWS:
            return f"only {MOST_ROWS} rows are read"
        local, local_port, remote, remote_port, number, send_q, recv_q, timer, when, tries, uid, probes, inode = (
            found.groups()
        )
        state = state_of(int(number, 16))
        self._table.rows.append(
            Socket(
                state,
                (host_of_words(local), int(local_port, 16)),
                (host_of_words(remote), int(remote_port, 16)),
                int(recv_q, 16),
                UNKNOWN_BACKLOG if state == State.LISTEN else int(send_q, 16),
                _timer(int(timer, 16), int(when, 16), int(tries, 16), int(probes)),
                int(inode),
                int(uid),
            )
        )
        return ""

    def end(self) -> None:
        """The text is at its end."""
        if self._table.rows:
            self._reading.tables.append(self._table)


def rows(text: str) -> list[Socket]:
    """The sockets in a text of /proc/net/tcp; lines that are not understood are left out."""
    reading = Reading()
    table = ProcNetTcp(reading, "", "")
    for line in text.splitlines():
        table.read(line)
    table.end()
    return reading.tables[0].rows if reading.tables else []


def _timer(number: int, when: int, retransmits: int, probes: int) -> Timer:
    """Probes, of a zero window or of keep-alive, have a column of their own (icsk_probes_out)."""
    if number == 0:
        return Timer("none", 0.0, 0)
    name = TIMERS[number] if number < len(TIMERS) else f"timer {number}"
    return Timer(name, when / USER_HZ, probes if name in ("keepalive", "zero_window_probe") else retransmits)
