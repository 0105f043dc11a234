"""folklore, broken on purpose."""

from tests.mutants import Mutant

LISTEN = "test_listen_n_lets_n_plus_1_wait_up_to_somaxconn_plus_1"
RESETS = (
    "test_data_before_a_reset_is_read_before_the_error",
    "test_control_reset_throws_away_what_its_sender_had_not_sent",
)

MUTANTS = [
    Mutant(
        f"{LISTEN}[1-4096-2]",
        'lab.server_address, backlog, to="listening"',
        'lab.server_address, 3, to="listening"',
    ),
    Mutant(f"{LISTEN}[5-2-3]", '"net.core.somaxconn", somaxconn', '"net.core.somaxconn", 4096'),
    Mutant(
        "test_control_one_accept_makes_one_place",
        '    server.run_to("accepted")\n    connect(lab, NEXT)\n',
        "    connect(lab, NEXT)\n",
    ),
    Mutant(
        "test_abort_on_overflow_does_not_reject_a_syn",
        "connect(lab, *FILL_THE_QUEUE)\n    return late",
        "connect(lab, *FILL_THE_QUEUE[:2])\n    return late",
    ),
    Mutant(
        "test_abort_on_overflow_does_not_reject_a_syn",
        '"net.ipv4.tcp_abort_on_overflow", 1)\n    late = fill_the_queue(lab)\n    meet',
        '"net.ipv4.tcp_abort_on_overflow", 0)\n    late = fill_the_queue(lab)\n    meet',
    ),
    Mutant(
        "test_control_abort_on_overflow_rejects_the_handshakes_ack",
        '"net.ipv4.tcp_abort_on_overflow", 1)\n    late = fill_the_queue(lab)\n    late',
        '"net.ipv4.tcp_abort_on_overflow", 0)\n    late = fill_the_queue(lab)\n    late',
    ),
    *(Mutant(test, "sent = connection.send(bytes(size))", "sent = size") for test in RESETS),
    *(Mutant(test, "reset_on_close(connection)", "connection.fileno()") for test in RESETS),
]
