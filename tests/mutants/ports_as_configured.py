"""ports_as_configured, broken on purpose."""

from tests.mutants import Mutant

TAKEN_OVER = "test_a_time_wait_is_taken_over_as_configured"

MUTANTS = [
    Mutant(f"{TAKEN_OVER}[off loopback]", '{RANGE: "45000 45000", DELAY: 1}', '{RANGE: "45000 45001", DELAY: 1}'),
    Mutant(f"{TAKEN_OVER}[on loopback]", '{RANGE: "45000 45000", DELAY: 1}', '{RANGE: "45000 45001", DELAY: 1}'),
    Mutant(
        "test_a_time_wait_is_taken_over_when_it_is_old_enough",
        "    assert third.finish(",
        "    lab.set_sysctl(DELAY, 20)\n    assert third.finish(",
    ),
    Mutant(f"{TAKEN_OVER}[off loopback]", "    leave_time_wait(lab, address)\n    assert", "    assert"),
    Mutant("test_no_more_time_waits_than_configured", "most = int(lab.sysctl(BUCKETS))", "most = 5"),
    Mutant("test_a_reset_ends_a_time_wait_or_not_as_configured", "seq=(fin.seq + 1)", "seq=(fin.seq + 2)"),
    Mutant("test_a_reset_ends_a_time_wait_or_not_as_configured", 'flags="R", ', ""),
    Mutant(
        "test_connect_has_as_many_ports_as_configured",
        "low, high = map(int, lab.sysctl(RANGE).split())",
        "low, high = 45000, 45003",
    ),
    Mutant(
        "test_control_towards_another_server_the_same_ports_are_free",
        '"45000 45003"',
        '"45000 45005"',
    ),
]
