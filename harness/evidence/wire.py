"""Decodes frames into segments, and builds segments. The only module that imports scapy, and only to build one."""

import socket
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.evidence import ip
from harness.evidence.ring import Frame
from harness.evidence.sockets import Endpoint

_FLAGS = "FSRPAUECN"
"""The bits, from the lowest (RFC 9293, section 3.1). N is bit 8, AE (RFC 9768); scapy and Wireshark call it by its
older use, NS (RFC 3540)."""

_FLAG_ORDER = "SFRPAU"
"""The usual order: SYN, FIN, RST and PSH before ACK, so S SA A PA FA R RA."""

_ECN = "ECN"
_RESERVED_FROM, _FLAG_BITS = 9, 0xFFF

_TCP = struct.Struct("!HHIIHH4x")  # ports, seq, ack, length and flags, window
_TIMESTAMP = struct.Struct("!II")
_END, _NO_OPERATION, _TIMESTAMP_KIND, _TIMESTAMP_BYTES = 0, 1, 8, 10


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment as it was sent, before any firewall's hook. `length` is the payload's, in bytes."""

    time_ns: int
    source: Endpoint
    destination: Endpoint
    flags: str
    seq: int
    ack: int
    length: int
    window: int
    timestamp: tuple[int, int] | None
    """RFC 7323's TSval and TSecr, if the segment has the option."""
    ecn: str = ""
    """The flags ECE, CWR and AE (RFC 3168, section 6.1; RFC 9768), as E, C and N.

    If any of the three reserved bits is set, "+" and their number follow: "+1".
    """
    arrives: bool = False
    """Whether it was captured where it leaves the router for its receiver. On loopback, to be sent is to arrive."""

    @property
    def all_flags(self) -> str:
        """The flags with those of ECN; for example SEC, a SYN that offers ECN."""
        return self.flags + self.ecn

    @property
    def ports(self) -> tuple[int, int]:
        return self.source[1], self.destination[1]


def decode(frame: Frame) -> Segment | None:
    """The segment in a frame; None if it carries something else (ICMP, UDP, garbage), or is cut before its options.

    Decoded by hand, because scapy takes 200 µs instead of 4; the tests compare the two.
    """
    try:
        found = ip.in_frame(frame.data)
        if found is None or found.protocol != socket.IPPROTO_TCP:
            return None
        _, _, source, destination, tcp_at, end = found
        source_port, destination_port, seq, ack, bits, window = _TCP.unpack_from(frame.data, tcp_at)
    except struct.error:
        return None
    payload_at = tcp_at + 4 * (bits >> 12)
    if not tcp_at + _TCP.size <= payload_at <= end:
        return None
    return Segment(
        time_ns=frame.time_ns,
        source=(source, source_port),
        destination=(destination, destination_port),
        flags=_flags(bits & _FLAG_BITS, _FLAG_ORDER),
        seq=seq,
        ack=ack,
        length=end - payload_at,
        window=window,
        timestamp=_timestamp(frame.data[tcp_at + _TCP.size : payload_at]),
        ecn=_flags(bits & _FLAG_BITS, _ECN) + _reserved(bits & _FLAG_BITS),
        arrives=frame.link < 0,
    )


@cache
def _flags(bits: int, order: str) -> str:
    return "".join(flag for flag in order if bits >> _FLAGS.index(flag) & 1)


def _reserved(bits: int) -> str:
    return f"+{bits >> _RESERVED_FROM}" if bits >> _RESERVED_FROM else ""


def _timestamp(options: bytes) -> tuple[int, int] | None:
    """TSval and TSecr of a complete timestamp option (RFC 7323, section 3.2)."""
    at = 0
    while at < len(options) and options[at] != _END:
        size = 1 if options[at] == _NO_OPERATION else max(2, int.from_bytes(options[at + 1 : at + 2]))
        if options[at] == _TIMESTAMP_KIND and size == _TIMESTAMP_BYTES and at + size <= len(options):
            tsval, tsecr = _TIMESTAMP.unpack_from(options, at + 2)
            return tsval, tsecr
        at += size
    return None


def build(source: Endpoint, destination: Endpoint, flags: str, seq: int, ack: int, payload: bytes = b"") -> bytes:
    """Build an IP datagram with one TCP segment and its checksums. The first call takes 300 ms to import scapy."""
    scapy = _scapy()
    tcp = scapy.TCP(sport=source[1], dport=destination[1], flags=flags, seq=seq, ack=ack, window=65535)
    datagram = scapy.IPv6 if ":" in source[0] else scapy.IP
    return bytes(datagram(src=source[0], dst=destination[0]) / tcp / payload)


@cache
def _scapy() -> Any:
    from scapy.config import conf

    conf.route_autoload = conf.route6_autoload = False  # reading the host's routes would take 100 ms
    import scapy.layers.inet6 as inet6  # it includes the names of inet and l2

    return inet6
