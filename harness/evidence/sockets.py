"""The TCP socket table of a network namespace, read from sock_diag (the same source as `ss`).

Structures: include/uapi/linux/inet_diag.h. This room's tests compare it with `ss`.
"""

import re
import socket
import struct
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from harness.evidence import tcp_info
from harness.kernel import netlink


class State(StrEnum):
    """RFC 9293 names in Linux spelling. CLOSED: no row in the table.

    A number that this program does not know is a State, too: "state 14". It equals another State of the same number,
    and iterating over State does not yield it.
    """

    ESTABLISHED = "ESTABLISHED"
    SYN_SENT = "SYN_SENT"
    SYN_RECV = "SYN_RECV"
    FIN_WAIT1 = "FIN_WAIT1"
    FIN_WAIT2 = "FIN_WAIT2"
    TIME_WAIT = "TIME_WAIT"
    CLOSED = "CLOSED"
    CLOSE_WAIT = "CLOSE_WAIT"
    LAST_ACK = "LAST_ACK"
    LISTEN = "LISTEN"
    CLOSING = "CLOSING"

    @classmethod
    def _missing_(cls, value: object) -> "State | None":
        number = _UNKNOWN.fullmatch(value) if isinstance(value, str) else None
        if number is None or int(number[1]) in _STATES:
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = str(value)
        return unknown

    def __reduce_ex__(self, protocol: object) -> tuple[type["State"], tuple[str]]:
        return State, (str(self),)  # by value: some releases of Python 3.11 pickle by name, which unknown states lack


_STATES = dict(enumerate(State, 1)) | {12: State.SYN_RECV}
"""By the kernel's number (include/net/tcp_states.h); 12, TCP_NEW_SYN_RECV, is usually called SYN_RECV."""
_UNKNOWN = re.compile(r"state (0|-?[1-9][0-9]*)")

TIMERS = ("none", "retransmit", "keepalive", "time_wait", "zero_window_probe", "delayed_ack")
"""By idiag_timer's number (net/ipv4/inet_diag.c, inet_sk_diag_fill). The last one is reported since Linux 7.3 (commit
c698f5cc940d)."""

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Timer:
    """A socket's pending timer: its name, seconds until it expires, retransmissions (or probes) so far.

    The name is one of TIMERS, or "timer 6" if this program does not know the number.
    """

    name: str
    expires_s: float
    retransmits: int


@dataclass(frozen=True, slots=True)
class Socket:
    """One row, with the field names of `ss`. Queues are in bytes; for LISTEN: connections not yet accepted, backlog.

    inode 0: no process has the socket open (orphan, minisock, or not yet accepted). details: only if asked for.
    """

    state: State
    local: Endpoint
    remote: Endpoint
    recv_q: int
    send_q: int
    timer: Timer
    inode: int
    uid: int
    details: tcp_info.Details | None = None


_SOCK_DIAG_BY_FAMILY = 20
_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2: family, protocol, extensions, states, any socket id
_ROW = struct.Struct("=4BHH16s16sI8xIIIII")  # struct inet_diag_msg
_EVERY_STATE = (1 << 13) - 1
"""Without bit 13, TCP_BOUND_INACTIVE: Linux 6.8 and later would add each socket that is only bound, as CLOSED."""

_MAPPED = "::ffff:"

_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def open_table() -> socket.socket:
    """Open, inside the namespace, a socket through which any process can read the namespace's socket table."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, getattr(socket, "NETLINK_SOCK_DIAG", 4))


def read(table: socket.socket, *, detailed: bool = False) -> list[Socket]:
    """Every TCP socket of the namespace, of both address families, including minisocks (TIME_WAIT, SYN_RECV).

    Inconclusive if the table changes during every read.
    """
    extensions = tcp_info.EXTENSIONS if detailed else 0

    def rows() -> list[Socket]:
        return [decode(each, detailed) for family in _FAMILIES for each in _dump(table, family, extensions)]

    return netlink.undisturbed(rows, "the socket table", "fewer connections")


def _dump(table: socket.socket, family: int, extensions: int) -> list[bytes]:
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, extensions, _EVERY_STATE)
    return netlink.ask(table, _SOCK_DIAG_BY_FAMILY, netlink.NLM_F_DUMP, request)


def decode(answer: bytes, detailed: bool = False) -> Socket:
    """Decode one `struct inet_diag_msg`. ValueError if it is too short, or has an unknown address family.

    States and timers that this program does not know are given by their numbers.
    """
    if len(answer) < _ROW.size:
        raise ValueError(f"an inet_diag_msg has {_ROW.size} bytes, not {len(answer)}")
    (family, state, timer, retransmits, local_port, remote_port, local, remote, _,
     expires_ms, recv_q, send_q, uid, inode) = _ROW.unpack_from(answer)  # fmt: skip
    if family not in _FAMILIES:
        raise ValueError(f"inet_diag_msg of family {family}")
    return Socket(
        state_of(state),
        _endpoint(family, local, local_port),
        _endpoint(family, remote, remote_port),
        recv_q,
        send_q,
        Timer(TIMERS[timer] if timer < len(TIMERS) else f"timer {timer}", expires_ms / 1000, retransmits),
        inode,
        uid,
        tcp_info.decode(answer[_ROW.size :]) if detailed else None,
    )


def state_of(number: int) -> State:
    """The state with this number in the kernel; State("state 14") if this program does not know it."""
    return _STATES.get(number) or State(f"state {number}")


def _endpoint(family: int, address: bytes, port: int) -> Endpoint:
    return _host(family, address), socket.ntohs(port)


@lru_cache(maxsize=1024)
def _host(family: int, address: bytes) -> str:
    """An address as text: the rows of a table mostly have the same few."""
    size = 4 if family == socket.AF_INET else 16
    return socket.inet_ntop(family, address[:size])


def unmapped(host: str) -> str:
    """The IPv4 address of an IPv4-mapped one (RFC 4291, 2.5.5.2), which a listener on [::] has for its IPv4 peers."""
    return host[len(_MAPPED) :] if host.startswith(_MAPPED) and "." in host else host


@lru_cache(maxsize=1 << 14)
def host_of_text(text: str) -> str:
    """An address as the kernel's rows have it here; empty if the text is not an address."""
    try:
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):
        return ""


@lru_cache(maxsize=1 << 14)
def host_of_words(digits: str) -> str:
    """An address of /proc/net/tcp: 32-bit words in hexadecimal, in the byte order of a little-endian machine."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    return socket.inet_ntop(
        socket.AF_INET if len(words) == 1 else socket.AF_INET6, struct.pack(f"<{len(words)}I", *words)
    )
