"""The keeper of a lab whose hosts have network namespaces of their own, with a router between them.

The keeper itself stays in the router's namespace; in each host's, a process keeps it.
"""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator

from harness.errors import LabError, LabUnavailable
from harness.evidence import conntrack, ring
from harness.inside.installed import find_program
from harness.inside.keeper import Keeper, add_rule, run_nft
from harness.inside.network_keeper import Reply
from harness.kernel import namespace, sysctls
from harness.network import addresses, kinds, routed


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
        return add_rule("forward", rule, "")

    def nat(self, chain: str, rule: str) -> Reply:
        """Add a rule to the router's NAT. LabUnavailable without nft or its NAT, LabError if the rule is wrong."""
        if chain not in _NAT_CHAINS:
            raise LabError(f"the router has no NAT chain {chain!r}. Hint: use one of {', '.join(_NAT_CHAINS)}")
        if trouble := run_nft(f"{_NFT_NAT}add rule inet nat {chain} {rule}\n"):
            if run_nft(f"{_NFT_NAT}{_NFT_NAT_TRIAL}"):
                raise LabUnavailable(f"nft fails here: {trouble}", "load nft_chain_nat, nft_nat and nft_masq")
            raise LabError(f"nft refuses {rule!r}. Hint: correct the rule (man nft):\n{trouble}")
        return None, ()

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

_NFT_NAT_TRIAL = """
add chain inet nat trial
add rule inet nat trial masquerade
flush chain inet nat trial
delete chain inet nat trial
"""


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


def _run_ip(commands: str) -> None:
    command = [find_program("ip", "iproute2"), "-batch", "-"]
    done = subprocess.run(command, input=commands, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    if done.returncode:
        raise LabUnavailable(f"ip fails here: {done.stderr.strip()}", "load the module veth")
