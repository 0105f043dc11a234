"""The capture as a file for Wireshark, its segments commented with the story (draft-ietf-opsawg-pcapng).

Its times are seconds since the lab's start, as in the transcript. By default, Wireshark's time column counts from the
first frame instead; to change that: View, Time Display Format, Seconds Since 1970-01-01 (`tshark -t e`).
"""

import struct
from collections import defaultdict
from ipaddress import ip_address

from harness.evidence.ring import Frame
from harness.network.addresses import HOSTS
from harness.network.routed import LINKS, STANDBY
from harness.story.timeline import Timeline
from harness.views.rows import Row, rows

_SECTION, _INTERFACE, _NAMES, _PACKET = 0x0A0D0D0A, 1, 4, 6
_BYTE_ORDER, _MAJOR, _MINOR, _LENGTH_UNKNOWN = 0x1A2B3C4D, 1, 0, -1
_ETHERNET = 1
_NO_LIMIT = 0
_NANOSECONDS = b"\x09"  # ten to the minus nine

_END, _COMMENT, _FLAGS = 0, 1, 2
_INBOUND, _OUTBOUND = 1, 2
_USER_APPLICATION = 4
_INTERFACE_NAME, _TIME_RESOLUTION = 2, 9
_IPV4_NAME, _IPV6_NAME = 1, 2

_LONGEST_VALUE = 0xFFFF
_MOST_COMMENTS = 50
"""The most comments of a segment: a look at a table of 28,000 sockets belongs to one segment."""

_ABOUT_TIMES = "Times are seconds since the lab's start: View, Time Display Format, Seconds Since 1970-01-01"

Option = tuple[int, bytes]


def pcapng(timeline: Timeline, claim: str = "") -> bytes:
    """The file. `claim` is the section's comment; steps and state changes are comments of their segments.

    With a router, it has an interface for each of its links, and a frame that was passed on is there twice: inbound on
    one link, outbound on the other.
    """
    comments = _comments(timeline)
    links = {0: "lo"} if not timeline.routed else _links(timeline)
    numbers = {link: number for number, link in enumerate(links)}
    parts = [_section(claim), *map(_interface, links.values()), _names(timeline.routed)]
    for frame, segment in timeline.captured():
        options = [(_COMMENT, _text(comment)) for comment in comments.get(id(segment), [])]
        if timeline.routed:
            options.insert(0, (_FLAGS, struct.pack("<I", _OUTBOUND if frame.link < 0 else _INBOUND)))
        parts.append(_packet(frame, numbers.get(abs(frame.link), 0), timeline.start_ns, options))
    return b"".join(parts)


def _links(timeline: Timeline) -> dict[int, str]:
    """The router's links by index; that to the standby only if it has carried anything."""
    used = {abs(frame.link) for frame, _ in timeline.captured()}
    return {link: host for link, host in LINKS.items() if host != STANDBY or link in used}


def block(kind: int, body: bytes, options: list[Option]) -> bytes:
    """A block of the file (section 3.1), which begins and ends with its length, a multiple of four."""
    written = body + b"".join(_tagged(code, value) for code, value in options if value)
    written += _tagged(_END, b"") if options else b""
    length = struct.pack("<I", len(written) + 12)
    return struct.pack("<I", kind) + length + written + length


def _tagged(code: int, value: bytes) -> bytes:
    """An option, or a record of names: code, length, value, padding (section 3.5)."""
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _text(text: str) -> bytes:
    """UTF-8, cut between two characters if it is too long for an option."""
    whole = text.encode(errors="replace")
    return whole[:_LONGEST_VALUE].decode(errors="ignore").encode()


def _section(claim: str) -> bytes:
    body = struct.pack("<IHHq", _BYTE_ORDER, _MAJOR, _MINOR, _LENGTH_UNKNOWN)
    return block(_SECTION, body, [(_COMMENT, _text(claim)), (_USER_APPLICATION, b"tcp-fault-lab")])


def _interface(name: str) -> bytes:
    body = struct.pack("<HxxI", _ETHERNET, _NO_LIMIT)
    options = [(_COMMENT, _text(_ABOUT_TIMES)), (_INTERFACE_NAME, name.encode()), (_TIME_RESOLUTION, _NANOSECONDS)]
    return block(_INTERFACE, body, options)


def _names(routed: bool) -> bytes:
    """The block with the lab's host names, in which spaces become hyphens."""
    records = b""
    for host, name in HOSTS.items():
        if name == "router" and not routed:
            continue
        address = ip_address(host)
        code = _IPV4_NAME if address.version == 4 else _IPV6_NAME
        records += _tagged(code, address.packed + name.replace(" ", "-").encode() + b"\0")
    return block(_NAMES, records + _tagged(_END, b""), [])


def _packet(frame: Frame, interface: int, start_ns: int, options: list[Option]) -> bytes:
    since_start_ns = max(0, frame.time_ns - start_ns)
    body = struct.pack(
        "<IIIII", interface, since_start_ns >> 32, since_start_ns & 0xFFFFFFFF, len(frame.data), frame.length
    )  # fmt: skip
    return block(_PACKET, body + _padded(frame.data), options)


def _comments(timeline: Timeline) -> dict[int, list[str]]:
    """The comments of each segment, by the segment's id(); rows without a segment belong to the latest one before."""
    found: dict[int, list[str]] = defaultdict(list)
    before_all: list[str] = []
    latest = before_all
    for row in rows(timeline):
        if row.segment:
            latest = found[id(row.segment)]
            latest += before_all
            before_all.clear()
        latest += _said(row, timeline.start_ns)
    return {segment: _cut(comments) for segment, comments in found.items()}


def _said(row: Row, start_ns: int) -> list[str]:
    """A line for each text of a row, with the row's time if it has no segment."""
    at = "" if row.segment else f"{(row.time_ns - start_ns) / 1e6:.3f} ms  "
    lines = [f"{lane}: {text}" for lane, texts in row.says.items() for text in texts]
    return [at + line for line in [*lines, *([row.note] if row.note else [])]]


def _cut(comments: list[str]) -> list[str]:
    left_out = len(comments) - _MOST_COMMENTS
    return [*comments[:_MOST_COMMENTS], f"… {left_out} more comments"] if left_out > 0 else comments
