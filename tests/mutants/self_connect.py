"""self_connect, broken on purpose."""

from tests.mutants import Mutant

TO_ITSELF = "test_a_client_that_tries_again_connects_to_itself"
ECHO = "test_its_request_comes_back_as_the_answer"
CANNOT_START = "test_the_service_cannot_start_any_more"
LEAVES_TIME_WAIT = "test_a_client_that_finds_out_and_closes_leaves_time_wait"
RESET = "test_control_a_check_and_a_reset_free_the_port_at_once"
APART = "test_control_with_a_range_apart_the_client_is_refused"
RESERVED = "test_control_with_the_port_reserved_the_client_is_refused"
STAYS_APART = ("    lab.set_ephemeral_ports([PORT])\n    return client\n", "    return client\n")

MUTANTS = [
    Mutant(TO_ITSELF, *STAYS_APART),
    Mutant(
        TO_ITSELF,
        "    lab.set_ephemeral_ports([PORT])\n    return client\n",
        '    start_service(lab).run_to("listening")\n    return client\n',
    ),
    Mutant(ECHO, *STAYS_APART),
    Mutant(
        ECHO,
        "    lab.set_ephemeral_ports([PORT])\n    return client\n",
        '    service = start_service(lab)\n    service.run_to("listening")\n    service.resume()\n    return client\n',
    ),
    Mutant(CANNOT_START, *STAYS_APART),
    Mutant(
        CANNOT_START,
        "    connection.sendall(REQUEST)\n",
        "    reset_on_close(connection)\n    connection.sendall(REQUEST)\n",
    ),
    Mutant(LEAVES_TIME_WAIT, "        if closes_by_reset:\n", "        if True:\n"),
    Mutant(RESET, "        if closes_by_reset:\n", "        if False:\n"),
    Mutant(
        APART,
        "    lab.set_ephemeral_ports([OTHER_PORT])\n    client = lab.start(retry, lab.client_address(PORT), to",
        "    lab.set_ephemeral_ports([PORT])\n    client = lab.start(retry, lab.client_address(PORT), to",
    ),
    Mutant(RESERVED, "lab.set_sysctl(RESERVED, PORT)", "lab.set_sysctl(RESERVED, OTHER_PORT)"),
]
