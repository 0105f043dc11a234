"""third_ack_lost, broken on purpose."""

from tests.mutants import Mutant

BOTH_WAIT = "test_both_ends_wait_until_the_syn_ack_is_repeated"
TRIES_AGAIN = "test_control_a_client_that_tries_again_is_greeted"

MUTANTS = [
    Mutant(BOTH_WAIT, "tcp flags == ack limit", "tcp flags == fin limit"),
    Mutant(BOTH_WAIT, "play(lab, listen_first)\n    server.stay", "play(lab, speak_first)\n    server.stay"),
    Mutant(
        "test_without_synack_retries_the_client_waits_for_ever",
        '"net.ipv4.tcp_synack_retries", 0',
        '"net.ipv4.tcp_synack_retries", 1',
    ),
    Mutant(
        "test_with_a_cookie_the_client_waits_for_ever",
        'tcp_syncookies", 2)\n    server, client = play(lab, listen_first)',
        'tcp_syncookies", 1)\n    server, client = play(lab, listen_first)',
    ),
    Mutant(
        "test_control_a_client_that_speaks_first_does_not_wait",
        "    connection.sendall(REQUEST)\n",
        "",
    ),
    Mutant(TRIES_AGAIN, "listen_and_try_again, 0.1)", "listen_and_try_again, 100.0)"),
]
