"""full_accept_queue, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_the_last_ack_that_finds_the_queue_full_is_ignored",
        "def play(lab, backlog=2)",
        "def play(lab, backlog=3)",
    ),
    Mutant(
        "test_the_last_ack_that_finds_the_queue_full_is_ignored",
        '    server.run_to("accepted")\n    late.run_to("said")\n',
        '    late.run_to("said")\n',
    ),
    Mutant(
        "test_once_syn_recv_ends_the_client_has_half_a_connection",
        '"net.ipv4.tcp_synack_retries", 0',
        '"net.ipv4.tcp_synack_retries", 1',
    ),
    Mutant(
        "test_abort_on_overflow_answers_the_last_ack_with_a_reset",
        '"net.ipv4.tcp_abort_on_overflow", 1',
        '"net.ipv4.tcp_abort_on_overflow", 0',
    ),
    Mutant(
        "test_abort_on_overflow_answers_the_last_ack_with_a_reset",
        "OTHERS = (40002, 40003, 40004)",
        "OTHERS = (40002, 40003)",
    ),
    Mutant(
        "test_control_with_one_place_more_the_next_segment_is_enough",
        "play(lab, backlog=3)",
        "play(lab)",
    ),
    Mutant("test_control_with_room_abort_on_overflow_changes_nothing", "play(lab, 3)", "play(lab)"),
    Mutant(
        "test_an_accept_that_fails_with_emfile_fills_the_queue_and_syns_are_dropped[0-ends0]",
        "lab.start(serve, lab.server_address, 2, closes",
        "lab.start(serve, lab.server_address, 3, closes",
    ),
    Mutant(
        "test_an_accept_that_fails_with_emfile_fills_the_queue_and_syns_are_dropped[1-ends1]",
        "lab.start(serve, lab.server_address, 2, closes",
        "lab.start(serve, lab.server_address, 3, closes",
    ),
    Mutant(
        "test_an_accept_that_fails_with_emfile_fills_the_queue_and_syns_are_dropped[0-ends0]",
        "(last + 1, ",
        "(last + 2, ",
    ),
    Mutant(
        "test_an_accept_that_fails_with_emfile_fills_the_queue_and_syns_are_dropped[1-ends1]",
        '"net.ipv4.tcp_abort_on_overflow", abort',
        '"net.ipv4.tcp_abort_on_overflow", 0',
    ),
    Mutant(
        "test_control_once_fds_are_closed_the_queue_drains_and_connect_is_answered_at_once",
        "closes=True)",
        "closes=False)",
    ),
]
