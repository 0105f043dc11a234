"""cable_pulled, broken on purpose."""

from tests.mutants import Mutant

IDLE = "test_an_idle_connection_sees_nothing_at_either_end"
SILENCE = "test_what_is_sent_into_silence_is_repeated_until_etimedout"
CARRIER = "test_without_a_carrier_retransmissions_are_counted_but_none_leaves"
UNREACHABLE = "test_the_routers_unreachable_only_names_the_error"
UNSENT = "test_data_for_a_link_that_is_down_waits_unsent"
FIRST = "test_a_first_transmission_without_a_route_is_noted_over_ipv6_only"
AGAIN_SENT = "test_a_retransmission_without_a_route_is_noted_over_both"
BACK = "test_control_a_link_that_is_back_in_time_goes_on"
NEXT = "test_after_a_fail_over_the_next_segment_is_answered_by_rst"
ENDS = "test_a_fail_over_ends_the_retransmissions"
AGAIN = "test_control_a_client_that_connects_again_is_served_by_the_standby"
KEEPALIVE = "test_control_keepalive_notices_it_without_sending_data"
KEEPALIVE_RST = "test_control_keepalive_notices_a_fail_over"
NO_ROUTE = ('if fault == "no route":', 'if fault == "no neighbour":')

MUTANTS = [
    Mutant(
        IDLE,
        '    lab.link_down("server", on="server")\n    lab.expect_states',
        "    lab.fail_over()\n    lab.expect_states",
    ),
    Mutant(
        IDLE,
        '    for option in options:\n        connection.setsockopt(*option)\n    yield "connected"\n'
        "    connection.sendall(DATA)\n    connection.recv(100)\n    print",
        "    for option in KEEPALIVE:\n"
        '        connection.setsockopt(*option)\n    yield "connected"\n'
        "    connection.sendall(DATA)\n    connection.recv(100)\n    print",
    ),
    Mutant(
        SILENCE,
        '    lab.link_down("server", on="server")\n    client.fail_with',
        '    lab.link_down("server", on="router")\n    client.fail_with',
    ),
    Mutant(SILENCE, "USER_TIMEOUT_S = 0.1\n", "USER_TIMEOUT_S = 3\n"),
    Mutant(CARRIER, 'lab.link_down("client", on="router")', 'lab.link_down("client", on="client")'),
    Mutant(CARRIER, 'lab.link_down("client", on="router")', 'lab.link_down("server", on="server")'),
    Mutant(f"{UNREACHABLE}[no route-ENETUNREACH]", *NO_ROUTE),
    Mutant(f"{UNREACHABLE}[no neighbour-EHOSTUNREACH]", *NO_ROUTE),
    Mutant(
        f"{UNREACHABLE}[no route-ENETUNREACH]",
        'lab.link_down("server", on="router")',
        'lab.link_down("server", on="server")',
    ),
    Mutant(
        UNSENT,
        '    lab.link_down("client", on="client")\n    client.run_to',
        '    lab.link_down("client", on="router")\n    client.run_to',
    ),
    Mutant(
        FIRST,
        'lab.link_down("client", on="client")\n    client.fail_with',
        'lab.link_down("server", on="server")\n    client.fail_with',
    ),
    Mutant(
        AGAIN_SENT,
        'lab.link_down("client", on="client")\n    before',
        'lab.link_down("client", on="router")\n    before',
    ),
    Mutant(
        BACK,
        'lab.link_up("server", on="server")\n    assert client',
        "lab.fail_over()\n    assert client",
    ),
    Mutant(
        BACK,
        '    lab.link_down("server", on="server")\n    client.run_to("sent")\n    client.stay_blocked(in_="recv")\n'
        "    lab.link_up",
        '    client.run_to("sent")\n    lab.link_up',
    ),
    Mutant(NEXT, "    lab.fail_over()\n    assert", '    lab.link_down("server", on="server")\n    assert'),
    Mutant(
        ENDS,
        "    lab.fail_over()\n    client.fail_with",
        '    lab.link_up("server", on="server")\n    client.fail_with',
    ),
    Mutant(AGAIN, "connect(lab, ask, [], [], True)", "connect(lab, ask)"),
    Mutant(
        KEEPALIVE,
        'lab, wait, KEEPALIVE)\n    lab.link_down("server", on="server")',
        "lab, wait, KEEPALIVE)\n    lab.fail_over()",
    ),
    Mutant(
        KEEPALIVE_RST,
        "lab, wait, KEEPALIVE)\n    lab.fail_over()",
        'lab, wait, KEEPALIVE)\n    lab.link_down("server", on="server")',
    ),
]
