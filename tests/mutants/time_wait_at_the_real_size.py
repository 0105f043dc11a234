"""time_wait_at_the_real_size, broken on purpose."""

from tests.mutants import Mutant

LARGE = "test_the_default_range_is_used_up_towards_one_server"

MUTANTS = [
    Mutant(
        "test_a_time_wait_costs_a_small_object_and_no_fd",
        "            while data := connection.recv(1024):\n                connection.sendall(data)\n",
        "            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, *bytes(7)]))\n",
    ),
    Mutant(
        "test_control_an_open_connection_costs_whole_sockets_and_an_fd",
        "    connections = [socket.create_connection(address) for _ in range(count)]\n",
        "    connections = [socket.create_connection(address) for _ in range(count)]\n    connections[0].close()\n",
    ),
    Mutant(LARGE, "PORTS = range(32768, 61000)", "PORTS = range(32768, 32868)"),
    Mutant(
        LARGE,
        "    play(lab, PORTS)\n    expect_time_waits(lab, 28232)\n",
        "    play(lab, PORTS[:100])\n    lab.set_ephemeral_ports([32768, 32967])\n",
    ),
]
