"""The plainest roles, for a story whose subject is something else: `from harness.stock_roles import listen, call`.

They are what a scenario would write itself: socket code, and a `yield` for each step. Below them is what roles of
several scenarios do.
"""

import os
import resource
import socket
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
