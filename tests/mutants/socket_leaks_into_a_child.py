"""socket_leaks_into_a_child, broken on purpose."""

from tests.mutants import Mutant

TCPDUMP_KEEPS = "test_tcpdump_keeps_a_connection_that_its_parent_has_closed"
GIVEN_UP = "test_a_connect_given_up_in_syn_sent_succeeds_for_the_child"

MUTANTS = [
    Mutant(
        TCPDUMP_KEEPS,
        "        connection.close()\n\n    thread",
        "        connection.shutdown(socket.SHUT_RDWR)\n        connection.close()\n\n    thread",
    ),
    Mutant(TCPDUMP_KEEPS, "set_inheritable(leaks)", "fileno()"),
    Mutant(TCPDUMP_KEEPS, "    child.kill()\n", "    child.send_signal(0)\n"),
    Mutant(
        "test_control_with_cloexec_the_same_tcpdump_has_nothing",
        "play_established(lab, leaks=False)",
        "play_established(lab, leaks=True)",
    ),
    Mutant(GIVEN_UP, "play_in_syn_sent(lab, leaks=True)", "play_in_syn_sent(lab, leaks=False)"),
    Mutant(GIVEN_UP, "backlog=0", "backlog=1"),
    Mutant(GIVEN_UP, 'server.run_to("accepted")  # the other', "pass  # the other"),
    Mutant(
        "test_control_with_cloexec_a_connect_given_up_is_forgotten",
        "play_in_syn_sent(lab, leaks=False)",
        "play_in_syn_sent(lab, leaks=True)",
    ),
    Mutant(
        "test_if_the_server_closes_first_the_child_stays_in_close_wait",
        "play_closed_by_server(lab, leaks=True)",
        "play_closed_by_server(lab, leaks=False)",
    ),
    Mutant(
        "test_if_the_server_closes_first_the_child_stays_in_close_wait",
        "        connection.close()\n        yield",
        "        yield",
    ),
    Mutant(
        "test_control_with_cloexec_the_parents_close_ends_close_wait",
        "play_closed_by_server(lab, leaks=False)",
        "play_closed_by_server(lab, leaks=True)",
    ),
]
