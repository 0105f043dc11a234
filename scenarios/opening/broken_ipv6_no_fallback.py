"""If the path over IPv6 drops everything, IPv4 is tried only once connect() over IPv6 times out.

A name has an AAAA and an A record, and getaddrinfo() puts IPv6 first (RFC 6724). To sort them, it
asks for the client's own routes and sends nothing, so an address that drops everything stays first.
A client that tries the addresses in turn, as socket.create_connection() does, waits until
tcp_syn_retries has run out, more than two minutes by default, although the server answers over
IPv4. If its own deadline is shorter, it never comes to IPv4, however often it tries. A refusal does
no such harm: the SYN over IPv4 follows the RST at once.

    client                                       server
    SYN_SENT     ── S, IPv6 ───────╳             dropped on its way
                 ── S, IPv6 ───────╳             retransmitted after 1 s, and dropped
    ETIMEDOUT
    SYN_SENT     ── S, IPv4 ─────────────────▶   SYN_RECV
    ESTABLISHED  ◀──────────────── SA, IPv4 ──
                 ── A, IPv4 ─────────────────▶   ESTABLISHED

Happy Eyeballs (RFC 8305) gives an address 250 ms, then tries the next one as well, and takes the
first that answers. There is no DNS in the lab: the roles get the addresses as arguments, in the
order of RFC 6724.

Sources: RFC 6724, sections 2.1 (::/0 has precedence 40, IPv4 has 35) and 6; RFC 8305, section 5
(RFC 6555 before it); getaddrinfo(3), which in glibc connects a UDP socket to each address and then
sorts them (rfc3484_sort); gai.conf(5). Kernel: tcp_write_timeout in net/ipv4/tcp_timer.c, for both
families. Python: create_connection() in socket.py and in asyncio/base_events.py; staggered_race()
in asyncio/staggered.py.
"""

import asyncio
import contextlib
import select
import socket

import pytest

from harness.predict.timers import Interval

DELAY_S = 0.25  # RFC 8305, section 5: the recommended delay between two attempts
LIMIT_S = 0.3
IPV6_PORT, IPV4_PORT = 40006, 40004  # the client's, so that ladders show the family


def family_of(address):
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def serve(addresses):
    listeners = [socket.create_server(each, family=family_of(each)) for each in addresses]
    connections = []
    yield "listening"
    while True:
        ready, _, _ = select.select(listeners, [], [])
        connections.append(ready[0].accept())
        yield "accepted"


def connect_to(address, limit_s):
    port = IPV6_PORT if family_of(address) == socket.AF_INET6 else IPV4_PORT
    return socket.create_connection(address, limit_s, source_address=("", port))


def connect_in_turn(addresses, limit_s):
    """What socket.create_connection() does with a name. Its timeout is for each address."""
    *others, last = addresses
    for address in others:
        with contextlib.suppress(OSError):
            return connect_to(address, limit_s)
    return connect_to(last, limit_s)


def call(addresses, limit_s=None):
    yield "calling"
    connection = connect_in_turn(addresses, limit_s)
    yield "connected"
    connection.close()


class LoopWithoutDns(asyncio.SelectorEventLoop):
    """For asyncio, every name has these addresses, in this order. All else is asyncio's own."""

    def __init__(self, addresses):
        super().__init__()
        self.addresses = addresses

    async def getaddrinfo(self, host, port, *, type, proto, **hints):
        return [(family_of(each), type, proto, "", each) for each in self.addresses]


def call_with_asyncio(addresses, deadline_s=None, happy_eyeballs_delay_s=None):
    """By default it tries the addresses in turn, too. The deadline is for all of them together."""
    loop = LoopWithoutDns(addresses)

    async def connect():
        async with asyncio.timeout(deadline_s):
            return await asyncio.open_connection(
                "server.example", addresses[0][1], happy_eyeballs_delay=happy_eyeballs_delay_s
            )

    yield "calling"
    _, connection = loop.run_until_complete(connect())
    yield "connected"
    connection.close()


def ipv6_first(lab):
    return [lab.server_address_over(6), lab.server_address_over(4)]


def drop_ipv6(lab):
    lab.drop(f"meta nfproto ipv6 tcp dport {lab.server_address[1]}")


def over(lab, family):
    """The segments of one family."""
    server = lab.server_address_over(family)
    return [each for each in lab.segments() if server in (each.source, each.destination)]


def flags(lab, family):
    return [segment.flags for segment in over(lab, family)]


def expect_connection(lab, family):
    """It is over this family, the server has accepted it, and no other attempt is left."""
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert lab.socket("client").remote == lab.server_address_over(family)
    assert lab.holders("server") == ["serve"]


def expect_ipv4_after(lab, interval):
    """The time from the first SYN over IPv6 to the first one over IPv4."""
    waited_s = lab.gap_s(over(lab, 6)[0], over(lab, 4)[0])
    lab.expect_duration("IPv4 is tried after", waited_s, interval)


def timer_of_a_program(timer_s):
    """poll() and epoll_wait() count whole milliseconds, and Python rounds up."""
    return Interval(timer_s, timer_s + 0.001)


def connect(lab, role, *arguments, listen_at=(6, 4)):
    """Until the client is connected, and the server has accepted it."""
    addresses = [lab.server_address_over(family) for family in listen_at]
    server = lab.start(serve, addresses, to="listening")
    lab.start(role, *arguments, to="connected")
    server.run_to("accepted")


@pytest.mark.waits(2)
def test_ipv4_is_not_tried_before_ipv6_has_timed_out(lab):
    """The client hangs in SYN_SENT as long as the sysctls say, and sends nothing over IPv4."""
    lab.set_sysctl("net.ipv4.tcp_syn_retries", 1)
    lab.set_sysctl("net.ipv4.tcp_syn_linear_timeouts", 0, optional=True)
    timeout = lab.connect_timeout()
    drop_ipv6(lab)
    server = lab.start(serve, ipv6_first(lab), to="listening")
    client = lab.start(call, ipv6_first(lab), to="calling")

    client.stay_blocked(in_="connect")
    lab.expect_states(client="SYN_SENT", server="CLOSED", port=IPV6_PORT)
    lab.expect_states(client="CLOSED", server="CLOSED", port=IPV4_PORT)
    assert set(flags(lab, 6)) == {"S"}
    assert flags(lab, 4) == []

    client.run_to("connected", within_s=timeout.at_most_s + lab.allowance_s)
    assert flags(lab, 6) == ["S", "S"]
    assert flags(lab, 4) == ["S", "SA", "A"]
    expect_ipv4_after(lab, timeout)
    server.run_to("accepted")
    expect_connection(lab, 4)


def test_a_deadline_for_all_addresses_never_reaches_ipv4(lab):
    """Trying again does not help: each attempt begins with IPv6."""
    drop_ipv6(lab)
    server = lab.start(serve, ipv6_first(lab), to="listening")
    for attempt in ("first attempt", "second attempt"):
        client = lab.start(call_with_asyncio, ipv6_first(lab), LIMIT_S, name=attempt)
        client.fail_with("TimeoutError")
    assert len({segment.source for segment in over(lab, 6)}) == 2
    assert set(flags(lab, 6)) == {"S"}  # on a busy machine, one may be retransmitted
    assert flags(lab, 4) == []
    lab.start(call, [lab.server_address_over(4)], to="connected")  # yet the server is up
    server.run_to("accepted")
    expect_connection(lab, 4)


def test_control_happy_eyeballs_tries_ipv4_after_its_delay(lab):
    """IPv4 answers first, so the attempt over IPv6 is given up."""
    drop_ipv6(lab)
    connect(lab, call_with_asyncio, ipv6_first(lab), None, DELAY_S)
    assert set(flags(lab, 6)) == {"S"}
    assert flags(lab, 4) == ["S", "SA", "A"]
    expect_ipv4_after(lab, timer_of_a_program(DELAY_S))
    expect_connection(lab, 4)


def test_control_a_timeout_for_each_address_reaches_ipv4(lab):
    """It costs each connection that time, and must be longer than a handshake over a slow path."""
    drop_ipv6(lab)
    connect(lab, call, ipv6_first(lab), LIMIT_S)
    assert set(flags(lab, 6)) == {"S"}
    assert flags(lab, 4) == ["S", "SA", "A"]
    expect_ipv4_after(lab, timer_of_a_program(LIMIT_S))
    expect_connection(lab, 4)


def test_control_a_refusal_over_ipv6_is_followed_by_ipv4_at_once(lab):
    """Nothing listens over IPv6, so the SYN is answered by RST, and no timer is waited for."""
    connect(lab, call, ipv6_first(lab), listen_at=[4])
    assert flags(lab, 6) == ["S", "RA"]
    assert flags(lab, 4) == ["S", "SA", "A"]
    expect_ipv4_after(lab, Interval(0, 0))
    expect_connection(lab, 4)


def test_control_with_ipv4_first_ipv6_is_not_tried(lab):
    """In the order of `precedence ::ffff:0:0/96 100` in /etc/gai.conf, which hides the fault."""
    drop_ipv6(lab)
    connect(lab, call, ipv6_first(lab)[::-1])
    assert flags(lab, 6) == []
    assert flags(lab, 4) == ["S", "SA", "A"]
    expect_connection(lab, 4)


def test_control_ipv6_that_works_is_used(lab):
    """The client of the fault, and nothing is dropped."""
    connect(lab, call, ipv6_first(lab))
    assert flags(lab, 6) == ["S", "SA", "A"]
    assert flags(lab, 4) == []
    expect_connection(lab, 6)


def test_control_happy_eyeballs_uses_ipv6_if_it_works(lab):
    """IPv6 answers before the delay has passed, so no SYN is sent over IPv4."""
    connect(lab, call_with_asyncio, ipv6_first(lab), None, DELAY_S)
    assert flags(lab, 6) == ["S", "SA", "A"]
    assert flags(lab, 4) == []
    expect_connection(lab, 6)
