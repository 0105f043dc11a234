"""cookies_forget_options, broken on purpose."""

from tests.mutants import Mutant

FORGETS = "test_without_timestamps_a_cookie_forgets_the_options"

MUTANTS = [
    Mutant(FORGETS, "backlog=SMALL, timestamps=0", "backlog=SMALL, timestamps=1"),
    Mutant(FORGETS, "FLOOD_PORTS = range(10001, 10009)", "FLOOD_PORTS = range(10001, 10004)"),
    Mutant("test_the_server_keeps_nothing_until_the_ack_comes", "SMALL, LARGE = 4,", "SMALL, LARGE = 40,"),
    Mutant("test_without_cookies_the_syn_is_dropped", "play(lab, syncookies=0)", "play(lab, syncookies=1)"),
    Mutant("test_control_timestamps_carry_the_options", "play(lab, timestamps=1)", "play(lab, timestamps=0)"),
    Mutant("test_control_timestamps_carry_the_options", "SMALL, LARGE = 4,", "SMALL, LARGE = 40,"),
    Mutant("test_control_a_larger_queue_needs_no_cookie", "play(lab, backlog=LARGE)", "play(lab, backlog=SMALL)"),
]
