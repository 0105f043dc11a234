"""The plainest roles, for a story whose subject is something else: `from harness.stock_roles import listen, call`.

They are what a scenario would write itself: socket code, and a `yield` for each step. Below them is what roles of
several scenarios do.
"""

import os
import resource
import socket
import struct
from collections.abc import Iterator

Address = tuple[str, int]


def listen(address: Address, backlog: int = 128) -> Iterator[str]:
    """Listen, and never call accept(). Step: "listening"."""
    listener = socket.create_server(address, backlog=backlog)
    yield "listening"
    listener.close()


def accept(address: Address, backlog: int = 128) -> Iterator[str]:
    """Accept one connection after the other and keep them all open. Steps: "listening"; "accepted", each time."""
    listener = socket.create_server(address, backlog=backlog)
    yield "listening"
    connections = []
    while True:
        connections.append(listener.accept())
        yield "accepted"


def serve(address: Address) -> Iterator[str]:
    """Accept, read to the end, close; then the next connection. Steps: "listening"; "accepted", "closed", each time."""
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        while connection.recv(65536):
            pass
        connection.close()
        yield "closed"


def close_first(address: Address) -> Iterator[str]:
    """Accept, shut the sending side down, wait for the client's end, close; then the next connection.

    Steps: "listening"; "accepted", "half closed", "closed", each time.
    """
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        connection.shutdown(socket.SHUT_WR)
        yield "half closed"
        connection.recv(1)
        connection.close()
        yield "closed"


def call(address: Address, port: int = 0) -> Iterator[str]:
    """Connect (from `port`, if it is not 0), shut the sending side down, close. Steps: "connected", "half closed"."""
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    connection.close()


def leave_fds(count: int) -> None:
    """Lower this process's RLIMIT_NOFILE so that it can open `count` more file descriptors. At least one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = [os.dup(0) for _ in range(count)]  # the lowest numbers that are free
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare[-1] + 1, most))
    for number in spare:
        os.close(number)


def reset_on_close(connection: socket.socket) -> None:
    """Set SO_LINGER with 0 seconds: close() sends RST, whatever the queues hold (__tcp_close, socket(7))."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def has_ended(connection: socket.socket) -> bool:
    """Whether the peer has closed and everything before that is read: recv() with MSG_PEEK returns 0 bytes."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False


def rto_us(connection: socket.socket) -> int:
    """The current retransmission timeout in microseconds (tcpi_rto in include/uapi/linux/tcp.h)."""
    (rto,) = struct.unpack_from("8xI", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 12))
    return int(rto)
