"""last_segment_lost, broken on purpose."""

from tests.mutants import Mutant

ONE = "test_one_lost_segment_is_probed_as_late_as_a_timeout"
TWO = "test_with_two_outstanding_the_probe_comes_after_two_round_trips"
TIMEOUT = "test_without_probes_a_timeout_repairs_the_tail"
NEEDLESS = "test_dsack_says_that_the_probe_was_not_needed"
MIDDLE = "test_control_a_loss_in_the_middle_waits_for_no_timer"
SHORTER = "test_control_a_smaller_rto_min_shortens_both"
SYSCTL, ROUTE = "set_rto_min_by_sysctl", "set_rto_min_by_route"
NO_PROBES = ("lost=(DATA,), early_retrans=3)", "lost=(DATA,), early_retrans=0)")
PROBES = ("lost=lost, early_retrans=0)", "lost=lost)")
LONG_BY_SYSCTL = ("lab.set_sysctl(RTO_MIN, round(SHORT_RTO_MIN_S * 1e6))", "pass")
LONG_BY_ROUTE = ('= 0.02, "20ms"', '= 0.02, "200ms"')

MUTANTS = [
    Mutant(ONE, *NO_PROBES),
    Mutant(ONE, "repeated) = play(lab, SEGMENT)", "repeated) = play(lab, SEGMENT, lost=(ACKS,))"),
    Mutant(TWO, *NO_PROBES),
    Mutant(TWO, '("sack", 1)', '("sack", 0)'),
    Mutant(f"{TIMEOUT}[one outstanding]", *PROBES),
    Mutant(f"{TIMEOUT}[two outstanding]", *PROBES),
    Mutant(NEEDLESS, "play(lab, 2 * SEGMENT, lost=(ACKS,))", "play(lab, 2 * SEGMENT)"),
    Mutant(NEEDLESS, '("dsack", 1)', '("dsack", 0)'),
    Mutant(MIDDLE, "play(lab, *[SEGMENT] * 4, early_retrans=0)", "play(lab, SEGMENT)"),
    Mutant(MIDDLE, "    _, _, _, sent = play(lab, *", "    _, _, _, sent = play(lab, lost=(ACKS,), *"),
    Mutant(f"{SHORTER}[0-{SYSCTL}]", *LONG_BY_SYSCTL),
    Mutant(f"{SHORTER}[3-{SYSCTL}]", *LONG_BY_SYSCTL),
    Mutant(f"{SHORTER}[0-{ROUTE}]", *LONG_BY_ROUTE),
    Mutant(f"{SHORTER}[3-{ROUTE}]", *LONG_BY_ROUTE),
]
