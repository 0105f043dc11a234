"""reset_before_accept, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_only_accept_takes_a_reset_connection_out_of_the_queue",
        '40001, to="reset")\n    assert lab.wire()',
        '40001, to="connected")\n    assert lab.wire()',
    ),
    Mutant(
        "test_only_accept_takes_a_reset_connection_out_of_the_queue",
        'server.run_to("accepted")  # the dead',
        "pass  # the dead",
    ),
    Mutant(
        "test_accept_returns_the_dead_connection_with_its_address[recv-recv-send-send]",
        "reset_on_close(connection)",
        "connection.fileno()",
    ),
    Mutant(
        "test_accept_returns_the_dead_connection_with_its_address[recv-send-recv-send]",
        "reset_on_close(connection)",
        "connection.fileno()",
    ),
    Mutant(
        "test_accept_returns_the_dead_connection_with_its_address[send-send-recv-recv]",
        "reset_on_close(connection)",
        "connection.fileno()",
    ),
    Mutant(
        "test_accept_returns_the_dead_connection_with_its_address[send-recv-send-recv]",
        "reset_on_close(connection)",
        "connection.fileno()",
    ),
    Mutant(
        "test_accept_returns_the_dead_connection_with_its_address[getpeername-SO_ERROR-recv-send]",
        "reset_on_close(connection)",
        "connection.fileno()",
    ),
    Mutant(
        "test_control_without_a_reset_the_queued_connection_works",
        'client = lab.start(await_greeting, lab.server_address, 40001, to="connected")',
        'client = lab.start(connect_and_reset, lab.server_address, 40001, to="reset")',
    ),
    Mutant(
        "test_an_accept_loop_stuck_on_a_dead_probe_lets_nobody_in",
        'again on any error."""\n    listener = socket.create_server(address, backlog=1)',
        'again on any error."""\n    listener = socket.create_server(address, backlog=2)',
    ),
    Mutant(
        "test_control_probes_that_reset_after_the_greeting_do_no_harm",
        '        server.run_to("greeted")\n        prober.run_to("reset")\n',
        '        prober.run_to("reset")\n        server.run_to("greeted")\n',
    ),
    Mutant(
        "test_control_greeting_in_threads_survives_the_same_probes",
        "threading.Thread(target=greet, args=[connection]).start()",
        "greet(connection)",
    ),
]
