"""The IP header of a frame, or of the packet that an ICMP error quotes (RFC 791, 3.1; RFC 8200, 3).

It does not look behind IPv6 extension headers, which Linux does not send with segments.
"""

import socket
import struct
from functools import lru_cache
from typing import NamedTuple

_AT, _ETHERTYPE_AT = 14, 12
_VERSIONS = {b"\x08\x00": 4, b"\x86\xdd": 6}
"""By Ethertype."""

_IPV4 = struct.Struct("!BxH2xHxB2x4s4s")  # version and length, total length, flags and offset, protocol, addresses
_IPV6 = struct.Struct("!4xHBx16s16s")  # payload length, next header, addresses
_FIRST_FRAGMENT = 0x1FFF


class Header(NamedTuple):
    """`payload_at`, `end`: where the payload begins and ends in the data, by the header's own lengths."""

    version: int
    protocol: int
    source: str
    destination: str
    payload_at: int
    end: int


def in_frame(data: bytes) -> Header | None:
    """The header in an Ethernet frame; None if it carries something else. struct.error if it is cut short."""
    version = _VERSIONS.get(data[_ETHERTYPE_AT:_AT])
    return header(data, _AT, version) if version else None


def header(data: bytes, at: int, version: int) -> Header | None:
    """The header of this version at an offset; None if it is broken, or of a later fragment. Errors as in_frame()."""
    if version == 4:
        first, total, fragment, protocol, source, destination = _IPV4.unpack_from(data, at)
        family, size = socket.AF_INET, 4 * (first & 0x0F)
        broken = first >> 4 != 4 or size < _IPV4.size or fragment & _FIRST_FRAGMENT
    else:
        carried, protocol, source, destination = _IPV6.unpack_from(data, at)
        family, size, total = socket.AF_INET6, _IPV6.size, _IPV6.size + carried
        broken = data[at] >> 4 != 6
    if broken:
        return None
    return Header(version, protocol, _host(family, source), _host(family, destination), at + size, at + total)


@lru_cache
def _host(family: int, address: bytes) -> str:
    return socket.inet_ntop(family, address)
