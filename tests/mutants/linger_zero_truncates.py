"""linger_zero_truncates, broken on purpose."""

from tests.mutants import Mutant

NO_SHUTDOWN = (
    '        connection.shutdown(socket.SHUT_WR)\n        assert connection.recv(1) == b""\n',
    "        pass\n",
)

MUTANTS = [
    Mutant(
        "test_close_discards_what_was_not_yet_sent",
        "server, client = play(lab, ZERO)\n    unsent",
        "server, client = play(lab, OFF)\n    unsent",
    ),
    Mutant(
        "test_control_a_plain_close_sends_the_rest_and_then_fin",
        "server, client = play(lab, OFF)\n    unsent",
        "server, client = play(lab, ZERO)\n    unsent",
    ),
    Mutant(
        "test_even_if_all_has_arrived_the_reader_sees_no_end",
        "play(lab, ZERO, size=5)",
        "play(lab, OFF, size=5)",
    ),
    Mutant(
        "test_accepted_connections_inherit_it_from_the_listener",
        "received, arrived = play_inherited(lab, ZERO)",
        "received, arrived = play_inherited(lab, OFF)",
    ),
    Mutant(
        "test_control_without_it_the_answer_is_whole",
        "received, arrived = play_inherited(lab, OFF)",
        "received, arrived = play_inherited(lab, ZERO)",
    ),
    Mutant(
        "test_control_with_a_time_above_0_close_waits_for_the_reader",
        "((0, 0), (1, 0), (1, 3600))",
        "((0, 0), (1, 0), (0, 3600))",
    ),
    Mutant("test_control_shutdown_and_reading_to_the_end_lose_nothing", *NO_SHUTDOWN),
]
