"""time_wait_port_exhaustion, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_neither_fin_wait2_nor_time_wait_needs_an_fd",
        'lab.start(two_port_client, lab.server_address).run_to("closed")',
        'lab.start(two_port_client, lab.server_address).run_to("half closed")',
    ),
    Mutant(
        "test_control_before_close_fin_wait2_has_an_fd_and_no_timer",
        'lab.start(two_port_client, lab.server_address).run_to("half closed")',
        'lab.start(two_port_client, lab.server_address).run_to("closed")',
    ),
    Mutant(
        "test_two_time_waits_use_up_two_ports_towards_one_server",
        'first_to_close="client")\n    assert [lab.state',
        'first_to_close="server")\n    assert [lab.state',
    ),
    Mutant(
        "test_two_time_waits_use_up_two_ports_towards_one_server",
        "lab.set_ephemeral_ports(ports)",
        "lab.set_ephemeral_ports([ports[0], ports[-1] + 2])",
    ),
    Mutant(
        "test_control_a_server_that_closes_first_leaves_both_ports_free",
        'play(lab, lab.server_address, first_to_close="server")',
        'play(lab, lab.server_address, first_to_close="client")',
    ),
    Mutant(
        "test_control_a_connection_that_is_kept_needs_one_port",
        "    connection = socket.create_connection(address)\n    for _ in range(3):\n",
        "    for _ in range(3):\n        connection = socket.create_connection(address)\n",
    ),
    Mutant(
        "test_time_wait_steps_aside_for_a_syn_with_a_newer[timestamp alone]",
        '(1, UPLOAD, "SA", ABOVE_THE_OLD)',
        '(0, UPLOAD, "SA", ABOVE_THE_OLD)',
    ),
    Mutant(
        "test_time_wait_steps_aside_for_a_syn_with_a_newer[sequence number alone]",
        '(0, 0, "SA", ABOVE_THE_OLD)',
        '(0, UPLOAD, "SA", ABOVE_THE_OLD)',
    ),
    Mutant("test_time_wait_steps_aside_for_a_syn_with_a_newer[neither]", '(0, UPLOAD, "A", 2)', '(1, UPLOAD, "A", 2)'),
    Mutant("test_reuse_takes_a_time_wait_over_once_the_delay_is_over", "delay_ms=60000", "delay_ms=1"),
    Mutant("test_reuse_takes_a_time_wait_over_once_the_delay_is_over", "delay_ms=20)", "delay_ms=60000)"),
    Mutant(
        "test_control_reuse_needs_timestamps_and_at_2_loopback[2-1-loopback]",
        "set_reuse(lab, mode, delay_ms=1)",
        "set_reuse(lab, 1, delay_ms=1)",
    ),
    Mutant(
        "test_control_reuse_needs_timestamps_and_at_2_loopback[1-0-other server]",
        'timestamps)\n    play(lab, lab.server_address, first_to_close="client")',
        '1)\n    play(lab, lab.server_address, first_to_close="client")',
    ),
]
