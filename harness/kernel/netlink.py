"""The part of netlink that the lab needs, for addresses on `lo` and for the socket table.

pyroute2 does the same, but takes 250 ms to import in each worker (docs/design.md, "Alternatives considered").
"""

import contextlib
import errno
import itertools
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import TypeVar

from harness.errors import Inconclusive

Row = TypeVar("Row")

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_CREATE = 0x100, 0x400
_NLM_F_DUMP_INTR = 0x10
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_NLA_TYPE_MASK = 0x3FFF
_MAX_READS = 100
"""How often to try to read a table that changes during each read; a read takes about a millisecond."""

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_RECEIVE_BYTES = 1 << 17

_requests = itertools.count(1)
"""Sequence numbers: each answer carries that of its request (netlink(7), nlmsg_seq)."""


class DumpInterrupted(Exception):
    """The table changed while it was read (NLM_F_DUMP_INTR): read it again."""


def attribute(kind: int, value: bytes) -> bytes:
    """One `struct rtattr`, padded to four bytes."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    """The values of the attributes in a message, or of those nested in one, by type (`struct nlattr`)."""
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _NLA_TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += length + (-length % 4)
    return found


def undisturbed(read: Callable[[], list[Row]], table: str, hint: str) -> list[Row]:
    """What read() returns, tried again while the table changes. Inconclusive if it changes during each read."""
    for _ in range(_MAX_READS):
        with contextlib.suppress(DumpInterrupted):
            return read()
    raise Inconclusive(f"{table} changed during each of {_MAX_READS} reads. Hint: run it again with {hint}")


def ask(sock: socket.socket, kind: int, flags: int, body: bytes) -> list[bytes]:
    """Send one request; returns the body of each answer, up to the acknowledgement or the end of the dump.

    An exception (Ctrl-C, pytest-timeout's alarm) may have ended an earlier call in the middle of a dump; answers to
    that call are dropped. Raises OSError with the kernel's errno, DumpInterrupted if the dump is inconsistent.
    """
    while True:
        try:
            return _ask_once(sock, kind, flags, body)
        except OSError as error:
            # A socket has one dump at a time (net/netlink/af_netlink.c, __netlink_dump_start). Each try receives at
            # least one part of the older dump, and the kernel continues that dump only when a part is received.
            if error.errno != errno.EBUSY or flags & NLM_F_DUMP != NLM_F_DUMP:
                raise


def _ask_once(sock: socket.socket, kind: int, flags: int, body: bytes) -> list[bytes]:
    request = next(_requests) % 2**32
    sock.send(_HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, request, 0) + body)
    answers: list[bytes] = []
    is_inconsistent = False
    while True:
        for kind_of_answer, flags_of_answer, answered, content in list(_messages(sock.recv(_RECEIVE_BYTES))):
            if answered != request:
                continue
            is_inconsistent = is_inconsistent or bool(flags_of_answer & _NLM_F_DUMP_INTR)
            if kind_of_answer not in (_NLMSG_ERROR, _NLMSG_DONE):
                answers.append(content)
                continue
            _check(content)
            if is_inconsistent:
                raise DumpInterrupted
            return answers


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and body of each message."""
    offset = 0
    while offset < len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            raise ValueError(f"a netlink message of {length} bytes, shorter than its header")
        yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
        offset += length + (-length % 4)


def _check(content: bytes) -> None:
    """OSError if an acknowledgement, or the end of a dump, carries an error number."""
    (negated_errno,) = struct.unpack_from("=i", content) if len(content) >= 4 else (0,)
    if negated_errno < 0:
        raise OSError(-negated_errno, os.strerror(-negated_errno))
