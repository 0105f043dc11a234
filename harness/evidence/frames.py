"""Captured frames, stored compactly, because one step may send a million segments."""

from array import array

from harness.evidence.ring import Frame

MOST_BYTES = 1 << 28
"""The most bytes of frames that one lab keeps: 256 MiB, which is at least 1.3 million segments of any size."""

_BESIDES = 21
"""Bytes for each frame in addition to its data: its time, its length, its end, and its link."""


class Frames:
    """Frames by number, from 0 on. A bare ACK takes 87 bytes, a quarter of what an object would take."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ends = array("Q")
        self._times_ns = array("q")
        self._lengths = array("I")
        self._links = array("b")

    def append(self, time_ns: int, data: bytes, length: int, link: int = 0) -> bool:
        """Keep one more frame; returns False if there is no room for it (MOST_BYTES)."""
        if len(self._data) + _BESIDES * len(self._ends) >= MOST_BYTES:
            return False
        self._data += data
        self._ends.append(len(self._data))
        self._times_ns.append(time_ns)
        self._lengths.append(length)
        self._links.append(link)
        return True

    def cut(self, first: int) -> None:
        """Delete all frames from number `first` on."""
        del self._data[self._ends[first - 1] if first else 0 :]
        for column in (self._ends, self._times_ns, self._lengths, self._links):
            del column[first:]

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> Frame:
        begin = self._ends[number - 1] if number else 0
        data = bytes(self._data[begin : self._ends[number]])
        return Frame(self._times_ns[number], data, self._lengths[number], self._links[number])
