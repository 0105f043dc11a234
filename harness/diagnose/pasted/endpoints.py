"""Addresses and ports as `ss` and `netstat` print them."""

from harness.evidence.sockets import Endpoint, host_of_text

_PORTS = 1 << 16


def parse(text: str) -> Endpoint | str:
    """HOST:PORT, or why it is not one. "*" is "::" as a host (a listener for both families) and 0 as a port.

    Brackets and scope ids are dropped: [fe80::1]%eth0:80 and [fe80::1%eth0]:80 are ("fe80::1", 80).
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        return "an address without a port"
    if port == "*":
        port = "0"
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < _PORTS):
        return "a port that is not a number. Hint: use -n"
    host = host.partition("%")[0].strip("[]")
    address = "::" if host == "*" else host_of_text(host)
    return (address, int(port)) if address else "a host that is not an address, or is cut off. Hint: use -n (and -W)"
