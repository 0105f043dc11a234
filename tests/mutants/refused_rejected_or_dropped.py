"""refused_rejected_or_dropped, broken on purpose."""

from tests.mutants import Mutant

_TIMEOUT = "test_established_the_timeout_ends_with_the_noted_error"

MUTANTS = [
    Mutant(
        "test_icmp_ends_a_sleeping_connect_with_its_own_error",
        'lab.reject(SYN, with_="icmpx type admin-prohibited")',
        'lab.reject(SYN, with_="icmpx type no-route")',
    ),
    Mutant(
        "test_icmp_ends_a_sleeping_connect_with_its_own_error",
        '    lab.drop(f"{SYN} limit rate 1/hour burst 1 packets")\n',
        "",
    ),
    Mutant(
        "test_control_with_a_listener_and_no_rule_it_connects",
        '    lab.start(call, lab.server_address, to="connected")\n',
        '    lab.reject(SYN, with_="tcp reset")\n    lab.start(call, lab.server_address, to="connected")\n',
    ),
    Mutant(
        "test_a_reset_ends_connect_at_once_with_econnrefused[no listener-1]",
        "    if answer != NO_LISTENER:\n        lab.start",
        "    if answer:\n        lab.start",
    ),
    Mutant(
        "test_a_reset_ends_connect_at_once_with_econnrefused[tcp reset-0]",
        "lab.reject(match, with_=answer)",
        'lab.reject(match, with_="icmpx type port-unreachable")',
    ),
    Mutant(
        "test_each_answer_has_its_error_in_each_family",
        "lab.server_address_over(family)",
        "lab.server_address_over(4)",
    ),
    Mutant(
        "test_each_answer_has_its_error_in_each_family",
        "        lab.drop(match)\n    elif",
        '        lab.reject(match, with_="icmpx type no-route")\n    elif',
    ),
    Mutant(
        "test_established_icmp_is_only_noted_and_it_goes_on",
        'lab.reject(FROM_CLIENT, with_="icmpx type port-unreachable")',
        "lab.drop(FROM_CLIENT)",
    ),
    Mutant(
        f"{_TIMEOUT}[drop]",
        "        lab.drop(match)\n    elif",
        '        lab.reject(match, with_="icmpx type port-unreachable")\n    elif',
    ),
    Mutant(f"{_TIMEOUT}[icmpx type port-unreachable]", "lab.reject(match, with_=answer)", "lab.drop(match)"),
    Mutant(f"{_TIMEOUT}[icmpx type admin-prohibited]", "connect(lab, [USER_TIMEOUT])", "connect(lab, [])"),
    Mutant(
        "test_established_with_recverr_recv_fails_and_may_be_repeated",
        "connect(lab, [RECVERR[lab.family]], True)",
        "connect(lab, [], True)",
    ),
    Mutant(
        "test_established_a_reset_ends_it",
        'lab.reject(FROM_CLIENT, with_="tcp reset")',
        'lab.reject(FROM_CLIENT, with_="icmpx type port-unreachable")',
    ),
    Mutant(
        "test_control_established_without_a_rule",
        '    client.run_to("sent")\n    server.run_to',
        '    client.run_to("sent")\n    lab.reject("tcp dport 40001", with_="tcp reset")\n    server.run_to',
    ),
]
