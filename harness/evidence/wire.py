"""Frames decoded into segments: the only place that imports scapy, and not before the first lab."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.evidence.ring import Frame
from harness.evidence.sockets import Endpoint

_FLAG_ORDER = "SFRPAUEC"
"""As Wireshark's users write them: SYN, FIN, RST and PSH before ACK, so S SA A PA FA R RA."""

_SHORTEST_BYTES = 14 + 20 + 20
"""The Ethernet, IP and TCP headers without any option; scapy's Ethernet header raises where it is cut short."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment as it arrived, before any firewall's input hook. `length` counts payload bytes."""

    time_ns: int
    source: Endpoint
    destination: Endpoint
    flags: str
    seq: int
    ack: int
    length: int
    window: int
    timestamp: tuple[int, int] | None
    """RFC 7323's TSval and TSecr, where the option is there."""

    @property
    def ports(self) -> tuple[int, int]:
        return self.source[1], self.destination[1]


def load_decoder() -> None:
    """Import scapy, which takes 300 ms the first time."""
    _scapy()


def decode(frame: Frame) -> Segment | None:
    """The segment in a frame; None where it carries something else (ICMP, UDP, garbage)."""
    if len(frame.data) < _SHORTEST_BYTES:
        return None
    scapy = _scapy()
    packet = scapy.Ether(frame.data)
    tcp = packet.getlayer(scapy.TCP)
    ip = packet.getlayer(scapy.IP) or packet.getlayer(scapy.IPv6)
    if tcp is None or ip is None or tcp.dataofs is None:
        return None
    carried = ip.plen if ip.version == 6 else ip.len - 4 * ip.ihl
    flags = str(tcp.flags)
    stamps = dict(option for option in tcp.options if option[0] == "Timestamp").get("Timestamp")
    return Segment(
        time_ns=frame.time_ns,
        source=(ip.src, tcp.sport),
        destination=(ip.dst, tcp.dport),
        flags="".join(sorted(flags, key=_FLAG_ORDER.find)),
        seq=tcp.seq,
        ack=tcp.ack,
        length=carried - 4 * tcp.dataofs,
        window=tcp.window,
        timestamp=stamps if isinstance(stamps, tuple) else None,  # of a wrong length: scapy leaves the bytes
    )


def build(source: Endpoint, destination: Endpoint, flags: str, seq: int, ack: int, payload: bytes = b"") -> bytes:
    """An IP datagram with one TCP segment, checksums filled in."""
    scapy = _scapy()
    tcp = scapy.TCP(sport=source[1], dport=destination[1], flags=flags, seq=seq, ack=ack, window=65535)
    ip = scapy.IPv6 if ":" in source[0] else scapy.IP
    return bytes(ip(src=source[0], dst=destination[0]) / tcp / payload)


@cache
def _scapy() -> Any:
    from scapy.config import conf

    conf.route_autoload = conf.route6_autoload = False  # the host's routes are of no interest, and cost 100 ms
    import scapy.layers.inet6 as inet6  # it has the names of inet and l2, too

    return inet6
