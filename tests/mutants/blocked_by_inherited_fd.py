"""blocked_by_inherited_fd, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_a_slow_call_delays_a_fast_one",
        "    start_server(lab)\n    slow",
        '    start_server(lab, "threads")\n    slow',
    ),
    Mutant(
        "test_control_a_threaded_server_answers_the_fast_call_first",
        'start_server(lab, "threads")',
        "start_server(lab)",
    ),
    Mutant(
        "test_an_inherited_socket_stays_established_after_close",
        "    connection.close()\n",
        "    connection.shutdown(socket.SHUT_RDWR)\n    connection.close()\n",
    ),
    Mutant(
        "test_a_plain_fork_leaks_in_spite_of_cloexec",
        "    connection.close()\n",
        "    connection.shutdown(socket.SHUT_RDWR)\n    connection.close()\n",
    ),
    Mutant("test_a_second_client_is_let_in_and_times_out", '"fast", 0.2)', '"fast")'),
    Mutant(
        "test_a_second_client_is_let_in_and_times_out",
        '"handler timeout" else None',
        '"handler timeout" else 0.2',
    ),
    Mutant(
        "test_killing_the_child_frees_the_server_at_once",
        "    os.kill(pid, signal.SIGKILL)\n    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n",
        "    return -signal.SIGKILL\n",
    ),
    Mutant(
        "test_control_each_cure_frees_the_server_while_the_child_lives[close_fds-holders0-TIME_WAIT]",
        'close_fds=variant == "close_fds"',
        "close_fds=False",
    ),
    Mutant(
        "test_control_each_cure_frees_the_server_while_the_child_lives[CLOEXEC-holders1-TIME_WAIT]",
        '("CLOEXEC", "fork")',
        '("fork",)',
    ),
    Mutant(
        "test_control_each_cure_frees_the_server_while_the_child_lives[shutdown-holders2-TIME_WAIT]",
        'if variant == "shutdown":',
        'if variant == "nothing":',
    ),
    Mutant(
        "test_control_each_cure_frees_the_server_while_the_child_lives[handler timeout-holders3-CLOSE_WAIT]",
        '0.2 if variant == "handler timeout" else None',
        "None",
    ),
    Mutant(
        "test_control_each_cure_frees_the_server_while_the_child_lives[threads-holders4-ESTABLISHED]",
        'ThreadedServer if variant == "threads" else SimpleXMLRPCServer',
        "SimpleXMLRPCServer",
    ),
]
