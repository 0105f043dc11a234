"""close_in_another_thread, broken on purpose."""

from tests.mutants import Mutant

SETS_LINGER = "reset_on_close(connection)"

MUTANTS = [
    Mutant(
        "test_close_wakes_no_reader_and_sends_nothing",
        "    connection.close()\n",
        "    connection.shutdown(socket.SHUT_RDWR)\n    connection.close()\n",
    ),
    Mutant("test_fin_is_sent_once_data_has_woken_the_reader", "connection.recv(100)", "connection.recv(2)"),
    Mutant("test_with_linger_0_it_is_rst_that_is_sent_then", SETS_LINGER, "pass"),
    Mutant(
        "test_the_next_read_may_be_from_another_connection",
        '    os.close(number)\n    yield "closed"\n    other, _ = listener.accept()\n',
        '    yield "closed"\n    other, _ = listener.accept()\n    os.close(number)\n',
    ),
    Mutant(
        "test_control_shutdown_wakes_the_reader_and_sends_fin",
        "connection.shutdown(socket.SHUT_RDWR)",
        "pass",
    ),
    Mutant(
        "test_a_listener_closed_in_another_thread_still_listens",
        "    listener.close()\n",
        "    listener.shutdown(socket.SHUT_RD)\n    listener.close()\n",
    ),
    Mutant("test_control_shutdown_wakes_accept", "listener.shutdown(socket.SHUT_RD)", "pass"),
]
