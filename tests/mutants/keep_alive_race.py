"""keep_alive_race, broken on purpose."""

from tests.mutants import Mutant

CROSSES = "test_a_request_that_crosses_fin_is_answered_by_rst"
FIN_ARRIVES = ("tcp flags & fin == fin", "tcp flags & urg == urg")
NO_LOOK = ('cure == "looks" and', 'cure == "looks" and not')

MUTANTS = [
    Mutant(f"{CROSSES}[plain]", *FIN_ARRIVES),
    Mutant(f"{CROSSES}[looks before use]", *FIN_ARRIVES),
    Mutant(f"{CROSSES}[looks before use]", *NO_LOOK),
    Mutant(
        "test_a_fin_that_was_not_read_gives_an_empty_reply",
        'lab)\n    server.run_to("closed")',
        "lab)\n    close_with_fin_on_its_way(lab, server)",
    ),
    Mutant("test_control_a_look_finds_a_fin_that_has_arrived", *NO_LOOK),
    Mutant("test_control_a_client_that_gives_up_first_has_no_race", 'play(lab, cure="gives up first")', "play(lab)"),
    Mutant(
        "test_the_same_error_comes_after_a_request_was_executed",
        "reset_on_close(connection)",
        "pass",
    ),
    Mutant("test_control_a_request_that_crossed_fin_can_be_repeated", 'if cure != "repeats"', "if cure"),
    Mutant("test_a_repeated_request_may_be_executed_twice", 'play(lab, "dies", "repeats")', 'play(lab, "dies")'),
]
