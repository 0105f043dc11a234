"""One run: a private network, its actors and all its evidence. Opens everything, and closes it in reverse order."""

import contextlib
import inspect
import pickle
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import stock_roles
from harness.errors import LabError, LabUnavailable
from harness.evidence import wire
from harness.evidence.sockets import Endpoint
from harness.evidence.starvation import Gap
from harness.evidence.wire import Segment
from harness.inside.channel import MESSAGE_LIMIT, Channel
from harness.inside.installed import find_program
from harness.kernel import processors
from harness.lab.actor import Actor, check_role
from harness.lab.nursery import Nursery
from harness.lab.observer import Observer
from harness.lab.program import Program
from harness.lab.watch import Watch
from harness.network import addresses, kinds
from harness.predict import timers
from harness.story.timeline import Change, Timeline

__tracebackhide__ = True

FIRST_SERVER_PORT = 8000
_RESERVED_PORTS = "net.ipv4.ip_local_reserved_ports"
_ARGUMENTS_LIMIT = MESSAGE_LIMIT - 4096


class Lab(Observer):
    """What a scenario uses: the methods here start and change things, those of Observer look at them."""

    def __init__(self, nursery: Nursery, roles_from: str, allowance_s: float, network: str = kinds.LOOPBACK) -> None:
        port = FIRST_SERVER_PORT + nursery.slot
        self.family = nursery.family
        """4 or 6: the version of IP that this story is played over."""
        hosts = addresses.ADDRESSES[self.family]
        self.server_address: Endpoint = (hosts[addresses.SERVER], port)
        self.other_server_address: Endpoint = (hosts[addresses.OTHER_SERVER], port)
        self.loopback_address: Endpoint = (addresses.LOOPBACK[self.family], port)
        """For sysctls that treat loopback otherwise (tcp_tw_reuse=2): the hosts' addresses do not count as loopback."""
        self._roles_from = roles_from
        self._processors = nursery.processors
        self._actors: list[Actor | Program] = []
        self._rejects = False
        keeper = nursery.open_lab(roles_from, network=network)
        self.pinned: set[str] = set()
        """The sysctls that the story itself has set: this run did not use the profile's values for them."""
        self.not_set = keeper.not_set
        """Keys of the profile that a network namespace does not have on this kernel, or that cannot be set in one."""
        self.refused = keeper.refused
        """Lines of the profile, as KEY = VALUE, that the kernel refused."""
        with contextlib.ExitStack() as opened:
            opened.callback(keeper.close)
            timeline = Timeline(time.monotonic_ns(), routed=network == kinds.ROUTED)
            watch = Watch(keeper, nursery.events, port, timeline, nursery.processors)
            opened.callback(watch.close)
            super().__init__(keeper, watch, timeline, allowance_s)
            opened.pop_all()

    def client_address(self, port: int) -> Endpoint:
        """The client's host with any port: nothing else uses ports in this network."""
        return addresses.ADDRESSES[self.family][addresses.CLIENT], port

    def server_address_over(self, family: addresses.Family) -> Endpoint:
        """The server's address of either family, for stories that use both at once. LabUnavailable without IPv6."""
        if family == 6 and not self.sysctl("net.ipv6.bindv6only", default=""):
            raise addresses.no_ipv6()
        return addresses.ADDRESSES[family][addresses.SERVER], self.server_address[1]

    def from_host(self, end: str) -> str:
        """What a host sends, as the match of a rule for drop(), in this lab's family."""
        return addresses.sent_by(end, self.family)

    def start(
        self, role: Callable[..., Any], *arguments: Any, name: str | None = None, to: str | None = None, on: str = ""
    ) -> Actor:
        """Start a process that plays `role`, a generator function; it does nothing until a verb resumes it.

        `on`: the host that it runs on, which must be given if hosts have namespaces of their own.

        The role is defined in the scenario's own file, or in harness/stock_roles.py. With `to`, also run it to that
        step.
        """
        check_role(role, arguments)
        path = inspect.getsourcefile(role) or ""
        if path not in (self._roles_from, stock_roles.__file__):
            raise LabError(
                f"{role.__qualname__} is defined in {path}. Hint: define it in the scenario's own file, or use one of "
                "harness/stock_roles.py"
            )
        title = self._free_name(name or role.__name__)
        pid, (channel, pidfd, output) = self._keeper.ask_for_fds(
            "start_role", path=path, role=role.__qualname__, arguments=_pickled(arguments), title=title, on=self._on(on)
        )
        actor = Actor(role, arguments, Channel.from_fd(channel), title, self, self._keeper, pid, pidfd, output)
        self._actors.append(actor)
        if to:
            actor.run_to(to)
        return actor

    def run_program(self, argv: list[str], name: str | None = None, on: str = "") -> Program:
        """Start a real program in the lab. LabUnavailable, with the package's name, if it is not installed."""
        argv = [find_program(argv[0]), *argv[1:]]
        pid, (pidfd, output) = self._keeper.ask_for_fds("start_program", argv=argv, on=self._on(on))
        program = Program(self._free_name(name or Path(argv[0]).name), self, self._keeper, pid, pidfd, output)
        self._actors.append(program)
        return program

    def _on(self, host: str) -> str:
        """The host that an actor runs on; on loopback, where all are in one place, none need be named."""
        if not host and self._keeper.network != kinds.LOOPBACK:
            raise LabError(f"on which host? Hint: on= one of {kinds.hosts_of(self._keeper.network)}")
        return host or addresses.CLIENT

    def never_moved(self) -> list[str]:
        """The names of the actors that no verb has resumed yet."""
        return [actor.name for actor in self._actors if isinstance(actor, Actor) and not actor.moved]

    def check_played(self) -> None:
        """LabError if actors were started but none was ever resumed: such a play shows nothing."""
        if self._actors and len(unmoved := self.never_moved()) == len(self._actors):
            raise LabError(
                f"nothing was played: {', '.join(unmoved)} started, but never run. "
                'Hint: run an actor, for example with run_to("listening")'
            )

    def _free_name(self, name: str) -> str:
        taken = {actor.name for actor in self._actors}
        free, number = name, 1
        while free in taken:
            number += 1
            free = f"{name} {number}"
        return free

    def folder(self) -> str:
        """The path of an empty folder in memory, for programs that need files: only actors started later can see it.

        It is a file system in the lab's own mount namespace, so it disappears with the lab, however the lab ends.
        """
        path: str = self._keeper.ask("folder")
        return path

    def write_file(self, name: str, text: str) -> str:
        """Write a file into folder(), for a program to read, and return its path."""
        path: str = self._keeper.ask("write_file", name=name, text=text)
        return path

    def provoke(self, segment: Segment, payload: bytes = b"") -> None:
        """Send a made-up segment, to prove by the answer what the kernel remembers or has forgotten.

        It carries a mark, so that a rule can spare it: "meta mark 0" matches what the kernel itself has sent.

        The first call in a worker takes 300 ms to import scapy, so do not make it while a timer is measured.
        """
        host, port = segment.destination
        data = wire.build(segment.source, segment.destination, segment.flags, segment.seq, segment.ack, payload)
        with processors.only(self._processors):  # so that the marks follow it in the same queues (evidence/ring.py)
            sender = addresses.HOSTS.get(segment.source[0], addresses.CLIENT)
            self._keeper.place_of(sender).raw.sendto(data, (host, 0))
        to = f"{addresses.name_of(host)}:{port}"
        self.record(Change(time.monotonic_ns(), f"provoked: {segment.flags} to {to}"))

    def set_sysctl(self, key: str, value: object, *, optional: bool = False, on: str = "") -> None:
        """Set a sysctl in this lab's network only, and record the change. LabError for a key that does not exist.

        `on`: of this host alone; otherwise of all. With `optional`, a key that does not exist is ignored.
        """
        if optional and not self.sysctl(key, default="", on=on):
            return
        self._keeper.ask("write_sysctl", key=key, value=str(value), on=on)
        self.pinned.add(key)
        self.timeline.add(Change(time.monotonic_ns(), f"{f'{on}: ' if on else ''}{key} = {value}"))

    def require_sysctl(self, key: str, since: str) -> None:
        """LabUnavailable if this kernel does not have the key, for stories that are about it. `since`: "Linux 5.14"."""
        if not self.sysctl(key, default=""):
            raise LabUnavailable(f"this kernel has no {key}", f"use {since} or later")

    def protect_time_wait_from_late_acks(self) -> None:
        """Let no RST end a TIME_WAIT (tcp_rfc1337 = 1), for stories that expect one and close both ends at once.

        Each processor queues what it receives (enqueue_to_backlog), so an earlier ACK may be handled after the last
        one, when its receiver is already CLOSED. That end answers with RST, and RST ends TIME_WAIT (RFC 1337).
        """
        self.set_sysctl("net.ipv4.tcp_rfc1337", 1)

    def set_ephemeral_ports(self, ports: Sequence[int]) -> None:
        """Set the ephemeral port range to ports[0] .. ports[-1], and reserve no port."""
        if self.sysctl(_RESERVED_PORTS):
            self.set_sysctl(_RESERVED_PORTS, "")
        self.pinned.add(_RESERVED_PORTS)
        self.set_sysctl("net.ipv4.ip_local_port_range", f"{ports[0]} {ports[-1]}")

    def sysctl(self, key: str, default: str | None = None, on: str = "") -> str:
        """The current value of a sysctl (the client's, unless `on` names a host); `default` if there is no such key."""
        try:
            value: str = self._keeper.ask("read_sysctl", key=key, on=on)
        except LabError:
            if default is None:
                raise
            return default
        return value

    def rto_max_s(self) -> float:
        """The longest retransmission timeout under the current sysctls, in seconds."""
        return int(self.sysctl("net.ipv4.tcp_rto_max_ms", default=str(round(timers.RTO_MAX_S * 1000)))) / 1000

    def drop(self, match: str) -> None:
        """Drop every arriving segment that matches, in nftables syntax: drop("tcp flags & fin == fin").

        If there is a router, it drops what would leave it, also its own ICMP messages. wire() still shows the segment.
        A second drop() does not replace the first; restore() removes all.
        """
        self._keeper.ask("drop", match=match)
        self.record(Change(time.monotonic_ns(), f"dropped from here on: {match}"))

    def reject(self, match: str, with_: str) -> None:
        """Answer every arriving segment that matches with an error instead of delivering it, as a firewall does.

        `with_` is nft's: reject("tcp dport 9", with_="tcp reset"), or "icmpx type host-unreachable", for both families;
        "icmp type ..." matches IPv4 only, "icmpv6 type ..." IPv6 only. restore() removes it. wire() still shows the
        segment, and RST; icmp_errors() has the ICMP message. That comes back before the sending system call has
        released its socket, which then only notes the error (tcp_v4_err, sock_owned_by_user), unless a timer has sent
        the segment.
        """
        self._keeper.ask("reject", match=match, with_=with_)
        self._rejects = True
        self.record(Change(time.monotonic_ns(), f"rejected with {with_} from here on: {match}"))

    def forward_rule(self, rule: str) -> None:
        """Add a rule of nftables to what the router forwards: "tcp flags syn tcp option maxseg size set rt mtu"."""
        self._keeper.ask("forward_rule", rule=rule)
        self.record(Change(time.monotonic_ns(), f"router: {rule}"))

    def nat(self, chain: str, rule: str) -> None:
        """Add a rule of nftables to the router's NAT: nat("srcnat", f"{lab.from_host('client')} masquerade").

        `chain`: "srcnat" (postrouting) for masquerade and snat, "dstnat" (prerouting) for dnat and redirect. restore()
        does not remove it, as NAT is part of the network. A server then knows its client by the router's address.
        """
        self._keeper.ask("nat", chain=chain, rule=rule)
        self.record(Change(time.monotonic_ns(), f"router: NAT: {rule}"))

    def dnat(self, to: Endpoint) -> Endpoint:
        """Let the router offer a service of a host as its own, by destination NAT, and return the service's address.

        It is the router's own address with the same port. wire() shows each segment as it was sent, and
        wire(arrived=True) as the router has translated it. It lasts: restore() does not remove it.
        """
        host, port = to
        service = addresses.ROUTER[self.family]
        ip = "ip" if self.family == 4 else "ip6"
        self._keeper.ask("nat", chain="dstnat", rule=f"{ip} daddr {service} tcp dport {port} dnat {ip} to {host}")
        name = addresses.HOSTS[host]
        self.record(Change(time.monotonic_ns(), f"router: what is sent to its own address goes to the {name}"))
        return service, port

    def set_mtu(self, host: str, mtu: int) -> None:
        """Set the MTU of the router's end of the link to a host, in bytes: a smaller one than either host knows of."""
        self._keeper.ask("set_mtu", host=host, mtu=mtu)
        self.record(Change(time.monotonic_ns(), f"router: MTU {mtu} towards the {host}"))

    def link_down(self, host: str, on: str) -> None:
        """Set one end of a host's link down ("ip link set eth0 down"): the host's own, or the router's, as `on` names.

        This end loses its routes, so what it would send fails; the router answers with "network unreachable". The other
        end loses its carrier, as if a cable were pulled: it keeps its routes, and what it sends is lost in silence,
        before any capture.
        """
        self._keeper.ask("link_down", host=host, on=on)
        self.record(Change(time.monotonic_ns(), f"{on}: the {host}'s link is down"))

    def link_up(self, host: str, on: str) -> None:
        """Set that end up again, with its addresses, routes and neighbours."""
        self._keeper.ask("link_up", host=host, on=on)
        self.record(Change(time.monotonic_ns(), f"{on}: the {host}'s link is up"))

    def lose_neighbour(self, host: str) -> None:
        """Let the router's ARP (over IPv6, neighbour discovery) for a host stay without an answer, as if it were off.

        It gives up after 0.1 s (1 s by default, three times), and answers with "host unreachable".
        """
        self._keeper.ask("lose_neighbour", host=host)
        self.record(Change(time.monotonic_ns(), f"router: the {host} does not answer ARP"))

    def fail_over(self) -> None:
        """Move the server's address to a host that has none of its connections: on="standby" runs actors there.

        The standby's sysctls are those of the profile, and its counters and sockets are not looked at.
        """
        self._keeper.ask("fail_over")
        self.record(Change(time.monotonic_ns(), "router: the server's address is the standby's from here on"))

    def restore(self) -> None:
        """Let all segments through again, by removing every drop(), reject() and forward_rule()."""
        self._keeper.ask("restore")
        what = "dropped or rejected" if self._rejects else "dropped"
        self._rejects = False
        self.record(Change(time.monotonic_ns(), f"nothing is {what} from here on"))

    def connect_timeout(self, first_s: float = timers.TIMEOUT_INIT_S) -> timers.Interval:
        """How long an unanswered connect() takes under the current sysctls (timers.connect_timeout).

        NotMeasured if that is longer than this run waits.
        """
        interval = timers.connect_timeout(
            int(self.sysctl("net.ipv4.tcp_syn_retries")),
            int(self.sysctl("net.ipv4.tcp_syn_linear_timeouts", default="0")),
            self.rto_max_s(),
            timers.tick_s(),
            first_s,
        )
        return self.skip_if_longer_than_max_wait("connect() without an answer", interval)

    def starvation(self) -> Gap | None:
        """The longest time for which a process of this story waited for a processor; None if within the allowance.

        After a longer wait, timers may have expired that the story did not mean to wait for, so a failure is no
        evidence about the kernel.
        """
        self.note_gap(self._run_delay.lap_s(), "pytest", "since the step before")
        for actor in self._actors:
            actor.note_starvation()
        return self.longest_gap if self.longest_gap.seconds > self.allowance_s else None

    def close(self) -> None:
        """End everything, and wait until it has ended. ExpectationFailed if a role died and no verb has reported it."""
        try:
            for actor in self._actors:
                if isinstance(actor, Actor):
                    actor.raise_unreported_death()
        finally:
            for actor in reversed(self._actors):
                actor.close()
            self._run_delay.close()
            self._watch.close()  # before the keeper's copy, or this process would wait for RCU (packet_release)
            self._keeper.close()


def _pickled(arguments: tuple[Any, ...]) -> bytes:
    try:
        data = pickle.dumps(arguments)
    except Exception as error:
        raise LabError(f"the role's arguments cannot be sent: {error}. Hint: pass plain values") from None
    if len(data) > _ARGUMENTS_LIMIT:
        raise LabError(f"the role's arguments are {len(data)} bytes. Hint: create large data in the role itself")
    return data
