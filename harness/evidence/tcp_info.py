"""What the kernel reports of one connection beyond its row: parts of `struct tcp_info`, and the memory of its socket.

Structures: include/uapi/linux/tcp.h, and include/uapi/linux/sock_diag.h (SK_MEMINFO_*). Names are those of `ss -i` and
`ss -m`, whose output is the independent witness in this room's tests.
"""

import struct
from typing import NamedTuple

from harness.kernel import netlink

INFO, MEMORY = 2, 7
"""INET_DIAG_INFO and INET_DIAG_SKMEMINFO (include/uapi/linux/inet_diag.h)."""

EXTENSIONS = 1 << (INFO - 1) | 1 << (MEMORY - 1)
"""For inet_diag_req_v2.idiag_ext: both."""

_INFO = struct.Struct("=4xBB2xI4xI4xI8xI4xI4xI12xI8xI16xI16xQQ8xI20xQQ")
_BYTES_RETRANS = struct.Struct("=208xQ")
"""Since Linux 4.19 (commit fb31c9b9f6c8, "tcp: add data bytes retransmitted stats")."""
_WINDOW = struct.Struct("=228xI")
"""tcpi_snd_wnd, since Linux 5.4."""

TIMESTAMPS, SACK, WINDOW_SCALE = 1, 2, 4
"""TCPI_OPT_* (include/uapi/linux/tcp.h): options that both ends have agreed on in the handshake."""

_MEMORY = struct.Struct("=IIII16xI")


class Details(NamedTuple):
    """Times are in milliseconds, as in `ss`. unacked: segments in flight; retrans: those of them that were sent again;
    total_retrans: all retransmissions of the connection. mss, bytes_acked, bytes_received and notsent are in bytes,
    cwnd is in segments.

    busy_ms: the time with data in flight or waiting; rwnd_limited_ms: the part of it in which the peer's window was the
    limit. backoff: how often the timeout was doubled; with a window of 0, the probes since it closed (tcp_send_probe0,
    tcp_ack_probe). snd_wnd: the peer's window, in bytes. rcvbuf and sndbuf, in bytes, and drops belong to the socket's
    memory. bytes_retrans: bytes of data, so SYN and FIN do not count. options: TIMESTAMPS, SACK and WINDOW_SCALE. None:
    the source does not show it.
    """

    rto_ms: float = 0.0
    mss: int = 0
    unacked: int = 0
    retrans: int = 0
    total_retrans: int = 0
    cwnd: int = 0
    rtt_ms: float = 0.0
    last_sent_ms: int = 0
    last_received_ms: int = 0
    bytes_acked: int = 0
    bytes_received: int = 0
    notsent: int = 0
    busy_ms: float = 0.0
    rwnd_limited_ms: float = 0.0
    backoff: int = 0
    snd_wnd: int | None = None
    rcvbuf: int | None = None
    sndbuf: int | None = None
    drops: int | None = None
    bytes_retrans: int | None = None
    options: int | None = None


def decode(attributes: bytes) -> Details | None:
    """The attributes after a `struct inet_diag_msg`; None if tcp_info is not among them (TIME_WAIT, SYN_RECV)."""
    found = netlink.attributes(attributes)
    info, memory = found.get(INFO, b""), found.get(MEMORY, b"")
    if len(info) < _INFO.size:  # an older kernel, or none
        return None
    (backoff, options, rto, mss, unacked, retrans, sent, received, rtt, cwnd, total, acked, got, notsent, busy,
     limited) = _INFO.unpack_from(info)  # fmt: skip
    (bytes_retrans,) = _BYTES_RETRANS.unpack_from(info) if len(info) >= _BYTES_RETRANS.size else (None,)
    (snd_wnd,) = _WINDOW.unpack_from(info) if len(info) >= _WINDOW.size else (None,)
    _, rcvbuf, _, sndbuf, drops = _MEMORY.unpack_from(memory) if len(memory) >= _MEMORY.size else (None,) * 5
    return Details(
        rto / 1000, mss, unacked, retrans, total, cwnd, rtt / 1000, sent, received, acked, got, notsent,
        busy / 1000, limited / 1000, backoff, snd_wnd, rcvbuf, sndbuf, drops, bytes_retrans, options,
    )  # fmt: skip
