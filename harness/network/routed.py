"""Two hosts with a router between them, each in a network namespace of its own: client ── router ── server.

The commands of ip(8) that make it. The keeper's namespace is the router: it has one end of each link, named after the
host, and its own addresses on `lo`; a host calls its end eth0. The hosts have the addresses that they have on loopback;
the other server is a second address of the server.

Nothing is ever sent but what actors and the router send: neighbours are permanent entries (no ARP, no neighbour
discovery), and there are no multicast groups (no MLD) and no link-local addresses (no router solicitation).
"""

from harness.network.addresses import ADDRESSES, CLIENT, OTHER_SERVER, ROUTER, SERVER

HOSTS = {CLIENT: (CLIENT,), SERVER: (SERVER, OTHER_SERVER)}
"""The names of the addresses of each host."""

LINKS = {2: CLIENT, 3: SERVER}
"""The router's interfaces by index, and the host at the other end of each, after which it is named."""

FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
"""The sysctls that make the router one."""

_PREFIX = {4: 32, 6: 128}
_ANY = {4: "0.0.0.0/0", 6: "::/0"}
_LINK = "arp off multicast off addrgenmode none up"


def of_router(pids: dict[str, int]) -> str:
    """For the router's namespace, with the PID of a process in each host's."""
    lines = ["link set lo up"]
    lines += [f"address add {ROUTER[family]}/{_PREFIX[family]} dev lo{_nodad(family)}" for family in ADDRESSES]
    for index, host in LINKS.items():
        pid = pids[host]
        ends = f"address {_mac(host, router=True)} type veth peer name eth0 address {_mac(host)} netns {pid}"
        lines += [f"link add {host} index {index} {ends}", f"link set {host} {_LINK}"]
        for name in HOSTS[host]:
            for of in ADDRESSES.values():
                lines += [f"route add {of[name]} dev {host}", _neighbour(of[name], _mac(host), host)]
    return "\n".join([*lines, ""])


def of_host(host: str) -> str:
    """For a host's namespace, once the router's commands have run."""
    lines = ["link set lo up", f"link set eth0 {_LINK}"]
    for family, of in ADDRESSES.items():
        lines += [f"address add {of[name]}/{_PREFIX[family]} dev eth0{_nodad(family)}" for name in HOSTS[host]]
        lines += [
            _neighbour(ROUTER[family], _mac(host, router=True), "eth0"),
            f"route add {_ANY[family]} via {ROUTER[family]} dev eth0 onlink",
        ]
    return "\n".join([*lines, ""])


def _nodad(family: int) -> str:
    return " nodad" if family == 6 else ""


def _neighbour(host: str, mac: str, device: str) -> str:
    return f"neigh add {host} lladdr {mac} dev {device} nud permanent"


def _mac(host: str, *, router: bool = False) -> str:
    """A locally administered address (IEEE 802, the second bit)."""
    return f"02:00:00:00:{int(router):02}:{list(HOSTS).index(host) + 1:02}"
