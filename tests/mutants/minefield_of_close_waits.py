"""minefield_of_close_waits, broken on purpose."""

from tests.mutants import Mutant

PAYS = "test_a_client_given_the_port_of_a_leaked_close_wait_is_late"

MUTANTS = [
    Mutant(
        PAYS,
        "    return server\n",
        '    server.kill()\n    lab.start(leaking_listener, lab.server_address, name="next", to="listening")\n',
    ),
    Mutant(PAYS, ".sample(PORTS, 300)", ".sample(PORTS, 299)"),
    Mutant(
        "test_control_after_a_restart_all_clients_connect_at_once",
        "    play(lab).kill()\n    lab.start(leaking_listener",
        "    play(lab)\n    (lambda *_, **__: None)(leaking_listener",
    ),
]
