"""A capture of `lo` in a ring that the kernel shares with us: rootless, from the first segment on, without losses.

packet(7), PACKET_RX_RING with TPACKET_V2: every frame has a slot of its own and is readable at once, where V3 would
keep it back until its block is full or a timer fires (net/packet/af_packet.c, tpacket_rcv).
"""

import mmap
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _PACKET_IGNORE_OUTGOING = 5, 6, 10, 23
_TPACKET_V2 = 1
_ETH_P_ALL = 0x0003
_FRAME_BYTES = 256
_FRAMES = 32768
_BLOCK_BYTES = 1 << 17
_RING_BYTES = _FRAME_BYTES * _FRAMES
_SLOT = struct.Struct("=IIIHHII")  # struct tpacket2_hdr: status, len, snaplen, mac, net, sec, nsec
_TP_STATUS_KERNEL, _TP_STATUS_USER = 0, 1

MARKER_ETHERTYPE = 0x88B5
"""IEEE 802 local experimental: no protocol of the kernel looks at it, and no counter of TCP or IP moves."""
_MARKER = struct.Struct("=6x6xHQI34x")  # an Ethernet header, then round and CPU, padded to the shortest frame


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as captured: CLOCK_MONOTONIC in ns, its first bytes from the Ethernet header on, its whole length."""

    time_ns: int
    data: bytes
    length: int


def open_capture() -> socket.socket:
    """Inside the namespace: a socket that records each frame on `lo` once, from now on; marks are sent through it.

    PACKET_IGNORE_OUTGOING, or each frame of a loopback would be seen twice. Making the ring waits for an RCU grace
    period (packet_set_ring, synchronize_net), 8 to 18 ms here, and so does closing the socket (packet_release).
    """
    capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    capture.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
    capture.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    ring = struct.pack("=IIII", _BLOCK_BYTES, _RING_BYTES // _BLOCK_BYTES, _FRAME_BYTES, _FRAMES)
    capture.setsockopt(_SOL_PACKET, _PACKET_RX_RING, ring)
    capture.bind(("lo", _ETH_P_ALL))
    return capture


def mark(round_number: int, cpu: int) -> bytes:
    """The frame that closes a round on one CPU."""
    return _MARKER.pack(socket.htons(MARKER_ETHERTYPE), round_number, cpu)


class Ring:
    """The reading end, in any process that was handed the socket."""

    def __init__(self, capture: socket.socket) -> None:
        self._capture = capture
        self._memory = mmap.mmap(capture.fileno(), _RING_BYTES)
        self._next = 0
        self._lost = 0

    def read(self, real_minus_monotonic_ns: int) -> Iterator[Frame]:
        """Every frame that is there, in the order of its capture; its slot goes back to the kernel."""
        while True:
            at = self._next * _FRAME_BYTES
            status, length, kept, mac, _, sec, nsec = _SLOT.unpack_from(self._memory, at)
            if not status & _TP_STATUS_USER:
                return
            data = self._memory[at + mac : at + mac + kept]
            struct.pack_into("=I", self._memory, at, _TP_STATUS_KERNEL)
            self._next = (self._next + 1) % _FRAMES
            yield Frame(sec * 10**9 + nsec - real_minus_monotonic_ns, data, length)

    def wait(self, within_s: float) -> bool:
        """Sleep until there is a frame to read, or the time is over."""
        poller = select.poll()
        poller.register(self._capture.fileno(), select.POLLIN)
        return bool(poller.poll(within_s * 1000))

    def lost(self) -> int:
        """Frames that found no slot since the capture began (PACKET_STATISTICS counts since it was last read)."""
        _, drops = struct.unpack("=II", self._capture.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._lost += drops
        return self._lost

    def close(self) -> None:
        self._memory.close()
        self._capture.close()


def marked(frame: Frame) -> tuple[int, int] | None:
    """(round, CPU) of a mark; None for any other frame."""
    if len(frame.data) < _MARKER.size or frame.data[12:14] != MARKER_ETHERTYPE.to_bytes(2, "big"):
        return None
    _, round_number, cpu = _MARKER.unpack_from(frame.data)
    return round_number, cpu
