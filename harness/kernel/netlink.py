"""Netlink, as little as two users need: addresses on `lo`, and the socket table.

pyroute2 says the same in more words, and costs 250 ms of import in each worker (README, "Alternatives considered").
"""

import os
import socket
import struct
from collections.abc import Iterator

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_CREATE = 0x100, 0x400
_NLM_F_DUMP_INTR = 0x10
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_RECEIVE_BYTES = 1 << 17


class DumpInterrupted(Exception):
    """The table changed while it was read (NLM_F_DUMP_INTR): read it again."""


def attribute(kind: int, value: bytes) -> bytes:
    """One `struct rtattr`, padded to four bytes."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def ask(sock: socket.socket, kind: int, flags: int, body: bytes) -> Iterator[bytes]:
    """Send one request and yield the body of each answer, up to the acknowledgement or the end of the dump.

    Raises OSError with the kernel's errno, DumpInterrupted where a dump is torn.
    """
    sock.send(_HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, 0, 0) + body)
    torn = False
    while True:
        data = sock.recv(_RECEIVE_BYTES)
        offset = 0
        while offset < len(data):
            length, answer, answer_flags, _, _ = _HEADER.unpack_from(data, offset)
            content = data[offset + _HEADER.size : offset + length]
            offset += length + (-length % 4)
            torn = torn or bool(answer_flags & _NLM_F_DUMP_INTR)
            if answer in (_NLMSG_ERROR, _NLMSG_DONE):
                (negated_errno,) = struct.unpack_from("=i", content) if len(content) >= 4 else (0,)
                if negated_errno < 0:
                    raise OSError(-negated_errno, os.strerror(-negated_errno))
                if torn:
                    raise DumpInterrupted
                return
            yield content
