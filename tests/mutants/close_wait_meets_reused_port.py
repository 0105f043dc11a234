"""close_wait_meets_reused_port, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_close_wait_challenges_a_reused_port_and_the_second_syn_connects",
        "play(lab, server_closes=False, ports=[PORT])",
        "play(lab, server_closes=True, ports=[PORT])",
    ),
    Mutant(
        "test_control_a_server_that_closes_leaves_the_port_free",
        "play(lab, server_closes=True, ports=[PORT])",
        "play(lab, server_closes=False, ports=[PORT])",
    ),
    Mutant(
        "test_without_rst_or_challenge_connect_times_out_beside_a_server_with_room",
        "drop_rst_and_challenge(lab)\n    rst_lost,",
        "rst_lost,",
    ),
    Mutant(
        "test_control_the_same_firewall_is_harmless_where_the_server_closes",
        "play(lab, server_closes=True, ports=[RST_LOST, CHALLENGE_LOST])",
        "play(lab, server_closes=False, ports=[RST_LOST, CHALLENGE_LOST])",
    ),
    Mutant(
        "test_control_the_same_firewall_is_harmless_where_the_server_closes",
        'lab.drop(f"tcp sport {RST_LOST} tcp flags & rst == rst")',
        "pass",
    ),
    Mutant(
        "test_control_the_same_firewall_is_harmless_where_the_server_closes",
        'lab.drop(f"tcp dport {CHALLENGE_LOST} tcp flags & (syn | ack) == ack")',
        "pass",
    ),
    Mutant(
        "test_control_the_same_firewall_is_harmless_where_the_server_closes",
        '    lab.provoke(replace(lab.segments(port=RST_LOST)[-1], flags="R"))\n',
        "",
    ),
]
