"""broken_ipv6_no_fallback, broken on purpose."""

from tests.mutants import Mutant

TIMED_OUT = "test_ipv4_is_not_tried_before_ipv6_has_timed_out"
HAPPY_EYEBALLS = "test_control_happy_eyeballs_tries_ipv4_after_its_delay"
EACH_ADDRESS = "test_control_a_timeout_for_each_address_reaches_ipv4"
DROPPED = ("ipv6 tcp dport", "ipv6 tcp sport 9 tcp dport")  # nothing is dropped
IPV4_FIRST = (
    "return [lab.server_address_over(6), lab.server_address_over(4)]",
    "return [lab.server_address_over(4), lab.server_address_over(6)]",
)

MUTANTS = [
    Mutant(TIMED_OUT, *DROPPED),
    Mutant(TIMED_OUT, 'tcp_syn_retries", 1', 'tcp_syn_retries", 2'),
    Mutant("test_a_deadline_for_all_addresses_never_reaches_ipv4", *DROPPED),
    Mutant("test_a_deadline_for_all_addresses_never_reaches_ipv4", *IPV4_FIRST),
    Mutant(HAPPY_EYEBALLS, *DROPPED),
    Mutant(HAPPY_EYEBALLS, "lab), None, DELAY_S)\n    assert set", "lab), None, DELAY_S / 5)\n    assert set"),
    Mutant(EACH_ADDRESS, *DROPPED),
    Mutant(EACH_ADDRESS, "ipv6_first(lab), LIMIT_S)\n    assert", "ipv6_first(lab), LIMIT_S / 5)\n    assert"),
    Mutant("test_control_a_refusal_over_ipv6_is_followed_by_ipv4_at_once", "listen_at=[4])", "listen_at=[6, 4])"),
    Mutant("test_control_with_ipv4_first_ipv6_is_not_tried", "ipv6_first(lab)[::-1]", "ipv6_first(lab), LIMIT_S"),
    Mutant("test_control_ipv6_that_works_is_used", *IPV4_FIRST),
    Mutant("test_control_ipv6_that_works_is_used", "listen_at=(6, 4)", "listen_at=(4,)"),
    Mutant("test_control_happy_eyeballs_uses_ipv6_if_it_works", "listen_at=(6, 4)", "listen_at=(4,)"),
    Mutant("test_control_happy_eyeballs_uses_ipv6_if_it_works", *IPV4_FIRST),
]
