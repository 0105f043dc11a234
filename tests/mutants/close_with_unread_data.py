"""close_with_unread_data, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_unread_data_turns_close_into_a_reset",
        "connection.recv(read_bytes, socket.MSG_WAITALL)",
        "connection.recv(REQUEST_BYTES, socket.MSG_WAITALL)",
    ),
    Mutant(
        "test_control_reading_first_closes_with_fin",
        "leave_time_wait(lab, serve, REQUEST_BYTES)",
        "leave_time_wait(lab, serve, REQUEST_BYTES - 1)",
    ),
    Mutant(
        "test_control_shutdown_before_close_sends_fin",
        'connection.shutdown(socket.SHUT_WR)\n    yield "shut down"',
        'connection.shutdown(socket.SHUT_RD)\n    yield "shut down"',
    ),
    Mutant(
        "test_shutdown_does_not_help_until_the_peer_has_closed",
        '    lab.start(request, lab.server_address, to="sent")\n',
        '    lab.start(request, lab.server_address, to="half closed")\n',
    ),
    Mutant(
        "test_shutdown_does_not_help_until_its_fin_is_acknowledged",
        '    lab.drop(f"tcp dport {lab.server_address[1]}")\n',
        "",
    ),
    Mutant(
        "test_control_shutdown_and_reading_to_the_end_never_resets",
        "    while connection.recv(4096):\n        pass\n",
        "    connection.recv(1)\n",
    ),
]
