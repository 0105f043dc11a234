"""The family of sockets for which a role names none: the lab's.

A role says socket.socket(), socket.create_server(address) or SimpleXMLRPCServer(address), which mean IPv4 everywhere
else, and is played over IPv6 without a change. create_connection(), getaddrinfo() and asyncio go by the address anyway.
"""

import functools
import socket
import sys


def use(family: socket.AddressFamily) -> None:
    """Make this family the default in this process."""
    if family == socket.AF_INET:  # it is Python's own
        return

    default = family

    class Socket(socket.socket):
        """A socket of that family, if none is named."""

        __slots__ = ()

        def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
            super().__init__(default if (family, fileno) == (-1, None) else family, type, proto, fileno)

    socket.socket = Socket  # type: ignore[misc]
    socket.create_server = functools.partial(socket.create_server, family=family)
    if "socketserver" in sys.modules:  # its servers name IPv4 themselves
        sys.modules["socketserver"].TCPServer.address_family = family
