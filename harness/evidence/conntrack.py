"""The TCP connections that a router tracks, read from ctnetlink (the same source as `conntrack -L`).

A dump leaves out an entry whose time is over, and deletes it (net/netfilter/nf_conntrack_netlink.c,
ctnetlink_dump_table: nf_ct_is_expired). Otherwise such an entry stays, and is counted (nf_conntrack_count), until a
segment's lookup or the garbage collection, which may take a minute to come by, finds it.
"""

import socket
import struct
from dataclasses import dataclass

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

        def rows() -> list[Tracked]:
            answers = netlink.ask(table, _CT_GET, netlink.NLM_F_DUMP, _NFGENMSG.pack(0, 0, 0))
            return [tracked for tracked in map(decode, answers) if tracked]

        return netlink.undisturbed(rows, "conntrack's table", "less load")


def decode(row: bytes) -> Tracked | None:
    """Decode one entry; None if it is not of TCP."""
    fields = netlink.attributes(row[_NFGENMSG.size :])
    forth, back = netlink.attributes(fields[_TUPLE_ORIG]), netlink.attributes(fields[_TUPLE_REPLY])
    if netlink.attributes(forth[_TUPLE_PROTO])[_PROTO_NUM][0] != socket.IPPROTO_TCP:
        return None
    number = netlink.attributes(netlink.attributes(fields[_PROTOINFO])[_PROTOINFO_TCP])[_PROTOINFO_TCP_STATE][0]
    state = _STATES[number] if number < len(_STATES) else f"state {number}"
    (expires_s,) = struct.unpack("!I", fields.get(_TIMEOUT, bytes(4)))
    return Tracked(state, *_endpoints(forth), *_endpoints(back), expires_s)


def _endpoints(of_tuple: dict[int, bytes]) -> tuple[Endpoint, Endpoint]:
    """Source and destination."""
    addresses, protocol = netlink.attributes(of_tuple[_TUPLE_IP]), netlink.attributes(of_tuple[_TUPLE_PROTO])
    family, kinds = (socket.AF_INET, _IPV4) if _IPV4[0] in addresses else (socket.AF_INET6, _IPV6)
    hosts = [socket.inet_ntop(family, addresses[kind]) for kind in kinds]
    ports = [int.from_bytes(protocol[kind]) for kind in _PROTO_PORTS]
    return (hosts[0], ports[0]), (hosts[1], ports[1])
