"""folklore, broken on purpose."""

from tests.mutants import Mutant

LISTEN = "test_listen_n_lets_n_plus_1_wait_and_no_more_than_somaxconn_plus_1"
RESETS = (
    "test_what_had_come_before_the_reset_is_read_and_only_then_the_error",
    "test_control_reset_throws_away_what_its_sender_had_not_sent",
)

MUTANTS = [
    Mutant(
        f"{LISTEN}[1-4096-2]", 'lab.server_address, backlog, to="listening"', 'lab.server_address, 3, to="listening"'
    ),
    Mutant(f"{LISTEN}[5-2-3]", '"net.core.somaxconn", somaxconn', '"net.core.somaxconn", 4096'),
    Mutant(
        "test_control_one_accept_makes_one_place",
        '    server.run_to("accepted")\n    connect(lab, NEXT)\n',
        "    connect(lab, NEXT)\n",
    ),
    Mutant(
        "test_abort_on_overflow_says_nothing_to_a_syn_that_meets_a_full_queue",
        "connect(lab, *FILLS_IT)\n    return late",
        "connect(lab, *FILLS_IT[:2])\n    return late",
    ),
    Mutant(
        "test_abort_on_overflow_says_nothing_to_a_syn_that_meets_a_full_queue",
        '"net.ipv4.tcp_abort_on_overflow", 1)\n    late = fill_the_queue(lab)\n    meet',
        '"net.ipv4.tcp_abort_on_overflow", 0)\n    late = fill_the_queue(lab)\n    meet',
    ),
    Mutant(
        "test_control_abort_on_overflow_answers_the_last_ack_of_a_handshake",
        '"net.ipv4.tcp_abort_on_overflow", 1)\n    late = fill_the_queue(lab)\n    late',
        '"net.ipv4.tcp_abort_on_overflow", 0)\n    late = fill_the_queue(lab)\n    late',
    ),
    *(Mutant(test, "sent = connection.send(bytes(size))", "sent = size") for test in RESETS),
    *(Mutant(test, r'b"\1\0\0\0', r'b"\0\0\0\0') for test in RESETS),
]
