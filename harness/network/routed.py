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

STANDBY = "standby"
"""A host that is added only when it takes over the server's address."""

_ADDRESSES_OF = {**HOSTS, STANDBY: (SERVER,)}

LINKS = {2: CLIENT, 3: SERVER, 4: STANDBY}
"""The router's interfaces by index, and the host at the other end of each, after which it is named."""

FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
"""The sysctls that make the router one."""

JOINING = "net.ipv6.conf.default.forwarding"
"""If 1, a router joins a group on each new link, and sends a report of that (ipv6_add_dev)."""

_NEIGHBOUR_TABLES = ("arp_cache", "ndisc_cache")
_PREFIX = {4: 32, 6: 128}
_ANY = {4: "0.0.0.0/0", 6: "::/0"}
_LINK = "arp off multicast off addrgenmode none up"


def of_router(pids: dict[str, int]) -> str:
    """For the router's namespace, with the PID of a process in each host's."""
    lines = ["link set lo up"]
    lines += [f"address add {ROUTER[family]}/{_PREFIX[family]} dev lo{_nodad(family)}" for family in ADDRESSES]
    return "\n".join([*lines, *(to_host(host, pid) for host, pid in pids.items())])


def to_host(host: str, pid: int) -> str:
    """For the router's namespace: a link to a host, and routes through it to the addresses that the host has."""
    [index] = (index for index, name in LINKS.items() if name == host)
    ends = f"address {_mac(host, router=True)} type veth peer name eth0 address {_mac(host)} netns {pid}"
    return "\n".join([f"link add {host} index {index} {ends}", *_link_to(host), ""])


def of_host(host: str) -> str:
    """For a host's namespace, once the router's commands have run."""
    return "\n".join(["link set lo up", *_link_of(host), ""])


def link_down(device: str) -> str:
    """For one end of a link. It loses its routes, and a host's also its IPv6 address; the other end keeps them."""
    return f"link set {device} down\n"


def link_up(host: str, *, router: bool) -> str:
    """For one end of a host's link, the router's or the host's own: it gets back what link_down() took from it."""
    return "\n".join([*(_link_to if router else _link_of)(host), ""])


def lose_neighbour(host: str) -> str:
    """For the router: it forgets a host's link address, and asks for it once, for 0.1 s; no host here ever answers.

    Switching ARP on makes the kernel forget all entries of the device (arp_netdev_event, ndisc_netdev_event).
    """
    tables = [f"ntable change name {table} dev {host} retrans 100 mcast_probes 1" for table in _NEIGHBOUR_TABLES]
    return "\n".join([f"link set {host} arp on", *tables, ""])


def _link_to(host: str) -> list[str]:
    """The router's end of a link, and what depends on its being up."""
    lines = [f"link set {host} {_LINK}"]
    for name in _ADDRESSES_OF[host]:
        for of in ADDRESSES.values():
            lines += [f"route replace {of[name]} dev {host}", _neighbour(of[name], _mac(host), host)]
    return lines


def _link_of(host: str) -> list[str]:
    """The host's end of its link, and what depends on its being up."""
    lines = [f"link set eth0 {_LINK}"]
    for family, of in ADDRESSES.items():
        lines += [
            f"address replace {of[name]}/{_PREFIX[family]} dev eth0{_nodad(family)}" for name in _ADDRESSES_OF[host]
        ]
        lines += [
            _neighbour(ROUTER[family], _mac(host, router=True), "eth0"),
            f"route replace {_ANY[family]} via {ROUTER[family]} dev eth0 onlink",
        ]
    return lines


def _nodad(family: int) -> str:
    return " nodad" if family == 6 else ""


def _neighbour(host: str, mac: str, device: str) -> str:
    return f"neigh replace {host} lladdr {mac} dev {device} nud permanent"


def _mac(host: str, *, router: bool = False) -> str:
    """A locally administered address (IEEE 802, the second bit)."""
    return f"02:00:00:00:{int(router):02}:{list(_ADDRESSES_OF).index(host) + 1:02}"
