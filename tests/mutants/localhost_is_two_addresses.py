"""localhost_is_two_addresses, broken on purpose."""

from tests.mutants import Mutant

REFUSED = "test_a_client_of_the_first_address_is_refused_by_a_server_on_ipv4"
ALL_ADDRESSES = "test_control_a_client_of_all_addresses_connects_over_the_next"
BOTH = "test_control_a_server_on_both_takes_either"
DEFAULT = "test_bindv6only_is_the_default_of_a_program_that_does_not_say"
ONE_PORT = "test_both_families_are_one_port_unless_one_is_v6only"
IGNORES_THE_OPTION = ("    if v6only is not None:\n", "    if v6only is not None and False:\n")
ANOTHER_PORT = ("second_listener = listen(second[0], port,", "second_listener = listen(second[0], port + 1,")
THE_SAME_ADDRESS = ("listen(second[0], port, *second[1:])", "listen(first[0], port, *first[1:])")

MUTANTS = [
    Mutant(REFUSED, "    start_server(lab, IPV4)\n    lab.start(call, first)", "    lab.start(call, first)"),
    Mutant(REFUSED, "    first, _ = name(lab)\n", "    _, first = name(lab)\n"),
    Mutant(ALL_ADDRESSES, "lab.start(call, *name(lab),", "lab.start(call, name(lab)[1],"),
    Mutant(f"{BOTH}[over IPv6]", "    server = start_server(lab, IPV6)\n", "    server = start_server(lab, IPV4)\n"),
    Mutant(f"{BOTH}[over IPv4]", "lab.set_sysctl(BINDV6ONLY, 0)", "lab.set_sysctl(BINDV6ONLY, 1)"),
    Mutant(
        f"{BOTH}[over IPv4]",
        "    server = start_server(lab, IPV6)\n",
        "    server = start_server(lab, IPV4)\n",
    ),
    Mutant(f"{DEFAULT}[0-None-True]", "lab.set_sysctl(BINDV6ONLY, bindv6only)", "lab.set_sysctl(BINDV6ONLY, 1)"),
    Mutant(f"{DEFAULT}[1-None-False]", "lab.set_sysctl(BINDV6ONLY, bindv6only)", "lab.set_sysctl(BINDV6ONLY, 0)"),
    Mutant(f"{DEFAULT}[0-1-False]", *IGNORES_THE_OPTION),
    Mutant(f"{DEFAULT}[1-0-True]", *IGNORES_THE_OPTION),
    Mutant(
        "test_control_a_listener_for_each_family", "start_server(lab, IPV6, 1)]", 'start_server(lab, "2001:db8::3", 1)]'
    ),
    Mutant(f"{ONE_PORT}[both after IPv4]", *ANOTHER_PORT),
    Mutant(f"{ONE_PORT}[IPv4 after both]", *ANOTHER_PORT),
    Mutant(f"{ONE_PORT}[one IPv4 address after both]", *ANOTHER_PORT),
    Mutant(f"{ONE_PORT}[IPv6 alone after IPv4]", *IGNORES_THE_OPTION),
    Mutant(f"{ONE_PORT}[IPv4 after IPv6 alone]", *IGNORES_THE_OPTION),
    Mutant(f"{ONE_PORT}[one IPv6 address after IPv4]", *THE_SAME_ADDRESS),
    Mutant(f"{ONE_PORT}[one IPv6 address after IPv6 alone]", *ANOTHER_PORT),
]
