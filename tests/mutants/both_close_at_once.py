"""both_close_at_once, broken on purpose."""

from tests.mutants import Mutant

CROSS = "test_fins_that_cross_leave_time_wait_at_both_ends"
NOTHING_IS_HELD_UP = ('"tcp sport > 0 meta mark 0"', '"tcp sport 0"')

MUTANTS = [
    Mutant(CROSS, *NOTHING_IS_HELD_UP),
    Mutant(CROSS, '    deliver(lab, "server FA")\n', '    deliver(lab, "server A", "call: closed")\n'),
    Mutant(
        "test_control_a_fin_that_arrives_first_leaves_one_time_wait",
        '    client.run_to("closed")\n    lab.expect_states(client="FIN_WAIT2"',
        '    lab.drop(BY_THE_KERNEL)\n    client.run_to("closed")\n    lab.expect_states(client="FIN_WAIT2"',
    ),
    Mutant(
        "test_a_lost_fin_brings_closing_to_its_sender_alone",
        '    server.run_to("closed")\n    lab.expect_states(client="CLOSING"',
        '    lab.expect_states(client="CLOSING"',
    ),
    Mutant("test_syns_that_cross_open_one_connection", *NOTHING_IS_HELD_UP),
    Mutant("test_syns_that_cross_open_one_connection", '    deliver(lab, "server S")\n', ""),
    Mutant(
        "test_a_syn_that_does_not_cross_is_refused",
        "start_both(lab, listens=False)\n    client.fail",
        "start_both(lab, listens=False)\n    lab.drop(BY_THE_KERNEL)\n    client.fail",
    ),
    Mutant(
        "test_control_a_listener_answers_a_syn_at_once",
        '    server.run_to("listening")\n    client',
        '    lab.drop(BY_THE_KERNEL)\n    server.run_to("listening")\n    client',
    ),
]
