"""full_accept_queue, broken on purpose."""

from tests.mutants import Mutant

LAST_ACK_IGNORED = "test_the_last_ack_that_finds_the_queue_full_is_ignored"
SYN_DROPPED = "test_a_syn_that_finds_the_queue_full_is_dropped"
RESET = "test_abort_on_overflow_answers_the_last_ack_with_a_reset"
ONE_PLACE_MORE = ("accept, lab.server_address, 2, to=", "accept, lab.server_address, 3, to=")

MUTANTS = [
    Mutant(LAST_ACK_IGNORED, "def play(lab, backlog=2)", "def play(lab, backlog=3)"),
    Mutant(
        LAST_ACK_IGNORED,
        '    server.run_to("accepted")\n    late.run_to("sent")\n',
        '    late.run_to("sent")\n',
    ),
    Mutant(
        "test_control_with_one_place_more_the_next_segment_is_enough",
        "play(lab, backlog=3)",
        "play(lab)",
    ),
    Mutant(f"{SYN_DROPPED}[abort_on_overflow 0]", *ONE_PLACE_MORE),
    Mutant(f"{SYN_DROPPED}[abort_on_overflow 1]", *ONE_PLACE_MORE),
    Mutant(f"{SYN_DROPPED}[abort_on_overflow 1]", '_on_overflow", abort', '_on_overflow", 0'),
    Mutant(
        "test_once_syn_recv_ends_the_client_has_half_a_connection",
        '"net.ipv4.tcp_synack_retries", 0',
        '"net.ipv4.tcp_synack_retries", 1',
    ),
    Mutant(
        RESET,
        '"net.ipv4.tcp_abort_on_overflow", 1)\n    _, late = play(lab)',
        '"net.ipv4.tcp_abort_on_overflow", 0)\n    _, late = play(lab)',
    ),
    Mutant(RESET, "OTHERS = (40002, 40003, 40004)", "OTHERS = (40002, 40003)"),
    Mutant("test_control_with_room_abort_on_overflow_changes_nothing", "play(lab, 3)", "play(lab)"),
]
