"""Frames decoded into segments: their fields, and that any damaged or senseless frame gives None."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers import inet6

from harness.evidence import wire
from harness.evidence.ring import Frame

ETHERNET = bytes(12) + b"\x08\x00"
CLIENT, SERVER = ("192.0.2.1", 40001), ("192.0.2.2", 8000)
WHOLE = ETHERNET + wire.build(CLIENT, SERVER, "PA", 4_000_000_000, 7, b"hello")


def decode(data):
    return wire.decode(Frame(time_ns=1, data=data, length=len(data)))


def frame_by_hand(flag_bits, options=b"", payload=b""):
    """IP and TCP headers packed here, without a library, and without checksums, which the kernel checks."""
    words = (5 + len(options) // 4) << 12 | flag_bits
    tcp = struct.pack("!HHIIHHHH", 40001, 8000, 100, 200, words, 512, 0, 0) + options + payload
    ip = struct.pack("!BBHHHBBH4B4B", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, 192, 0, 2, 1, 192, 0, 2, 2)
    return ETHERNET + ip + tcp


def test_every_field_is_read():
    timestamps = struct.pack("!BBBBII", 1, 1, 8, 10, 11, 22)
    assert decode(frame_by_hand(0x18, timestamps, b"hello")) == wire.Segment(
        time_ns=1, source=CLIENT, destination=SERVER, flags="PA", seq=100, ack=200, length=5, window=512,
        timestamp=(11, 22),
    )  # fmt: skip
    assert decode(frame_by_hand(0x10)).timestamp is None
    assert decode(frame_by_hand(0x10, b"\x08\x06\0\0\0\0\1\1")).timestamp is None  # half of one


@pytest.mark.parametrize(
    ("bits", "flags"),
    [(0x02, "S"), (0x12, "SA"), (0x10, "A"), (0x18, "PA"), (0x11, "FA"), (0x19, "FPA"), (0x04, "R"), (0x14, "RA"),
     (0xC2, "SEC"), (0x52, "SAE"), (0x00, ""), (0x1C2, "SECN"), (0x2C2, "SEC+1"), (0xF02, "SN+7")],
)  # fmt: skip
def test_flags_have_the_usual_order_of_wireshark(bits, flags):
    assert decode(frame_by_hand(bits)).all_flags == flags


def test_the_flags_of_a_segment_are_without_ecn():
    """Otherwise a story would look different under tcp_ecn=1, which requests ECN in each SYN."""
    segment = decode(frame_by_hand(0xD2))
    assert (segment.flags, segment.ecn) == ("SA", "EC")


@given(st.integers(0, 2**12 - 1), st.binary(max_size=40).map(lambda data: data[: len(data) // 4 * 4]))
def test_no_flag_goes_unseen(bits, options):
    every = decode(frame_by_hand(bits, options)).all_flags
    letters, _, reserved = every.partition("+")
    assert bits == sum(1 << "FSRPAUECN".index(letter) for letter in letters) + (int(reserved or "0") << 9)


def test_what_is_built_is_what_is_decoded():
    built = decode(WHOLE)
    assert (built.source, built.destination, built.flags) == (CLIENT, SERVER, "PA")
    assert (built.seq, built.ack, built.length, built.ports) == (4_000_000_000, 7, 5, (40001, 8000))


def test_length_counts_bytes_that_the_slot_had_no_room_for():
    whole = frame_by_hand(0x10, payload=bytes(1000))
    assert decode(whole[:176]).length == 1000


@pytest.mark.parametrize(
    "other",
    [
        ETHERNET[:12] + b"\x88\xb5" + bytes(46),
        ETHERNET + struct.pack("!BBHHHBBH4B4BHHHH", 69, 0, 28, 0, 0, 64, 17, 0, *bytes(8), 1, 2, 8, 0),
        ETHERNET + struct.pack("!BBHHHBBH4B4BBBHI", 69, 0, 68, 0, 0, 64, 1, 0, *bytes(8), 3, 3, 0, 0) + WHOLE[14:54],
        b"",
    ],
    ids=["mark", "UDP", "ICMP error that quotes a segment", "nothing"],
)
def test_any_other_frame_is_not_a_segment(other):
    assert decode(other) is None


def test_a_frame_may_be_cut_anywhere():
    for end in range(len(WHOLE)):
        assert (decode(WHOLE[:end]) is None) == (end < 14 + 20 + 20)


@given(st.sampled_from([b"", ETHERNET, ETHERNET + b"\x45"]), st.binary(max_size=200))
def test_garbage_is_a_segment_or_nothing(start, data):
    segment = decode(start + data)
    assert segment is None or isinstance(segment, wire.Segment)


@given(st.integers(12, len(WHOLE) - 1), st.binary(min_size=1, max_size=8), st.integers(14, len(WHOLE)))
@settings(max_examples=300)
def test_a_damaged_frame_is_a_segment_or_nothing(at, damage, end):
    segment = decode((WHOLE[:at] + damage + WHOLE[at + len(damage) :])[:end])
    assert segment is None or isinstance(segment, wire.Segment)


@given(st.integers(0, 255), st.binary(max_size=40).map(lambda options: options + bytes(-len(options) % 4)))
@settings(max_examples=300)
def test_senseless_options_harm_nothing(bits, options):
    segment = decode(frame_by_hand(bits, options, b"four"))
    assert (segment.source, segment.destination, segment.seq, segment.length) == (CLIENT, SERVER, 100, 4)
    assert segment.timestamp is None or [type(stamp) for stamp in segment.timestamp] == [int, int]


OPTIONS = st.lists(
    st.sampled_from([("NOP", None), ("MSS", 1460), ("SAckOK", b""), ("WScale", 7), ("Timestamp", (2**32 - 1, 5))]),
    unique_by=lambda option: option[0],
)
ADDRESSES = st.sampled_from([("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")])
NUMBERS = st.integers(0, 2**32 - 1)


@given(ADDRESSES, st.text("FSRPAUECN", max_size=9), NUMBERS, NUMBERS, OPTIONS, st.binary(max_size=50))
@settings(max_examples=300)
def test_scapy_reads_the_same(addresses, flags, seq, ack, options, payload):
    source, destination = addresses
    ip = inet6.IPv6 if ":" in source else inet6.IP
    tcp = inet6.TCP(sport=40001, dport=8000, flags=flags, seq=seq, ack=ack, options=options, window=77)
    data = bytes(inet6.Ether(dst="00:00:00:00:00:00") / ip(src=source, dst=destination) / tcp / payload)
    witness = inet6.Ether(data)[inet6.TCP]
    segment = decode(data)
    assert (segment.source, segment.destination) == ((source, 40001), (destination, 8000))
    assert (segment.seq, segment.ack, segment.window) == (witness.seq, witness.ack, witness.window)
    assert sorted(segment.all_flags) == sorted(str(witness.flags))
    assert segment.length == len(witness.payload) == len(payload)
    assert segment.timestamp == dict(witness.options).get("Timestamp")


def test_the_rest_of_a_fragment_is_not_a_segment():
    first, rest = bytearray(WHOLE), bytearray(WHOLE)
    first[20:22], rest[20:22] = b"\x20\x00", b"\x00\x01"  # "more fragments"; offset 8
    assert decode(bytes(first)).flags == "PA"
    assert decode(bytes(rest)) is None
