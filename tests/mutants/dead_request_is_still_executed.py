"""dead_request_is_still_executed, broken on purpose."""

from tests.mutants import Mutant

GIVEN_UP = "test_a_request_given_up_is_executed_and_its_answer_reset"
RESET = "test_not_even_a_reset_takes_the_request_back"
FREE_IN_TIME = "test_control_a_server_that_is_free_in_time_answers"

MUTANTS = [
    Mutant(GIVEN_UP, "timeout_s=0.2", "timeout_s=60.0"),
    Mutant(GIVEN_UP, "        if resets:\n", "        if True:\n"),
    Mutant(GIVEN_UP, "executed.append(request)", "pass"),
    Mutant(RESET, "        if resets:\n", "        if False:\n"),
    Mutant(RESET, "executed.append(request)", "pass"),
    Mutant(
        "test_a_request_sent_again_after_a_timeout_is_executed_twice",
        "if not (recognises_repetitions and request in executed):",
        "if request not in executed:",
    ),
    Mutant(
        "test_control_a_request_that_is_recognised_is_executed_once",
        "if not (recognises_repetitions and request in executed):",
        "if True:",
    ),
    Mutant(
        FREE_IN_TIME,
        'client.stay_blocked(in_="poll")\n    silent.kill()\n',
        'client.stay_blocked(in_="poll")\n',
    ),
    Mutant(FREE_IN_TIME, 'stay_blocked(in_="poll")', 'run_to("given up")'),
]
