"""defer_accept_hides_idle_clients, broken on purpose."""

from tests.mutants import Mutant

REACHES_ACCEPT = "test_control_data_or_fin_reaches_accept_at_once"
NOT_DEFERRED = ("socket.TCP_DEFER_ACCEPT, defer_s)", "socket.TCP_DEFER_ACCEPT, 0)")

MUTANTS = [
    Mutant("test_an_idle_client_is_not_seen_by_accept", *NOT_DEFERRED),
    Mutant(
        "test_control_without_the_option_it_is_greeted_at_once",
        "socket.TCP_DEFER_ACCEPT, defer_s)",
        "socket.TCP_DEFER_ACCEPT, 63)",
    ),
    Mutant(f"{REACHES_ACCEPT}[data-hello]", *NOT_DEFERRED),
    Mutant(f"{REACHES_ACCEPT}[data-hello]", 'sends == "data"', 'sends == "more data"'),
    Mutant(f"{REACHES_ACCEPT}[FIN-]", "connection.shutdown(socket.SHUT_WR)", "pass"),
    Mutant("test_rst_takes_it_away_unseen", "reset_on_close(connection)", "connection.fileno()"),
    Mutant("test_an_idle_client_is_accepted_once_the_time_is_over", "play(lab, 1)", "play(lab, 2)"),
    Mutant(
        "test_an_idle_client_is_accepted_once_the_time_is_over",
        "play(lab, 1)",
        'play(lab, 1, "data")\n    client.run_to("sent")',
    ),
    Mutant(
        "test_its_seconds_are_rounded_up_to_syn_ack_timeouts",
        "socket.TCP_DEFER_ACCEPT, each)",
        "socket.TCP_DEFER_ACCEPT, each + 1)",
    ),
]
