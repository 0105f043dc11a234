"""The lab's hosts: three documentation addresses of each family on `lo` of a private network namespace.

Documentation addresses (RFC 5737, RFC 3849) behave like those in production; 127.0.0.0/8 and ::1 have special rules
(tcp_tw_reuse=2). The routes give an unbound connect() to a server the client's address as its source.
"""

import errno
import socket
import struct
from typing import Literal

from harness.errors import LabUnavailable
from harness.kernel import netlink

Family = Literal[4, 6]
"""The version of IP that a lab's TCP runs over (RFC 791, RFC 8200)."""

CLIENT, SERVER, OTHER_SERVER = "client", "server", "other server"
ADDRESSES: dict[Family, dict[str, str]] = {
    4: {CLIENT: "192.0.2.1", SERVER: "192.0.2.2", OTHER_SERVER: "192.0.2.3"},
    6: {CLIENT: "2001:db8::1", SERVER: "2001:db8::2", OTHER_SERVER: "2001:db8::3"},
}
"""By family and host."""

ROUTER: dict[Family, str] = {4: "192.0.2.254", 6: "2001:db8::fe"}
"""By family: the router's address, on a network that has one (routed.py)."""

HOSTS = {address: host for hosts in ADDRESSES.values() for host, address in hosts.items()}
HOSTS |= dict.fromkeys(ROUTER.values(), "router")
"""By address, of either family."""

LOOPBACK: dict[Family, str] = {4: "127.0.0.2", 6: "::1"}
"""By family: an address for which the kernel has rules of its own, and which belongs to no host."""

AF = {4: socket.AF_INET, 6: socket.AF_INET6}

_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE, _RTM_DELROUTE = 16, 20, 24, 25
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_NOPREFIXROUTE = 0x200
_RTA_DST, _RTA_OIF, _RTA_PREFSRC = 1, 4, 7
_RT_TABLE_LOCAL, _RTPROT_BOOT, _RT_SCOPE_HOST, _RTN_LOCAL = 255, 3, 254, 2
_RTMGRP_IPV6_ROUTE = 0x400
_IFF_UP = 1
_ROUTES_WITHIN_S = 5.0
_NO_IPV6 = (errno.EOPNOTSUPP, errno.EAFNOSUPPORT)


def name_of(address: str) -> str:
    """The host with an address; the address itself if it belongs to none."""
    return HOSTS.get(address, address)


def no_ipv6() -> LabUnavailable:
    """The error for a story that needs IPv6, if the kernel lacks it."""
    return LabUnavailable("this kernel has no IPv6", "boot it without ipv6.disable=1, or load the module ipv6")


def sent_by(host: str, family: Family) -> str:
    """The match of nftables for what a host sends: "ip saddr 192.0.2.2"."""
    return f"{'ip' if family == 4 else 'ip6'} saddr {ADDRESSES[family][host]}"


def set_up_loopback() -> tuple[Family, ...]:
    """Bring up `lo`, give it the addresses, and make the client's the preferred source towards both servers.

    Returns the families that the kernel has: it may be built, or booted, without IPv6.
    """
    index = socket.if_nametoindex("lo")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        _change(route, _RTM_NEWLINK, 0, struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP))
        _set_up_ipv4(route, index)
        try:
            _set_up_ipv6(route, index)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            return (4,)
    return 4, 6


def _set_up_ipv4(route: socket.socket, index: int) -> None:
    client, *servers = ADDRESSES[4].values()
    for host in (client, *servers):
        _change(route, _RTM_NEWADDR, netlink.NLM_F_CREATE, _address(index, 4, host))
    for host in servers:
        _change(route, _RTM_NEWROUTE, netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE, _route(index, 4, host, client))


def _set_up_ipv6(route: socket.socket, index: int) -> None:
    """As for IPv4, but an address gets its local route from a work queue, later (addrconf_dad_work, 0.1 ms here).

    That route has metric 0, which no other may have (net/ipv6/route.c, ip6_route_info_create). So it is not replaced,
    but awaited and deleted. (_IFA_F_NOPREFIXROUTE: no second route, so that the first notification is the one.)
    """
    client, *_ = hosts = list(ADDRESSES[6].values())
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as new_routes:
        new_routes.bind((0, _RTMGRP_IPV6_ROUTE))
        for host in hosts:
            _change(route, _RTM_NEWADDR, netlink.NLM_F_CREATE, _address(index, 6, host))
        _await_routes(new_routes, hosts)
    for host in hosts:
        _change(route, _RTM_DELROUTE, 0, _route(index, 6, host))
        _change(route, _RTM_NEWROUTE, netlink.NLM_F_CREATE, _route(index, 6, host, client))


def _await_routes(new_routes: socket.socket, hosts: list[str]) -> None:
    """Wait until the kernel has notified of a route to each host."""
    new_routes.settimeout(_ROUTES_WITHIN_S)
    missing = {netlink.attribute(_RTA_DST, _packed(6, host)) for host in hosts}
    while missing:
        try:
            notified = new_routes.recv(1 << 16)
        except TimeoutError:
            raise LabUnavailable(
                f"the kernel has not made the routes of IPv6 addresses in {_ROUTES_WITHIN_S:g} s", "run it again"
            ) from None
        missing = {destination for destination in missing if destination not in notified}


def _change(route: socket.socket, kind: int, flags: int, body: bytes) -> None:
    for _ in netlink.ask(route, kind, flags | netlink.NLM_F_ACK, body):
        raise AssertionError("rtnetlink answered a change with more than an acknowledgement")


def _packed(family: Family, host: str) -> bytes:
    return socket.inet_pton(AF[family], host)


def _address(index: int, family: Family, host: str) -> bytes:
    packed = _packed(family, host)
    header = struct.pack("=BBBBI", AF[family], 8 * len(packed), 0, 0, index)
    return (
        header
        + netlink.attribute(_IFA_LOCAL, packed)
        + netlink.attribute(_IFA_ADDRESS, packed)
        + netlink.attribute(_IFA_FLAGS, struct.pack("=I", _IFA_F_NOPREFIXROUTE))
    )


def _route(index: int, family: Family, host: str, source: str | None = None) -> bytes:
    """A route to an own address; without `source`, that of the kernel, to be deleted."""
    packed = _packed(family, host)
    protocol, scope = (_RTPROT_BOOT, _RT_SCOPE_HOST) if source else (0, 0)
    header = struct.pack(
        "=BBBBBBBBI", AF[family], 8 * len(packed), 0, 0, _RT_TABLE_LOCAL, protocol, scope, _RTN_LOCAL, 0
    )  # fmt: skip
    return (
        header
        + netlink.attribute(_RTA_DST, packed)
        + netlink.attribute(_RTA_OIF, struct.pack("=I", index))
        + (netlink.attribute(_RTA_PREFSRC, _packed(family, source)) if source else b"")
    )
