"""server_dies, broken on purpose."""

from tests.mutants import Mutant

UNSENT = "test_killed_with_data_unsent"
READS_LESS = ("connection.recv(100)", "connection.recv(4)")
ALWAYS_READS = ("    if reads:\n        connection.recv(100)\n", "    connection.recv(100)\n")

MUTANTS = [
    Mutant(
        "test_killed_with_data_unread_it_resets",
        "server, client = play(lab, False)\n",
        "server, client = play(lab, True)\n",
    ),
    Mutant("test_killed_with_nothing_unread_it_sends_fin", *READS_LESS),
    Mutant(f"{UNSENT}[nothing unread]", *READS_LESS),
    Mutant(f"{UNSENT}[data unread]", *ALWAYS_READS),
    Mutant(
        "test_while_a_child_has_the_socket_nothing_is_sent",
        "connection.set_inheritable(True)",
        "connection.set_inheritable(False)",
    ),
    Mutant("test_while_it_is_stopped_its_kernel_goes_on", "    server.stop()\n", "    server.resume()\n"),
    Mutant(
        "test_exit_while_the_client_is_in_send_resets",
        "connection.sendall(bytes(8 << 20))",
        "connection.sendall(bytes(8))",
    ),
    Mutant("test_control_an_orderly_close", *READS_LESS),
]
