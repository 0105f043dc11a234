"""close_wait_piles_up, broken on purpose."""

from tests.mutants import Mutant

PILES_UP = "test_each_client_leaves_a_close_wait_until_accept_fails"
CLOSES = ('if at_the_end == "closes":', "if kept:")

MUTANTS = [
    Mutant(f"{PILES_UP}[never looks-1]", *CLOSES),
    Mutant(f"{PILES_UP}[never looks-1]", 'at_the_end != "never looks"', "at_the_end"),
    Mutant(f"{PILES_UP}[reads it-0]", 'if at_the_end != "never looks":', "if not at_the_end:"),
    Mutant(
        "test_close_wait_outlives_the_peer_and_has_no_timer",
        'start_server(lab, "never looks", fin_timeout=1)',
        'start_server(lab, "never looks", 9, fin_timeout=1)',
    ),
    Mutant(
        "test_close_wait_outlives_the_peer_and_has_no_timer",
        'start_server(lab, "never looks", fin_timeout=1)',
        'start_server(lab, "never looks", fin_timeout=2)',
    ),
    Mutant(
        "test_keepalive_ends_close_wait_and_not_the_leak",
        'server = start_server(lab, "never looks", KEEPALIVE_S,',
        'server = start_server(lab, "never looks", 0,',
    ),
    Mutant("test_a_clients_pool_leaks_in_the_same_way", "        if closes_first:", "        if pool:"),
    Mutant("test_control_closing_at_the_end_leaves_nothing", "kept.pop().close()", "pass"),
    Mutant("test_control_a_pool_that_closes_has_no_close_wait", "        if closes_first:", "        if not pool:"),
    Mutant("test_control_the_end_of_the_process_closes_all", "    server.kill()\n", "    server.stop()\n"),
]
