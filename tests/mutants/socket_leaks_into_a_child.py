"""socket_leaks_into_a_child, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_tcpdump_keeps_a_connection_that_its_parent_has_closed",
        "        connection.close()\n\n    thread",
        "        connection.shutdown(socket.SHUT_RDWR)\n        connection.close()\n\n    thread",
    ),
    Mutant("test_tcpdump_keeps_a_connection_that_its_parent_has_closed", "set_inheritable(leaks)", "fileno()"),
    Mutant(
        "test_tcpdump_keeps_a_connection_that_its_parent_has_closed", "    child.kill()\n", "    child.send_signal(0)\n"
    ),
    Mutant(
        "test_control_with_cloexec_the_same_tcpdump_has_nothing", "play(lab, leaks=False)\n", "play(lab, leaks=True)\n"
    ),
    Mutant(
        "test_a_connect_given_up_in_syn_sent_succeeds_for_the_child",
        "leaks=True, full_queue=True",
        "leaks=False, full_queue=True",
    ),
    Mutant("test_a_connect_given_up_in_syn_sent_succeeds_for_the_child", "backlog=0", "backlog=1"),
    Mutant(
        "test_a_connect_given_up_in_syn_sent_succeeds_for_the_child",
        'server.run_to("accepted")  # the other',
        "pass  # the other",
    ),
    Mutant(
        "test_control_with_cloexec_a_connect_given_up_is_forgotten",
        "leaks=False, full_queue=True",
        "leaks=True, full_queue=True",
    ),
    Mutant(
        "test_if_the_server_closes_first_the_child_stays_in_close_wait",
        "leaks=True, closes_first=True",
        "leaks=False, closes_first=True",
    ),
    Mutant(
        "test_if_the_server_closes_first_the_child_stays_in_close_wait",
        "        connection.close()\n        yield",
        "        yield",
    ),
    Mutant(
        "test_control_with_cloexec_the_parents_close_ends_close_wait",
        "leaks=False, closes_first=True",
        "leaks=True, closes_first=True",
    ),
]
