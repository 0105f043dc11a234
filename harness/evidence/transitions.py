"""State changes as the kernel reports them: the tracepoint sock:inet_sock_set_state, through perf_event_open(2).

A perf event belongs to its file descriptor, so it ends with this process, however that ends; a folder under tracefs
`instances/` would outlive a SIGKILL. It needs root and tracefs; without them, inferred.py infers the states from the
segments.

Limits: a minisock (TIME_WAIT, an orphan's FIN_WAIT2) is not a full socket, so the change to it is reported as CLOSED,
and its end is not reported at all. The tracepoint sees every namespace; a lab recognises its own events by its server
port. On one machine it missed changes in the softirq of an idle CPU (tests/test_transitions.py). So these changes are
only displayed, and what a test asserts (`lab.path`) comes from the segments.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import re
import resource
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.evidence.sockets import Endpoint, State, state_of, unmapped
from harness.kernel import namespace

_TRACEFS = Path("/sys/kernel/tracing")
_EVENT = "events/sock/inet_sock_set_state"
_SYS_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_ATTR_BYTES = 112
_PERF_TYPE_TRACEPOINT = 2
_SAMPLE_TIME, _SAMPLE_RAW = 1 << 2, 1 << 10
_DISABLED, _USE_CLOCKID = 1 << 0, 1 << 25
_CLOCKID_AT = 92
_RECORD_LOST, _RECORD_SAMPLE = 2, 9
_MOST_PAGES, _LEAST_PAGES, _PAGES_IN_ALL = 64, 4, 512
"""The most and the least pages of a processor's buffer, and the most of all together: 2 MiB, up to 128 processors."""

_HEADER = struct.Struct("=IHH")
_DATA_HEAD_AT, _DATA_TAIL_AT = 1024, 1032
_PERF_EVENT_IOC_ENABLE, _PERF_EVENT_IOC_SET_FILTER = 0x2400, 0x40082406


@dataclass(frozen=True, slots=True)
class Transition:
    """One state change at the end whose address is `local`. `inferred`: from the segments, not reported."""

    time_ns: int
    local: Endpoint
    remote: Endpoint
    old: State
    new: State
    inferred: bool


_SHARE_OF_FDS = 4
"""At most a quarter of the fds that a process may open may be perf events; if more are needed, states are inferred."""


def open_events(processors: Sequence[int]) -> list[int]:
    """Open one perf fd for each processor, as root. OSError without permission, tracepoint or known architecture."""
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if len(processors) > soft_limit // _SHARE_OF_FDS:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    number = _SYS_PERF_EVENT_OPEN.get(os.uname().machine)
    if number is None:
        raise OSError(f"perf_event_open has no known number on {os.uname().machine}")
    if not (_TRACEFS / _EVENT).exists():
        namespace.mount_privately("tracefs", str(_TRACEFS))
    fields = _fields((_TRACEFS / _EVENT / "format").read_text())
    if fields != _LAYOUT:
        raise OSError("the tracepoint's fields have an unknown layout")
    attr = bytearray(_ATTR_BYTES)
    struct.pack_into(
        "=IIQQQQQII", attr, 0, _PERF_TYPE_TRACEPOINT, _ATTR_BYTES, int((_TRACEFS / _EVENT / "id").read_text()),
        1, _SAMPLE_TIME | _SAMPLE_RAW, 0, _DISABLED | _USE_CLOCKID, 1, 0,
    )  # fmt: skip
    struct.pack_into("=i", attr, _CLOCKID_AT, 1)  # CLOCK_MONOTONIC
    libc = ctypes.CDLL(None, use_errno=True)
    fds: list[int] = []
    for cpu in processors:
        fd = libc.syscall(number, ctypes.c_char_p(bytes(attr)), -1, cpu, -1, 8)  # PERF_FLAG_FD_CLOEXEC
        if fd < 0:
            reason = ctypes.get_errno()
            for each in fds:
                os.close(each)
            raise OSError(reason, os.strerror(reason))
        fds.append(fd)
    return fds


def pages(processors: int) -> int:
    """The pages of each processor's buffer, a power of two (perf_event_open(2)): fewer if there are many processors."""
    share = max(_LEAST_PAGES, min(_MOST_PAGES, _PAGES_IN_ALL // processors))
    return 1 << share.bit_length() - 1


_LAYOUT = {"skaddr": 8, "oldstate": 16, "newstate": 20, "sport": 24, "dport": 26, "family": 28, "protocol": 30,
           "saddr": 32, "daddr": 36, "saddr_v6": 40, "daddr_v6": 56}  # fmt: skip
_RAW = struct.Struct("=8xQiiHHHH4s4s16s16s")
_BEGINNINGS = (State.CLOSED, State.LISTEN)
"""The states before a socket's first change: that of a passive open is reported as LISTEN → SYN_RECV."""


def _fields(text: str) -> dict[str, int]:
    found = re.findall(r"field:[^;]*?(\w+)(?:\[\d+\])?;\s*offset:(\d+)", text)
    return {name: int(offset) for name, offset in found if not name.startswith("common_")}


def events_from(fds: list[int]) -> "Events | None":
    """The reading end of what open_events() opened; None if there are no fds, or no memory for their buffers.

    kernel.perf_event_mlock_kb limits that memory. Without it, states are inferred, as for an ordinary user.
    """
    try:
        return Events(fds) if fds else None
    except BaseException as error:
        for fd in fds:
            os.close(fd)
        if not isinstance(error, OSError):
            raise
        return None


class Events:
    """The reading end of all processors' buffers, in any process that has the fds. OSError without memory for them."""

    def __init__(self, fds: list[int]) -> None:
        self._fds = fds
        self._size = pages(len(fds)) * mmap.PAGESIZE
        self._buffers = [mmap.mmap(fd, mmap.PAGESIZE + self._size) for fd in fds]
        self._port: int | None = None
        self._born: set[int] = set()
        self.lost = 0

    def follow(self, port: int) -> None:
        """From now on, report sockets that have `port` at one end, and discard earlier events.

        The kernel filters out the others: otherwise every connection on this machine would help to fill the buffers. A
        filter can be set only once (kernel/trace/trace_events_filter.c, ftrace_profile_set_filter), and events are
        enabled only after it: a loss in a full buffer is reported with the next event that has room, which would be one
        of this story (kernel/events/ring_buffer.c, __perf_output_begin).
        """
        if self._port is None:
            self._port = port
            for fd in self._fds:
                fcntl.ioctl(fd, _PERF_EVENT_IOC_SET_FILTER, f"sport == {port} || dport == {port}\0".encode())
                fcntl.ioctl(fd, _PERF_EVENT_IOC_ENABLE, 0)
        self.read(port)
        self._born.clear()

    def read(self, port: int) -> list[Transition]:
        """All changes since the last read, for sockets that have `port` at one end, in order of time.

        Only sockets whose beginning was reported are included: orphans of an earlier lab (LAST_ACK) may end late.
        """
        found = [change for buffer in self._buffers for change in self._drain(buffer)]
        mine = []
        for address, change in sorted(found, key=lambda each: each[1].time_ns):
            if change.old in _BEGINNINGS:
                self._born.add(address)
            if address in self._born and port in (change.local[1], change.remote[1]):
                mine.append(change)
        return mine

    def _drain(self, buffer: mmap.mmap) -> Iterator[tuple[int, Transition]]:
        (head,) = struct.unpack_from("=Q", buffer, _DATA_HEAD_AT)
        (tail,) = struct.unpack_from("=Q", buffer, _DATA_TAIL_AT)
        data = memoryview(buffer)[mmap.PAGESIZE :]
        while tail < head:
            at = tail % self._size
            kind, _, length = _HEADER.unpack_from(data, at)  # records are 8-byte aligned: a header never wraps
            record = bytes(data[at : at + length])
            record += bytes(data[: length - len(record)])
            tail += length
            if kind == _RECORD_LOST:
                self.lost += struct.unpack_from("=Q", record, _HEADER.size + 8)[0]
            elif kind == _RECORD_SAMPLE and (change := decode(record[_HEADER.size :])):
                yield change
        data.release()
        struct.pack_into("=Q", buffer, _DATA_TAIL_AT, tail)

    def close(self) -> None:
        for buffer in self._buffers:
            with contextlib.suppress(
                BufferError
            ):  # a traceback (an interrupt's, a time limit's) still holds _drain's view
                buffer.close()
        for fd in self._fds:
            os.close(fd)


def decode(sample: bytes) -> tuple[int, Transition] | None:
    """Decode a PERF_RECORD_SAMPLE's body (time, raw size, raw record) into the socket's kernel address and its change.

    Returns None if it is not a TCP socket.
    """
    time_ns, _ = struct.unpack_from("=QI", sample)
    address, old, new, sport, dport, family, protocol, *addresses = _RAW.unpack_from(sample, 12)
    if protocol != socket.IPPROTO_TCP or family not in (socket.AF_INET, socket.AF_INET6):
        return None
    source, destination = addresses[:2] if family == socket.AF_INET else addresses[2:]
    return address, Transition(
        time_ns,
        (unmapped(socket.inet_ntop(family, source)), sport),
        (unmapped(socket.inet_ntop(family, destination)), dport),
        state_of(old),
        state_of(new),
        inferred=False,
    )
