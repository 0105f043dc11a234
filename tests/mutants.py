"""Scenarios broken on purpose: for each test, a change to its story after which it must fail."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `scenario`, `old` (it stands there once) becomes `new`; then `test` must be red."""

    scenario: str
    test: str
    old: str
    new: str


FD = "blocked_by_inherited_fd"
CURE = "test_control_each_cure_lets_the_server_serve_while_the_child_lives"
RESET = "reset_before_accept"
ORDER = "test_accept_hands_out_the_dead_connection_with_its_address"

MUTANTS = [
    Mutant(FD, "test_a_slow_call_delays_a_fast_one", "start_server(lab)\n", 'start_server(lab, "threads")\n'),
    Mutant(
        FD,
        "test_control_a_threaded_server_answers_the_fast_call_first",
        'start_server(lab, "threads")',
        "start_server(lab)",
    ),
    Mutant(
        FD,
        "test_an_inherited_socket_stays_established_after_close[None-heirs0]",
        "    connection.close()\n",
        "    connection.shutdown(socket.SHUT_RDWR)\n    connection.close()\n",
    ),
    Mutant(
        FD,
        "test_an_inherited_socket_stays_established_after_close[fork-heirs1]",
        "    connection.close()\n",
        "    connection.shutdown(socket.SHUT_RDWR)\n    connection.close()\n",
    ),
    Mutant(FD, "test_a_second_client_is_let_in_and_times_out", '"fast", 0.2)', '"fast")'),
    Mutant(
        FD,
        "test_a_second_client_is_let_in_and_times_out",
        '"handler timeout" else None',
        '"handler timeout" else 0.2',
    ),
    Mutant(
        FD,
        "test_killing_the_child_frees_the_server_at_once",
        "    os.kill(pid, signal.SIGKILL)\n    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n",
        "    return -signal.SIGKILL\n",
    ),
    Mutant(FD, f"{CURE}[close_fds-heirs0-TIME_WAIT]", 'close_fds=variant == "close_fds"', "close_fds=False"),
    Mutant(FD, f"{CURE}[CLOEXEC-heirs1-TIME_WAIT]", '("CLOEXEC", "fork")', '("fork",)'),
    Mutant(FD, f"{CURE}[shutdown-heirs2-TIME_WAIT]", 'if variant == "shutdown":', 'if variant == "nothing":'),
    Mutant(FD, f"{CURE}[handler timeout-heirs3-CLOSE_WAIT]", '0.2 if variant == "handler timeout" else None', "None"),
    Mutant(
        FD,
        f"{CURE}[threads-heirs4-ESTABLISHED]",
        '(ThreadedServer if variant == "threads" else SimpleXMLRPCServer)',
        "SimpleXMLRPCServer",
    ),
    Mutant(
        RESET,
        "test_only_accept_takes_a_reset_connection_out_of_the_queue",
        'start(lab, connect_and_reset, "reset", 40001)\n    assert lab.wire()',
        'start(lab, connect_and_reset, "connected", 40001)\n    assert lab.wire()',
    ),
    Mutant(
        RESET,
        "test_only_accept_takes_a_reset_connection_out_of_the_queue",
        'server.run_to("accepted")  # with',
        "pass  # with",
    ),
    *(
        Mutant(RESET, f"{ORDER}[{order}]", 'struct.pack("ii", 1, 0)', 'struct.pack("ii", 0, 0)')
        for order in (
            "recv-recv-send-send",
            "recv-send-recv-send",
            "send-send-recv-recv",
            "send-recv-send-recv",
            "getpeername-getsockopt-recv-send",
        )
    ),
    Mutant(
        RESET,
        "test_control_a_connection_that_is_not_reset_waits_in_the_table_without_an_owner_and_works",
        'client = start(lab, await_greeting, "connected", 40001)',
        'client = start(lab, connect_and_reset, "reset", 40001)',
    ),
    Mutant(
        RESET,
        "test_an_accept_loop_stuck_on_a_dead_probe_fills_the_queue_and_lets_nobody_in",
        "def greet_in_the_accept_loop(address):\n    listener = socket.create_server(address, backlog=1)",
        "def greet_in_the_accept_loop(address):\n    listener = socket.create_server(address, backlog=2)",
    ),
    Mutant(
        RESET,
        "test_control_probes_that_reset_after_the_greeting_do_no_harm",
        '"greeted", "reset")',
        '"reset", "greeted")',
    ),
    Mutant(
        RESET,
        "test_control_accepting_in_one_place_and_greeting_in_another_survives_the_same_probes",
        "threading.Thread(target=greet, args=[connection], daemon=True).start()",
        "greet(connection)",
    ),
]
