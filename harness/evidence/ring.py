"""A capture of `lo` in a ring that the kernel shares with this process: without root, from the first segment on.

packet(7), PACKET_RX_RING with TPACKET_V2: every frame has a slot of its own and can be read at once. V3 would hold it
back until its block is full or a timer expires (net/packet/af_packet.c, tpacket_rcv).
"""

import contextlib
import mmap
import os
import select
import socket
import struct
from array import array
from collections.abc import Collection, Iterator
from typing import NamedTuple

_SOL_PACKET = 263
_PACKET_RX_RING, _PACKET_STATISTICS, _PACKET_VERSION, _PACKET_IGNORE_OUTGOING = 5, 6, 10, 23
_TPACKET_V2 = 1
_ETH_P_ALL = 0x0003
_FRAME_BYTES = 256
FRAMES = 32768
"""The number of frames that the ring has room for."""
_BLOCK_BYTES = 1 << 17
_RING_BYTES = _FRAME_BYTES * FRAMES
_SLOT = struct.Struct("=4xIIH2xII12xi2xB213x")
"""struct tpacket2_hdr: status, len, snaplen, mac, net, sec, nsec; struct sockaddr_ll: index, type; the frame."""
_WORDS = _FRAME_BYTES // 4
_TP_STATUS_KERNEL, _TP_STATUS_USER = 0, 1
_PACKET_OUTGOING = 4
_LOOPBACK = 1
"""The index of `lo` in every network namespace (net/core/dev.h, LOOPBACK_IFINDEX)."""
_FEW, _MANY = 16, 1024
"""The number of slots to examine at once: at first, and as long as all of them are full."""

MARKER_ETHERTYPE = 0x88B5
"""IEEE 802 local experimental: no protocol of the kernel reads it, and no counter of TCP or IP changes."""
_MARKER_TYPE = MARKER_ETHERTYPE.to_bytes(2, "big")
_MARKER = struct.Struct("=6x6xHQI34x")  # an Ethernet header, then round and CPU, padded to the shortest frame


class Frame(NamedTuple):
    """One frame as captured: CLOCK_MONOTONIC in ns, its first bytes from the Ethernet header on, its whole length."""

    time_ns: int
    data: bytes
    length: int
    link: int = 0
    """The interface that captured it, negative if it left there: its index in the namespace of the capture."""


def open_capture(interface: str) -> socket.socket:
    """Open, inside the namespace, a socket that captures frames, and through which marks are sent.

    It captures each frame that arrives at this interface; if that is empty, each frame that arrives at any interface,
    or leaves any but `lo`, whose frames would be captured twice. Making the ring waits for an RCU
    grace period (packet_set_ring, synchronize_net), 8 to 18 ms here, and so does closing the socket (packet_release).
    """
    capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0 if interface else socket.htons(_ETH_P_ALL))
    capture.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V2)
    if interface:
        capture.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    ring = struct.pack("=IIII", _BLOCK_BYTES, _RING_BYTES // _BLOCK_BYTES, _FRAME_BYTES, FRAMES)
    capture.setsockopt(_SOL_PACKET, _PACKET_RX_RING, ring)
    if interface:
        capture.bind((interface, _ETH_P_ALL))
    return capture


Mark = tuple[int, int]
"""A mark: the number of its round, and the processor that it was sent on."""


class Marks:
    """Sends marks through the queues of `processors`, from any process that has the capture's socket."""

    def __init__(self, capture: socket.socket, processors: Collection[int]) -> None:
        self._capture = capture
        self._processors = list(processors)
        self._round = 0
        self.sent = 0
        """The number of marks sent so far."""

    def send(self) -> set[Mark]:
        """Send one mark on each processor, and return them; they come back through the capture.

        Each processor queues what it sends over `lo` for itself, first in, first out (net/core/dev.c,
        enqueue_to_backlog). So a mark is captured after everything that was sent on its processor before it, and after
        everything captured there before it has been handled. The calling thread moves to each processor in turn. A
        processor that is offline, or that this thread may no longer use, is left out. OSError: ENETDOWN if `lo` is
        down.
        """
        self._round += 1
        self._processors.reverse()  # the thread is likely still on the last one, so each round saves one migration
        allowed = os.sched_getaffinity(0)
        marks = set()
        try:
            for processor in self._processors:
                if _moved_to(processor):
                    mark = _MARKER.pack(socket.htons(MARKER_ETHERTYPE), self._round, processor)
                    self._capture.sendto(mark, ("lo", MARKER_ETHERTYPE))
                    marks.add((self._round, processor))
        finally:
            self.sent += len(marks)
            with contextlib.suppress(OSError):  # EINVAL: the cpuset was changed meanwhile, and applies from now on
                os.sched_setaffinity(0, allowed)
        return marks


def _moved_to(processor: int) -> bool:
    try:
        os.sched_setaffinity(0, {processor})
    except OSError:
        return False
    return True


def _frames(slots: bytes, real_minus_monotonic_ns: int) -> Iterator[tuple[int, bytes, int, int]]:
    at = 0
    for length, kept, mac, sec, nsec, index, kind in _SLOT.iter_unpack(slots):
        begin = at + mac
        at += _FRAME_BYTES
        if kind != _PACKET_OUTGOING:
            yield sec * 1_000_000_000 + nsec - real_minus_monotonic_ns, slots[begin : begin + kept], length, index
        elif index != _LOOPBACK:
            yield sec * 1_000_000_000 + nsec - real_minus_monotonic_ns, slots[begin : begin + kept], length, -index


_NO_STATUS = memoryview(array("I", [_TP_STATUS_KERNEL]) * _MANY)


class Ring:
    """The reading end, in any process that has the capture's socket."""

    def __init__(self, capture: socket.socket) -> None:
        self._capture = capture
        self._memory = mmap.mmap(capture.fileno(), _RING_BYTES)
        self._words = memoryview(self._memory).cast("I")
        self._taken: Iterator[tuple[int, bytes, int, int]] = iter(())
        self._next = 0
        self._lost = 0
        self._poller = select.poll()
        self._poller.register(capture.fileno(), select.POLLIN)

    def read(self, real_minus_monotonic_ns: int) -> Iterator[tuple[int, bytes, int, int]]:
        """Yield every captured frame, in the order of capture, as the fields of a Frame.

        Slots are returned to the kernel many at a time, before their frames are yielded. If the caller stops early, the
        next call continues with the remaining frames.
        """
        window = _FEW
        while True:
            for frame in self._taken:  # noqa: UP028 (`yield from` would close it when the caller reads no further)
                yield frame
            full = self._full(window)
            if not full:
                return
            begin = self._next * _FRAME_BYTES
            slots = self._memory[begin : begin + full * _FRAME_BYTES]
            words = slice(self._next * _WORDS, (self._next + full) * _WORDS, _WORDS)
            self._words[words] = _NO_STATUS[:full]
            self._next = (self._next + full) % FRAMES
            self._taken = _frames(slots, real_minus_monotonic_ns)
            window = _MANY if full == window else _FEW

    def _full(self, window: int) -> int:
        """The number of slots in a row that can be read, from the next one on, within the window and the ring's end."""
        if not self._words[self._next * _WORDS] & _TP_STATUS_USER:
            return 0
        end = min(self._next + window, FRAMES)
        statuses = self._words[self._next * _WORDS : end * _WORDS : _WORDS].tolist()
        for number, status in enumerate(statuses):
            if not status & _TP_STATUS_USER:
                return number
        return len(statuses)

    def wait(self, within_s: float) -> bool:
        """Sleep until a frame can be read, at most `within_s` seconds; returns whether there is one."""
        return bool(self._poller.poll(within_s * 1000))

    def lost(self) -> int:
        """The number of frames lost since the capture began, for want of a slot.

        PACKET_STATISTICS counts since it was last read.
        """
        _, drops = struct.unpack("=II", self._capture.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._lost += drops
        return self._lost

    def close(self) -> None:
        self._words.release()
        self._memory.close()
        self._capture.close()


def marked(data: bytes) -> Mark | None:
    """The mark in a frame's first bytes; None for any other frame."""
    if data[12:14] != _MARKER_TYPE or len(data) < _MARKER.size:
        return None
    _, round_number, cpu = _MARKER.unpack_from(data)
    return round_number, cpu
