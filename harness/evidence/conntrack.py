"""The TCP connections that a router tracks, read from ctnetlink (the same source as `conntrack -L`).

A dump leaves out an entry whose time is over, and deletes it (net/netfilter/nf_conntrack_netlink.c,
ctnetlink_dump_table: nf_ct_is_expired). Otherwise such an entry stays, and is counted (nf_conntrack_count), until a
segment's lookup or the garbage collection, which may take a minute to come by, finds it.
"""

import contextlib
import socket
import struct
from dataclasses import dataclass

from harness.errors import Inconclusive
from harness.evidence.sockets import Endpoint
from harness.kernel import netlink

_NETLINK_NETFILTER = 12
_CT_GET = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_NFGENMSG = struct.Struct("=BBH")  # family (0: each), version, resource
# include/uapi/linux/netfilter/nfnetlink_conntrack.h
_TUPLE_ORIG, _TUPLE_REPLY, _PROTOINFO, _TIMEOUT = 1, 2, 4, 7
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IPV4, _IPV6 = (1, 2), (3, 4)
_PROTO_NUM, _PROTO_PORTS = 1, (2, 3)
_PROTOINFO_TCP, _PROTOINFO_TCP_STATE = 1, 1
_TYPE = 0x3FFF
_MAX_READS = 100

_STATES = ("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
           "SYN_SENT2")  # fmt: skip
"""As `conntrack -L` names them, by number (enum tcp_conntrack)."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """One entry: its state, from where to where it was opened, and how its answers come. Times in whole seconds.

    Without NAT, `answers_to` is `source`; with source NAT, it is the router's address and port.
    """

    state: str
    source: Endpoint
    destination: Endpoint
    answers_from: Endpoint
    answers_to: Endpoint
    expires_s: int


def read() -> list[Tracked]:
    """Each TCP connection that this process's network namespace tracks. Inconclusive if every read is interrupted."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as table:
        for _ in range(_MAX_READS):
            with contextlib.suppress(netlink.DumpInterrupted):
                rows = netlink.ask(table, _CT_GET, netlink.NLM_F_DUMP, _NFGENMSG.pack(0, 0, 0))
                return [tracked for tracked in map(decode, rows) if tracked]
    raise Inconclusive(
        f"conntrack's table changed during each of {_MAX_READS} reads. Hint: run it again with less load"
    )


def decode(row: bytes) -> Tracked | None:
    """Decode one entry; None if it is not of TCP."""
    fields = _attributes(row[_NFGENMSG.size :])
    forth, back = _attributes(fields[_TUPLE_ORIG]), _attributes(fields[_TUPLE_REPLY])
    if _attributes(forth[_TUPLE_PROTO])[_PROTO_NUM][0] != socket.IPPROTO_TCP:
        return None
    number = _attributes(_attributes(fields[_PROTOINFO])[_PROTOINFO_TCP])[_PROTOINFO_TCP_STATE][0]
    state = _STATES[number] if number < len(_STATES) else f"state {number}"
    (expires_s,) = struct.unpack("!I", fields.get(_TIMEOUT, bytes(4)))
    return Tracked(state, *_endpoints(forth), *_endpoints(back), expires_s)


def _endpoints(of_tuple: dict[int, bytes]) -> tuple[Endpoint, Endpoint]:
    """Source and destination."""
    addresses, protocol = _attributes(of_tuple[_TUPLE_IP]), _attributes(of_tuple[_TUPLE_PROTO])
    family, kinds = (socket.AF_INET, _IPV4) if _IPV4[0] in addresses else (socket.AF_INET6, _IPV6)
    hosts = [socket.inet_ntop(family, addresses[kind]) for kind in kinds]
    ports = [int.from_bytes(protocol[kind]) for kind in _PROTO_PORTS]
    return (hosts[0], ports[0]), (hosts[1], ports[1])


def _attributes(data: bytes) -> dict[int, bytes]:
    """The `struct nlattr`s of a message, or those nested in one, by type."""
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        found[kind & _TYPE] = data[at + 4 : at + length]
        at += max(4, length + (-length % 4))
    return found
