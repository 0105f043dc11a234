"""client_port_takes_a_service_port, broken on purpose."""

from tests.mutants import Mutant

CANNOT_LISTEN = "test_the_service_cannot_listen_and_there_is_no_listener"
TIME_WAIT = "test_time_wait_keeps_the_port_when_the_client_has_gone"
RESERVED_LATE = "test_reserving_the_port_does_not_take_it_from_its_holder"
ANOTHER_ADDRESS = "test_control_on_another_address_the_service_can_listen"
RESERVED = "test_control_a_reserved_port_is_left_to_the_service"
APART = "test_control_a_range_apart_from_the_service_ports_is_enough"
STARTS_FIRST = "test_control_a_service_that_starts_first_keeps_its_port"
CONNECTS = "    connection = socket.create_connection(address)\n"
CONNECTS_WITH_REUSEADDR = (
    "    connection = socket.socket()\n"
    "    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
    "    connection.connect(address)\n"
)

MUTANTS = [
    Mutant(
        f"{CANNOT_LISTEN}[without REUSEADDR]",
        "    take_the_port(lab)\n    assert listeners",
        "    lab.set_ephemeral_ports([OTHER_PORT])\n    start_agent(lab)\n    assert listeners",
    ),
    Mutant(f"{CANNOT_LISTEN}[with REUSEADDR]", CONNECTS, CONNECTS_WITH_REUSEADDR),
    Mutant(TIME_WAIT, CONNECTS, CONNECTS_WITH_REUSEADDR),
    Mutant(RESERVED_LATE, CONNECTS, CONNECTS_WITH_REUSEADDR),
    Mutant(ANOTHER_ADDRESS, CONNECTS, CONNECTS_WITH_REUSEADDR),
    Mutant(ANOTHER_ADDRESS, "another_host, _ = lab.server_address", "another_host = own_host"),
    Mutant(RESERVED, "lab.set_sysctl(RESERVED, PORT)\n    assert", "lab.set_sysctl(RESERVED, OTHER_PORT)\n    assert"),
    Mutant(APART, "lab.set_ephemeral_ports([OTHER_PORT])", "lab.set_ephemeral_ports([PORT])"),
    Mutant(
        STARTS_FIRST,
        'OTHER_PORT])\n    start_service(lab).run_to("listening")\n    assert',
        "OTHER_PORT])\n    start_service(lab)\n    assert",
    ),
]
