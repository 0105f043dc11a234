"""minefield_of_close_waits, broken on purpose."""

from tests.mutants import Mutant

PAYS = "test_whoever_is_given_the_port_of_a_leaked_connection_pays_for_it"

MUTANTS = [
    Mutant(
        PAYS,
        "    return server\n",
        '    server.kill()\n    lab.start(leaking_listener, lab.server_address, name="next", to="listening")\n',
    ),
    Mutant(PAYS, ".sample(PORTS, 300)", ".sample(PORTS, 299)"),
    Mutant(
        "test_control_after_the_leaking_server_has_ended_nobody_steps_on_anything",
        "    play(lab).kill()\n    lab.start(leaking_listener",
        "    play(lab)\n    (lambda *_, **__: None)(leaking_listener",
    ),
]
