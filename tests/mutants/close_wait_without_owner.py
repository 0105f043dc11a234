"""close_wait_without_owner, broken on purpose."""

from tests.mutants import Mutant

ACCEPTED_EARLY = (
    'name="waiting", to="connected")\n',
    'name="waiting", to="connected")\n    accept_late(server, served)\n',
)
NEVER_CLOSED = (
    '    connection.close()\n    yield "closed"\n\n\ndef single_process_server',
    '    yield "closed"\n\n\ndef single_process_server',
)
STILL_READING = (
    '    connection.close()\n    yield "closed"\n    return heard',
    '    yield "closed"\n    return heard',
)

MUTANTS = [
    Mutant("test_the_kernel_completes_the_handshake_without_accept", *ACCEPTED_EARLY),
    Mutant("test_its_client_closes_and_leaves_close_wait_without_an_owner[-1]", *ACCEPTED_EARLY),
    Mutant("test_its_client_closes_and_leaves_close_wait_without_an_owner[hello-6]", *ACCEPTED_EARLY),
    Mutant(
        "test_after_fin_wait2_a_linux_client_says_nothing_and_close_wait_stays",
        "play(lab, forgotten=True)",
        "play(lab)",
    ),
    Mutant("test_after_fin_wait2_a_linux_client_says_nothing_and_close_wait_stays", *ACCEPTED_EARLY),
    Mutant(
        "test_a_windows_clients_reset_ends_close_wait_but_not_its_place_in_the_queue",
        "(fin.seq + 1) % 2**32",
        "(fin.seq + 2) % 2**32",
    ),
    Mutant("test_a_windows_clients_reset_ends_close_wait_but_not_its_place_in_the_queue", *ACCEPTED_EARLY),
    Mutant("test_accepted_late_it_gives_its_data_and_its_end_and_close_sends_fin[0-client A-TIME_WAIT]", *NEVER_CLOSED),
    Mutant("test_accepted_late_it_gives_its_data_and_its_end_and_close_sends_fin[1-client R-CLOSED]", *NEVER_CLOSED),
    Mutant(
        "test_accepted_late_the_first_send_succeeds_and_the_second_fails_with_epipe",
        *STILL_READING,
    ),
    Mutant(
        "test_control_a_thread_for_each_connection_accepts_in_time_and_nothing_remains",
        "lab.start(threaded_server, ",
        "lab.start(single_process_server, ",
    ),
]
