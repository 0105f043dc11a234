"""The networks that a story can be played on: which network namespaces each has, and which host is in which."""

from harness.network import routed
from harness.network.addresses import CLIENT, OTHER_SERVER, SERVER

LOOPBACK, ROUTED = "loopback", "routed"

PLACES = {LOOPBACK: ("loopback",), ROUTED: ("router", CLIENT, SERVER)}
"""The namespaces, by network; the keeper is in the first one."""

_PLACE_OF = {
    LOOPBACK: dict.fromkeys((CLIENT, SERVER, OTHER_SERVER), "loopback"),
    ROUTED: {"router": "router"} | {name: host for host, names in routed.HOSTS.items() for name in names},
}


def hosts_of(network: str) -> tuple[str, ...]:
    """The names of the hosts of a network."""
    return tuple(_PLACE_OF[network])


def place_of(host: str, network: str) -> str | None:
    """The namespace that a host is in; None if the network has no such host."""
    return _PLACE_OF[network].get(host)
