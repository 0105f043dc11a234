"""reset_before_accept, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_only_accept_takes_a_reset_connection_out_of_the_queue",
        'start(lab, connect_and_reset, "reset", 40001)\n    assert lab.wire()',
        'start(lab, connect_and_reset, "connected", 40001)\n    assert lab.wire()',
    ),
    Mutant(
        "test_only_accept_takes_a_reset_connection_out_of_the_queue",
        'server.run_to("accepted")  # with',
        "pass  # with",
    ),
    Mutant(
        "test_accept_returns_the_dead_connection_with_its_address[recv-recv-send-send]",
        'struct.pack("ii", 1, 0)',
        'struct.pack("ii", 0, 0)',
    ),
    Mutant(
        "test_accept_returns_the_dead_connection_with_its_address[recv-send-recv-send]",
        'struct.pack("ii", 1, 0)',
        'struct.pack("ii", 0, 0)',
    ),
    Mutant(
        "test_accept_returns_the_dead_connection_with_its_address[send-send-recv-recv]",
        'struct.pack("ii", 1, 0)',
        'struct.pack("ii", 0, 0)',
    ),
    Mutant(
        "test_accept_returns_the_dead_connection_with_its_address[send-recv-send-recv]",
        'struct.pack("ii", 1, 0)',
        'struct.pack("ii", 0, 0)',
    ),
    Mutant(
        "test_accept_returns_the_dead_connection_with_its_address[getpeername-getsockopt-recv-send]",
        'struct.pack("ii", 1, 0)',
        'struct.pack("ii", 0, 0)',
    ),
    Mutant(
        "test_control_without_a_reset_the_queued_connection_works",
        'client = start(lab, await_greeting, "connected", 40001)',
        'client = start(lab, connect_and_reset, "reset", 40001)',
    ),
    Mutant(
        "test_an_accept_loop_stuck_on_a_dead_probe_lets_nobody_in",
        "it greets in its accept loop\n    listener = socket.create_server(address, backlog=1)",
        "it greets in its accept loop\n    listener = socket.create_server(address, backlog=2)",
    ),
    Mutant(
        "test_control_probes_that_reset_after_the_greeting_do_no_harm", '"greeted", "reset")', '"reset", "greeted")'
    ),
    Mutant(
        "test_control_greeting_in_threads_survives_the_same_probes",
        "threading.Thread(target=greet, args=[connection]).start()",
        "greet(connection)",
    ),
]
