"""ICMP errors: decoded from frames that scapy has built, and from hostile ones; in every picture of a story."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether

from harness.evidence import icmp
from harness.evidence.ring import Frame
from harness.evidence.wire import decode as segment_in
from harness.views.mermaid import mermaid
from harness.views.pcapng import pcapng
from harness.views.transcript import transcript

SEGMENT_4 = IP(src="192.0.2.2", dst="192.0.2.1") / TCP(sport=8000, dport=40001)
SEGMENT_6 = IPv6(src="2001:db8::2", dst="2001:db8::1") / TCP(sport=8000, dport=40001)
TO_SERVER_4, TO_SERVER_6 = IP(src="192.0.2.254", dst="192.0.2.2"), IPv6(src="2001:db8::fe", dst="2001:db8::2")


def framed(packet, link=1):
    data = bytes(Ether() / packet)
    return Frame(7, data, len(data), link)


@pytest.mark.parametrize(
    ("packet", "kind", "mtu"),
    [
        (TO_SERVER_4 / ICMP(type=3, code=3) / SEGMENT_4, "Destination unreachable (Port unreachable)", 0),
        (
            TO_SERVER_4 / ICMP(type=3, code=4, nexthopmtu=1400) / SEGMENT_4,
            "Destination unreachable (Fragmentation needed)",
            1400,
        ),
        (TO_SERVER_4 / ICMP(type=3, code=15) / SEGMENT_4, "Destination unreachable", 0),
        (TO_SERVER_4 / ICMP(type=11) / SEGMENT_4, "Time-to-live exceeded", 0),
        (TO_SERVER_6 / ICMPv6PacketTooBig(mtu=1400) / SEGMENT_6, "Packet Too Big", 1400),
        (
            TO_SERVER_6 / ICMPv6DestUnreach(code=1) / SEGMENT_6,
            "Destination unreachable (Administratively prohibited)",
            0,
        ),
    ],
)
def test_scapys_errors(packet, kind, mtu):
    found = icmp.decode(framed(packet, link=-3))
    server, client = ("192.0.2.2", "192.0.2.1") if IP in packet else ("2001:db8::2", "2001:db8::1")
    router = "192.0.2.254" if IP in packet else "2001:db8::fe"
    assert found == icmp.IcmpError(7, router, server, kind, (server, 8000), (client, 40001), mtu, True)


@pytest.mark.parametrize(
    "packet",
    [
        SEGMENT_4,
        SEGMENT_6,
        TO_SERVER_4 / ICMP(type=8),
        TO_SERVER_6 / ICMPv6EchoRequest(),
        TO_SERVER_4 / ICMP(type=3, code=3) / IP(src="192.0.2.2", dst="192.0.2.1") / UDP(dport=53),
    ],
)
def test_anything_else_is_none(packet):
    assert icmp.decode(framed(packet)) is None


@given(st.binary(max_size=120), st.sampled_from([b"\x08\x00", b"\x86\xdd", b"\x88\xb5"]))
def test_hostile_bytes_are_none_or_an_error(data, ethertype):
    frame = Frame(0, bytes(12) + ethertype + data, 14 + len(data))
    assert icmp.decode(frame) is None or segment_in(frame) is None


@given(
    st.integers(0, 80),
    st.sampled_from([TO_SERVER_4 / ICMP(type=3, code=1) / SEGMENT_4, TO_SERVER_6 / ICMPv6DestUnreach() / SEGMENT_6]),
)
def test_an_error_that_is_cut_short_is_none(kept, packet):
    whole = framed(packet)
    found = icmp.decode(Frame(0, whole.data[:kept], whole.length))
    assert found is None or kept >= 14 + 20 + 8 + 20 + 4


def call(address):
    import socket

    socket.create_connection(address)
    yield "connected"


@pytest.mark.parametrize("lab_family", [4, 6], indirect=True)
def test_it_is_in_every_picture_and_tshark_reads_the_same(lab, lab_family, tmp_path):
    lab.drop("tcp flags & (syn | ack) == syn limit rate 1/hour burst 1 packets")
    lab.reject("tcp flags & (syn | ack) == syn", with_="icmpx type port-unreachable")
    lab.start(call, lab.server_address).fail_with("ECONNREFUSED")
    [error] = lab.icmp_errors()
    assert error.kind == "Destination unreachable (Port unreachable)"
    assert (error.receiver, error.sender[0]) == (lab.server_address, lab.client_address(0)[0])
    text = "server → client: ICMP Destination unreachable (Port unreachable)"
    assert text in transcript(lab.timeline)
    assert "ICMP Destination unreachable (Port unreachable)" in mermaid(lab.timeline).replace("<br/>", " ")
    if shutil.which("tshark"):
        file = tmp_path / "story.pcapng"
        file.write_bytes(pcapng(lab.timeline))
        shown = subprocess.run(["tshark", "-n", "-r", file], capture_output=True, text=True, check=True).stdout
        assert error.kind.lower() in shown.lower()
