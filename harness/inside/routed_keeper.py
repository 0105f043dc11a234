"""The keeper of a lab whose hosts have network namespaces of their own, with a router between them.

The keeper itself stays in the router's namespace; in each host's, a process keeps it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

from harness.errors import LabError, LabUnavailable
from harness.evidence import conntrack, ring
from harness.inside.installed import find_program
from harness.inside.keeper import Keeper, add_rule, trial
from harness.inside.network_keeper import Reply
from harness.kernel import namespace, sysctls
from harness.network import addresses, kinds, routed

_ETH0 = "eth0"
"""A host's end of its link."""

_CARRIER_WITHIN_S, _CARRIER_POLL_S = 5.0, 0.005


class RoutedKeeper(Keeper):
    """The commands of a lab with a router between its hosts; the keeper itself is in the router's namespace."""

    network = kinds.ROUTED
    dropping_hook = "postrouting"
    rejecting_hook = "forward"

    def _set_up_network(self) -> tuple[addresses.Family, ...]:
        self._router = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(LabError):  # the hosts' socket tables are small, too (inside/nursery.py)
            sysctls.write(sysctls.Setting("net.ipv4.tcp_child_ehash_entries", "1024"))
        self._anchors = {host: _anchor() for host in routed.HOSTS}
        _run_ip(routed.of_router(self._anchors))
        for host in routed.HOSTS:
            with self._at(host):
                _run_ip(routed.of_host(host))
        return tuple(addresses.ADDRESSES)

    def _apply(self, profile: list[sysctls.Setting]) -> None:
        self._profile = profile
        for place in self.places:
            self.not_set, self.refused = [], []  # the same in each
            with self._at(place):
                super()._apply(profile)
        for key in routed.FORWARDING:
            sysctls.write(sysctls.Setting(key, "1"))

    def _open_capture(self) -> socket.socket:
        return ring.open_capture("")

    def forward_rule(self, rule: str) -> Reply:
        """Add a rule for what the router forwards. LabUnavailable without nft, LabError if the rule is wrong."""
        return add_rule(f"lab forward {rule}", repr(rule))

    def nat(self, chain: str, rule: str) -> Reply:
        """Add a rule to the router's NAT. LabUnavailable without nft or its NAT, LabError if the rule is wrong."""
        if chain not in _NAT_CHAINS:
            raise LabError(f"the router has no NAT chain {chain!r}. Hint: use one of {', '.join(_NAT_CHAINS)}")
        modules = "nft_chain_nat, nft_nat and nft_masq"
        return add_rule(f"nat {chain} {rule}", repr(rule), trial("nat", "masquerade"), modules, _NFT_NAT)

    def conntrack(self) -> Reply:
        """The connections that the router tracks. LabUnavailable without ctnetlink."""
        try:
            return conntrack.read(), ()
        except OSError as error:
            raise LabUnavailable(f"conntrack cannot be read: {error.strerror}", "load nf_conntrack_netlink") from None

    def set_mtu(self, host: str, mtu: int) -> Reply:
        """The MTU of the router's end of the link to a host, in bytes."""
        _run_ip(f"link set {self._place(host)} mtu {mtu}\n")
        return None, ()

    def link_down(self, host: str, on: str) -> Reply:
        """Set one end of a host's link down, and wait until the other end has noticed that it has no carrier."""
        with self._end(host, on) as device:
            _run_ip(routed.link_down(device))
        self._await_ends(host, "DOWN")
        return None, ()

    def link_up(self, host: str, on: str) -> Reply:
        """Set that end up again, with its addresses, routes and neighbours, and wait until both can send."""
        with self._end(host, on) as device:
            _run_ip(routed.link_up(self._place(host), router=device != _ETH0))
        self._await_ends(host, "UP")
        return None, ()

    def lose_neighbour(self, host: str) -> Reply:
        """Let the router ask for a host's link address in vain."""
        _run_ip(routed.lose_neighbour(self._place(host)))
        return None, ()

    def fail_over(self) -> Reply:
        """Add the standby, and lead what is for the server's address to it."""
        if routed.STANDBY in self._anchors:
            raise LabError("the standby has the server's address already. Hint: fail over once in a story")
        pid = self._anchors[routed.STANDBY] = _anchor()
        self._spare_actors[routed.STANDBY] = []
        sysctls.write(sysctls.Setting(routed.JOINING, "0"))
        _run_ip(routed.to_host(routed.STANDBY, pid))
        with self._at(routed.STANDBY):
            _run_ip(routed.of_host(routed.STANDBY))
            super()._apply(self._profile)
        self._await_ends(routed.STANDBY, "UP")
        return None, ()

    def _place(self, on: str) -> str:
        return on if on == routed.STANDBY and on in self._anchors else super()._place(on)

    @contextlib.contextmanager
    def _end(self, host: str, on: str) -> Iterator[str]:
        """The name of one end of a host's link, in the namespace of `on`, which has that end."""
        link, place = self._place(host), self._place(on)
        if link not in self._anchors or place not in (link, self.places[0]):
            ends = " or ".join(self.places[:1] + ((link,) if link in self._anchors else ()))
            raise LabError(f"the {on} is at no end of a link to the {host}. Hint: name a host, and on= {ends}")
        with self._at(place):
            yield _ETH0 if place == link else link

    def _await_ends(self, host: str, state: str) -> None:
        """The kernel notices a lost carrier from a work queue, up to 1 s later (net/core/link_watch.c).

        Until then the device takes packets. Since commit facd15dfd691 ("net: core: synchronize link-watch when carrier
        is queried"), to ask for its state is enough.
        """
        deadline = time.monotonic() + _CARRIER_WITHIN_S
        for on in (self.places[0], host):
            with self._end(host, on) as device:
                while _run_ip(f"link show dev {device}\n").partition(" state ")[2].split()[0] != state:
                    if time.monotonic() > deadline:
                        raise LabError(f"the {on}'s end of the link to the {host} does not get {state}")
                    time.sleep(_CARRIER_POLL_S)

    def _pid_at(self, place: str) -> int:
        return self._anchors.get(place) or os.getpid()

    @contextlib.contextmanager
    def _at(self, place: str) -> Iterator[None]:
        if place not in self._anchors:
            yield
            return
        namespace.enter(self._anchors[place], namespace.CLONE_NEWNET)
        try:
            yield
        finally:
            namespace.enter_open(self._router, namespace.CLONE_NEWNET)


_NAT_CHAINS = {"srcnat": "postrouting", "dstnat": "prerouting"}
"""The chains for NAT, each with its hook; they are called as nft calls their priorities."""

_NFT_NAT = "add table inet nat\n" + "".join(
    f"add chain inet nat {chain} {{ type nat hook {hook} priority {chain}; }}\n" for chain, hook in _NAT_CHAINS.items()
)
"""A table of its own, which restore() leaves alone."""


def _anchor() -> int:
    """A process that only keeps a network namespace of its own, until the keeper ends; returns its PID."""
    theirs, ours = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            namespace.unshare(namespace.CLONE_NEWNET)
            theirs.send(b"1")
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            while True:
                signal.pause()
        finally:
            os._exit(1)
    theirs.close()
    with ours:
        if not ours.recv(1):
            raise LabUnavailable("a host's network namespace cannot be made", "raise user.max_net_namespaces")
    return pid


def _run_ip(commands: str) -> str:
    """Run commands of ip(8), and return their output."""
    command = [find_program("ip", "iproute2"), "-batch", "-"]
    done = subprocess.run(command, input=commands, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    if done.returncode:
        raise LabUnavailable(f"ip fails here: {done.stderr.strip()}", "load the module veth")
    return done.stdout
