"""nat_forgets_idle_connections, broken on purpose."""

from tests.mutants import Mutant

DROPPED = "test_the_request_after_the_silence_is_dropped_in_silence"
REJECTED = "test_a_firewall_that_rejects_answers_with_reset"
AGAIN = "test_by_default_linux_tracks_the_connection_again"
OTHER_PORT = "test_with_another_port_the_server_answers_with_reset"
SERVER_FIRST = "test_what_the_server_sends_is_reset_by_the_router"
SERVER_FIRST_SILENT = "test_what_the_server_sends_is_dropped_by_a_silent_firewall"
TOO_LATE = "test_a_keepalive_interval_above_the_limit_comes_too_late"
WITHIN = "test_control_within_the_limit_the_answer_comes"
KEEPALIVE = "test_control_keepalive_below_the_limit_renews_the_mapping"
PING = "test_control_an_applications_ping_renews_it_as_well"
FREED = "test_control_keepalive_frees_the_server_of_its_end"
USER_TIMEOUT = "test_control_with_user_timeout_the_client_knows_early"
MASQUERADE = ('nat="masquerade"', 'nat="counter"')
STRICT = ("lab.set_sysctl(LOOSE, 0 if firewall else 1,", "lab.set_sysctl(LOOSE, 1,")

MUTANTS = [
    Mutant(DROPPED, "play(lab, LIMIT_S, silent)", "play(lab, FORGETS_AT_ONCE, silent)"),
    Mutant(DROPPED, "play(lab, LIMIT_S, silent)", "play(lab, LIMIT_S, rejecting)"),
    Mutant(DROPPED, *STRICT),
    Mutant(REJECTED, "play(lab, FORGETS_AT_ONCE, rejecting)", "play(lab, FORGETS_AT_ONCE, silent)"),
    Mutant(REJECTED, *STRICT),
    Mutant(AGAIN, "server, client = play(lab, FORGETS_AT_ONCE)\n", "server, client = play(lab, LONG_S)\n"),
    Mutant(OTHER_PORT, "FORGETS_AT_ONCE, nat=PORTS_IN_TURN", "LONG_S, nat=PORTS_IN_TURN"),
    Mutant(OTHER_PORT, "1 : 50002", "1 : 50001"),
    Mutant(SERVER_FIRST, *MASQUERADE),
    Mutant(
        SERVER_FIRST_SILENT,
        "FORGETS_AT_ONCE, silent, server=(publish,)",
        "FORGETS_AT_ONCE, rejecting, server=(publish,)",
    ),
    Mutant(TOO_LATE, "client=(ask, IDLE_1_S)", "client=(ask, EVERY_SECOND)"),
    Mutant(WITHIN, *MASQUERADE),
    Mutant(KEEPALIVE, "client=(ask, EVERY_SECOND)", "client=(ask, IDLE_1_S)"),
    Mutant(PING, "        select.select([connection], [], [], PING_S)\n", ""),
    Mutant(FREED, *MASQUERADE),
    Mutant(USER_TIMEOUT, "client=(ask, USER_TIMEOUT)", "client=(ask,)"),
]
