"""Decodes frames into ICMP errors: what a host or a router says about a segment that it does not deliver."""

import socket
import struct
from dataclasses import dataclass

from harness.evidence import ip
from harness.evidence.ring import Frame
from harness.evidence.sockets import Endpoint

_ICMP = struct.Struct("!BB2xI")  # type, code, and what depends on them: the MTU, if there is one
_PORTS = struct.Struct("!HH")
_ICMPV6 = 58

_UNREACHABLE = "Destination unreachable"
_KINDS: dict[int, dict[int, dict[int | None, str]]] = {
    socket.IPPROTO_ICMP: {
        3: {
            0: f"{_UNREACHABLE} (Network unreachable)",
            1: f"{_UNREACHABLE} (Host unreachable)",
            2: f"{_UNREACHABLE} (Protocol unreachable)",
            3: f"{_UNREACHABLE} (Port unreachable)",
            4: f"{_UNREACHABLE} (Fragmentation needed)",
            9: f"{_UNREACHABLE} (Network administratively prohibited)",
            10: f"{_UNREACHABLE} (Host administratively prohibited)",
            13: f"{_UNREACHABLE} (Communication administratively filtered)",
            None: _UNREACHABLE,
        },
        11: {None: "Time-to-live exceeded"},
    },
    _ICMPV6: {
        1: {
            0: f"{_UNREACHABLE} (No route to destination)",
            1: f"{_UNREACHABLE} (Administratively prohibited)",
            3: f"{_UNREACHABLE} (Address unreachable)",
            4: f"{_UNREACHABLE} (Port unreachable)",
            5: f"{_UNREACHABLE} (Source address failed ingress/egress policy)",
            6: f"{_UNREACHABLE} (Reject route to destination)",
            None: _UNREACHABLE,
        },
        2: {None: "Packet Too Big"},
        3: {None: "Time Exceeded"},
    },
}
"""By protocol, type and code, in Wireshark's words; None: any other code (RFC 792; RFC 1812, 5.2.7; RFC 4443)."""

_WITH_MTU = {(socket.IPPROTO_ICMP, 3, 4), (_ICMPV6, 2, 0)}


@dataclass(frozen=True, slots=True)
class IcmpError:
    """One ICMP error about a TCP segment."""

    time_ns: int
    source: str
    """The host or router that has sent it."""
    destination: str
    kind: str
    """The type and the code, in Wireshark's words."""
    sender: Endpoint
    """The source of the segment that it is about, as that host or router had it."""
    receiver: Endpoint
    mtu: int = 0
    """The MTU of the link that the segment was too big for, in bytes; 0 if the error has none."""
    arrives: bool = False
    """As in Segment (evidence/wire.py)."""


def decode(frame: Frame) -> IcmpError | None:
    """The ICMP error in a frame; None if it carries something else, or an error about something else than TCP."""
    try:
        outer = ip.in_frame(frame.data)
        if outer is None or outer.protocol not in _KINDS:
            return None
        kind, code, rest = _ICMP.unpack_from(frame.data, outer.payload_at)
        codes = _KINDS[outer.protocol].get(kind)
        about = ip.header(frame.data, outer.payload_at + _ICMP.size, outer.version) if codes else None
        if codes is None or about is None or about.protocol != socket.IPPROTO_TCP:
            return None
        source_port, destination_port = _PORTS.unpack_from(frame.data, about.payload_at)
    except struct.error:
        return None
    return IcmpError(
        frame.time_ns,
        outer.source,
        outer.destination,
        codes.get(code) or codes[None],
        (about.source, source_port),
        (about.destination, destination_port),
        rest & 0xFFFF if (outer.protocol, kind, code) in _WITH_MTU else 0,
        frame.link < 0,
    )
