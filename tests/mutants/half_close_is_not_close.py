"""half_close_is_not_close, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_the_relay_closes_both_connections_and_the_answer_is_lost",
        "play(lab, forwards_half_close=False)\n",
        "play(lab, forwards_half_close=True)\n",
    ),
    Mutant(
        "test_control_a_relay_that_forwards_the_half_close",
        "play(lab, forwards_half_close=True)\n",
        "play(lab, forwards_half_close=False)\n",
    ),
    Mutant(
        "test_control_a_request_that_says_where_it_ends",
        "play(lab, forwards_half_close=False, half_closes=False)",
        "play(lab, forwards_half_close=False, half_closes=True)",
    ),
    Mutant(
        "test_haproxy_with_abortonclose_tears_both_down",
        'play_haproxy(lab, "http", "option abortonclose")',
        'play_haproxy(lab, "http")',
    ),
    Mutant(
        "test_control_haproxy_in_mode_http_waits_for_the_answer",
        'play_haproxy(lab, "http")',
        'play_haproxy(lab, "http", "option abortonclose")',
    ),
    Mutant(
        "test_control_haproxy_in_mode_tcp_forwards_the_half_close",
        'play_haproxy(lab, "tcp", "option abortonclose")',
        'play_haproxy(lab, "tcp", "timeout server-fin 1ms")',
    ),
    Mutant(
        "test_haproxy_in_mode_tcp_gives_up_after_server_fin",
        "timeout server-fin 100ms",
        "timeout client-fin 100ms",
    ),
]
