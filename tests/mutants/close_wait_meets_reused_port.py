"""close_wait_meets_reused_port, broken on purpose."""

from tests.mutants import Mutant

FIREWALL = "test_control_the_firewall_does_no_harm_if_the_server_closes"
ONE_CLOSED = 'lab.server_address, name="listener", to="listening")\n    close_from_the_client(lab, server, PORT)'
TWO_CLOSED = 'lab.server_address, name="listener", to="listening")\n    close_from_the_client(lab, server, RST_LOST)'

MUTANTS = [
    Mutant(
        "test_close_wait_challenges_a_syn_from_the_reused_port",
        f"leaking_listener, {ONE_CLOSED}",
        f"closing_listener, {ONE_CLOSED}",
    ),
    Mutant(
        "test_control_a_server_that_closes_leaves_the_port_free",
        f"closing_listener, {ONE_CLOSED}",
        f"leaking_listener, {ONE_CLOSED}",
    ),
    Mutant(
        "test_without_rst_or_challenge_connect_times_out",
        "    drop_rst_and_challenge(lab)\n\n",
        "\n",
    ),
    Mutant(FIREWALL, f"closing_listener, {TWO_CLOSED}", f"leaking_listener, {TWO_CLOSED}"),
    Mutant(FIREWALL, 'lab.drop(f"tcp sport {RST_LOST} tcp flags & rst == rst")', "pass"),
    Mutant(FIREWALL, 'lab.drop(f"tcp dport {CHALLENGE_LOST} tcp flags & (syn | ack) == ack")', "pass"),
    Mutant(FIREWALL, '    lab.provoke(replace(lab.segments(port=RST_LOST)[-1], flags="R"))\n', ""),
]
