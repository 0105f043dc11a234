"""response_lost_to_reset, broken on purpose."""

from tests.mutants import Mutant

READS_THE_BODY = (
    "    connection.sendall(answer + bytes(page_bytes))\n",
    "    connection.recv(10_000)\n    connection.sendall(answer + bytes(page_bytes))\n",
)

MUTANTS = [
    Mutant("test_the_reset_takes_back_what_has_not_arrived", *READS_THE_BODY),
    Mutant("test_a_client_that_reads_before_the_reset_gets_it_all", *READS_THE_BODY),
    Mutant(
        "test_a_client_that_reads_before_the_reset_gets_it_all",
        "connection.sendall(answer + bytes(page_bytes))",
        "connection.sendall(answer + bytes(page_bytes // 2))",
    ),
    Mutant(
        "test_a_client_still_in_send_never_sees_the_answer",
        "server, client = play_uploading(lab)\n",
        "server, client = play_uploading(lab, reads_after_failure=True)\n",
    ),
    Mutant(
        "test_control_a_client_that_reads_after_the_failure_sees_it",
        "play_uploading(lab, reads_after_failure=True)",
        "play_uploading(lab)",
    ),
    Mutant("test_an_answer_that_is_lost_on_its_way_is_never_repeated", "meta length > 90", "meta length > 6000"),
    Mutant("test_control_a_lingering_close_repeats_it", "    lab.restore()\n", ""),
    Mutant(
        "test_control_a_lingering_close_delivers_the_answer",
        "play_uploading(lab, limits=(1 << 30, 60))",
        "play_uploading(lab, limits=(1 << 20, 60))",
    ),
    Mutant(
        "test_beyond_its_limit_of_bytes_a_lingering_close_resets",
        "play_uploading(lab, limits=(10_000, 60))",
        "play_uploading(lab, limits=(1 << 30, 60))",
    ),
    Mutant("test_control_a_silent_client_holds_it_for_its_seconds_only", "limits=(1 << 30, 0.05)", "limits=(0, 0.05)"),
    Mutant(
        "test_control_with_expect_the_body_is_never_sent",
        '    yield "headers are sent"\n',
        '    connection.sendall(bytes(10_000))\n    yield "headers are sent"\n',
    ),
]
