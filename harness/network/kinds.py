"""The networks that a story can be played on: which network namespaces each has, and which host is in which."""

from harness.errors import LabError
from harness.network import routed
from harness.network.addresses import CLIENT, OTHER_SERVER, SERVER

LOOPBACK, ROUTED = "loopback", "routed"

PLACES = {LOOPBACK: ("loopback",), ROUTED: ("router", CLIENT, SERVER)}
"""The namespaces, by network; the keeper is in the first one."""

_PLACE_OF = {
    LOOPBACK: dict.fromkeys((CLIENT, SERVER, OTHER_SERVER), "loopback"),
    ROUTED: {"router": "router"} | {name: host for host, names in routed.HOSTS.items() for name in names},
}


def hosts_of(network: str) -> str:
    """The names of the hosts of a network, as a list in a sentence."""
    return ", ".join(_PLACE_OF[network])


def place_of(host: str, network: str) -> str:
    """The namespace that a host is in. LabError if the network has no such host."""
    if host not in _PLACE_OF[network]:
        raise LabError(f"this lab has no host {host!r}. Hint: use one of {hosts_of(network)}")
    return _PLACE_OF[network][host]
