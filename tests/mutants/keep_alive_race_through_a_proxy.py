"""keep_alive_race_through_a_proxy, broken on purpose."""

from tests.mutants import Mutant

ANSWERS_502 = "test_haproxy_answers_502_and_logs_sh"
EITHER_OPTION = "test_control_either_option_gets_the_client_its_answer"
FIN_ARRIVES = ('if fin == "on its way":', 'if fin == "late":')

MUTANTS = [
    Mutant(f"{ANSWERS_502}[as it is]", *FIN_ARRIVES),
    Mutant(f"{ANSWERS_502}[as it is]", '"http-reuse always", retry)', '"http-reuse safe", retry)'),
    Mutant(f"{ANSWERS_502}[conn-failure]", '["", "retry-on conn-failure"]', '["", RETRY]'),
    Mutant(
        "test_control_haproxy_sees_a_fin_that_has_arrived",
        '"http-reuse always", fin="arrives")\n    lab.expect_states(client="CLOSED")',
        '"http-reuse always")',
    ),
    Mutant(f"{EITHER_OPTION}[http-reuse safe]", '["http-reuse safe"]', '["http-reuse always"]'),
    Mutant(f"{EITHER_OPTION}[retry-on empty-response]", "conn-failure empty-response", "conn-failure"),
    Mutant("test_a_clients_second_request_ends_without_an_answer", *FIN_ARRIVES),
    Mutant("test_a_post_that_must_not_be_repeated_still_gets_502", "if METH_POST", "if METH_PUT"),
    Mutant("test_control_a_get_is_repeated_where_a_post_is_not", "if METH_POST", "if METH_GET"),
]
