"""A name with two addresses reaches a server only over a family that the server listens on.

`localhost` is ::1 and 127.0.0.1, and a server's name has AAAA and A records. A program that uses
only the first address is refused by a server that listens on 0.0.0.0, although "127.0.0.1 works".
A listener on :: takes IPv4 clients as well, and sees their addresses as ::ffff:a.b.c.d, unless
IPV6_V6ONLY is set, whose default is net.ipv6.bindv6only. So one port on :: and on 0.0.0.0 is either
the same port, or two.

    client                                     server, which listens on 0.0.0.0
    SYN_SENT     ── S, over IPv6 ─────────▶    has no listener there
    CLOSED       ◀─────────────────── RA ──    client: ECONNREFUSED, next address
    SYN_SENT     ── S, over IPv4 ─────────▶
    ESTABLISHED  ◀─────────────────── SA ──

Here the two addresses are those of the lab's server: what localhost is, /etc/hosts says.
Sources: RFC 6724, section 10.3; RFC 4291, section 2.5.5.2; RFC 3493, section 5.3; ipv6(7).
Kernel: ipv6_rcv_saddr_equal, inet_rcv_saddr_equal (inet_csk_bind_conflict); inet6_create.
"""

import socket

import pytest

BINDV6ONLY = "net.ipv6.bindv6only"
IPV4, IPV6 = "0.0.0.0", "::"  # noqa: S104 (inside the lab's network)
IN_USE = "EADDRINUSE"


def listen(host, port, v6only=None):
    """A listener on this address; v6only None: as the system has it."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if v6only is not None:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    listener.bind((host, port))
    listener.listen()
    return listener


def serve(host, port, v6only=None):
    listener = listen(host, port, v6only)
    yield "listening"
    while True:
        connection, peer = listener.accept()
        print(peer[0])
        yield "accepted"
        connection.close()


def listen_twice(port, first, second):
    listener = listen(first[0], port, *first[1:])
    yield "listening"
    second_listener = listen(second[0], port, *second[1:])
    yield "both are listening"
    listener.close()
    second_listener.close()


def call(*addresses):
    """As socket.create_connection() does with a name's addresses: the next one if one refuses."""
    for address in addresses:
        try:
            connection = socket.create_connection(address)
            break
        except ConnectionRefusedError as error:
            refused = error
    else:
        raise refused
    yield "connected"
    connection.close()


def start_server(lab, host, v6only=None):
    return lab.start(serve, host, lab.server_address[1], v6only, to="listening")


def name(lab):
    """The addresses of one name, in the order of RFC 6724."""
    return lab.server_address_over(6), lab.server_address_over(4)


def refused_over(lab, family):
    """Its segments were a SYN and an RST, both over this family."""
    syn, answer = lab.segments()
    host, _ = lab.server_address_over(family)
    return (syn.flags, syn.destination[0], answer.flags, answer.source[0]) == (
        "S",
        host,
        "RA",
        host,
    )


def test_a_client_of_the_first_address_is_refused_by_a_server_on_ipv4(lab):
    """The server is up, and nothing has happened to it."""
    first, _ = name(lab)
    start_server(lab, IPV4)
    lab.start(call, first).fail_with("ECONNREFUSED")
    assert refused_over(lab, 6)
    assert [(row.state, row.local) for row in lab.sockets()] == [
        ("LISTEN", (IPV4, lab.server_address[1]))
    ]


def test_control_a_client_of_all_addresses_connects_over_the_next(lab):
    """The client's cure. The refusal costs one round trip."""
    server = start_server(lab, IPV4)
    lab.start(call, *name(lab), to="connected")
    assert lab.wire() == ["client S", "server RA", "client S", "server SA", "client A"]
    server.run_to("accepted")
    assert server.output().split() == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("family", "peer"),
    [(6, "2001:db8::1"), (4, "::ffff:192.0.2.1")],
    ids=["over IPv6", "over IPv4"],
)
def test_control_a_server_on_both_takes_either(lab, family, peer):
    """The server's cure. Its IPv4 client has an IPv4-mapped address: mind access lists and logs."""
    lab.set_sysctl(BINDV6ONLY, 0)
    server = start_server(lab, IPV6)
    lab.start(call, lab.server_address_over(family), to="connected")
    server.run_to("accepted")
    assert server.output().split() == [peer]
    assert lab.wire() == ["client S", "server SA", "client A"]
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")


@pytest.mark.parametrize(
    ("bindv6only", "v6only", "takes_ipv4"),
    [(0, None, True), (1, None, False), (0, 1, False), (1, 0, True)],
)
def test_bindv6only_is_the_default_of_a_program_that_does_not_say(
    lab, bindv6only, v6only, takes_ipv4
):
    """The same listener on ::, and a client of IPv4."""
    lab.set_sysctl(BINDV6ONLY, bindv6only)
    start_server(lab, IPV6, v6only)
    client = lab.start(call, lab.server_address_over(4))
    if takes_ipv4:
        client.run_to("connected")
    else:
        client.fail_with("ECONNREFUSED")
        assert refused_over(lab, 4)


def test_control_a_listener_for_each_family(lab):
    """The other cure: two sockets, each of which sees its clients' addresses as they are."""
    servers = [start_server(lab, IPV4), start_server(lab, IPV6, 1)]
    for server, family in zip(servers, (4, 6), strict=True):
        lab.start(call, lab.server_address_over(family), to="connected")
        server.run_to("accepted")
    assert [server.output().split() for server in servers] == [["192.0.2.1"], ["2001:db8::1"]]


@pytest.mark.parametrize(
    ("first", "second", "ends"),
    [
        ((IPV4,), (IPV6, 0), IN_USE),
        ((IPV6, 0), (IPV4,), IN_USE),
        ((IPV6, 0), ("192.0.2.2",), IN_USE),
        ((IPV4,), (IPV6, 1), "both are listening"),
        ((IPV6, 1), (IPV4,), "both are listening"),
        ((IPV4,), ("2001:db8::2",), "both are listening"),
        ((IPV6, 1), ("2001:db8::2",), IN_USE),
    ],
    ids=[
        "both after IPv4",
        "IPv4 after both",
        "one IPv4 address after both",
        "IPv6 alone after IPv4",
        "IPv4 after IPv6 alone",
        "one IPv6 address after IPv4",
        "one IPv6 address after IPv6 alone",
    ],
)
def test_both_families_are_one_port_unless_one_is_v6only(lab, first, second, ends):
    """Whichever comes first: a listener on :: that takes IPv4 has the IPv4 port, too."""
    both = lab.start(listen_twice, lab.server_address[1], first, second, to="listening")
    if ends == IN_USE:
        both.fail_with(IN_USE)
    else:
        both.run_to(ends)
        assert len(lab.sockets()) == 2
