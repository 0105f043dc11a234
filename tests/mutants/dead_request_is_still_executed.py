"""dead_request_is_still_executed, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant("test_an_order_given_up_is_executed_and_its_answer_is_reset", "patience_s=0.2", "patience_s=60.0"),
    Mutant("test_an_order_given_up_is_executed_and_its_answer_is_reset", 'pack("ii", aborts, 0)', 'pack("ii", 1, 0)'),
    Mutant("test_an_order_given_up_is_executed_and_its_answer_is_reset", "executed.append(order)", "pass"),
    Mutant("test_not_even_a_reset_takes_the_order_back", 'pack("ii", aborts, 0)', 'pack("ii", 0, 0)'),
    Mutant("test_not_even_a_reset_takes_the_order_back", "executed.append(order)", "pass"),
    Mutant(
        "test_an_order_repeated_after_a_timeout_is_executed_twice",
        "if not (knows_orders and order in executed):",
        "if order not in executed:",
    ),
    Mutant(
        "test_control_an_order_that_the_server_knows_again_is_executed_once",
        "if not (knows_orders and order in executed):",
        "if True:",
    ),
    Mutant(
        "test_control_a_server_that_is_free_in_time_answers",
        'client.stay_blocked(in_="poll")\n    silent.kill()\n',
        'client.stay_blocked(in_="poll")\n',
    ),
    Mutant("test_control_a_server_that_is_free_in_time_answers", 'stay_blocked(in_="poll")', 'run_to("given up")'),
]
