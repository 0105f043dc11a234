"""The lab's hosts: three documentation addresses on `lo` of a private network namespace.

Documentation addresses (RFC 5737) behave like those in production; 127.0.0.0/8 has special rules (tcp_tw_reuse=2).
The routes give an unbound connect() to a server the client's address as its source.
"""

import socket
import struct

from harness.kernel import netlink

CLIENT, SERVER, OTHER_SERVER = "192.0.2.1", "192.0.2.2", "192.0.2.3"
HOSTS = {CLIENT: "client", SERVER: "server", OTHER_SERVER: "other server"}
FAMILY = socket.AF_INET

_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 20, 24
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF, _RTA_PREFSRC = 1, 4, 7
_RT_TABLE_LOCAL, _RTPROT_BOOT, _RT_SCOPE_HOST, _RTN_LOCAL = 255, 3, 254, 2
_IFF_UP = 1


def set_up_loopback() -> None:
    """Bring up `lo`, give it the three addresses, and make the client's the preferred source towards both servers."""
    index = socket.if_nametoindex("lo")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        _change(route, _RTM_NEWLINK, 0, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP))
        for host in HOSTS:
            _change(route, _RTM_NEWADDR, netlink.NLM_F_CREATE, _address(index, host))
        for host in (SERVER, OTHER_SERVER):
            _change(route, _RTM_NEWROUTE, netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE, _route(index, host))


def _change(route: socket.socket, kind: int, flags: int, body: bytes) -> None:
    for _ in netlink.ask(route, kind, flags | netlink.NLM_F_ACK, body):
        raise AssertionError("rtnetlink answered a change with more than an acknowledgement")


def _address(index: int, host: str) -> bytes:
    packed = socket.inet_pton(FAMILY, host)
    header = struct.pack("=BBBBI", FAMILY, 8 * len(packed), 0, 0, index)
    return header + netlink.attribute(_IFA_LOCAL, packed) + netlink.attribute(_IFA_ADDRESS, packed)


def _route(index: int, host: str) -> bytes:
    packed = socket.inet_pton(FAMILY, host)
    header = struct.pack(
        "=BBBBBBBBI", FAMILY, 8 * len(packed), 0, 0,
        _RT_TABLE_LOCAL, _RTPROT_BOOT, _RT_SCOPE_HOST, _RTN_LOCAL, 0,
    )  # fmt: skip
    return (
        header
        + netlink.attribute(_RTA_DST, packed)
        + netlink.attribute(_RTA_OIF, struct.pack("=I", index))
        + netlink.attribute(_RTA_PREFSRC, socket.inet_pton(FAMILY, CLIENT))
    )
