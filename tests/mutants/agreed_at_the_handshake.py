"""agreed_at_the_handshake, broken on purpose."""

from tests.mutants import Mutant

BIRTH = "    connection = socket.socket()\n"

MUTANTS = [
    Mutant(
        "test_sack_is_agreed_on_as_configured",
        "SACK, SCALING, ECN = 2, 4, 8",
        "SACK, SCALING, ECN = 8, 4, 2",
    ),
    Mutant(
        "test_timestamps_are_sent_by_a_clock_as_configured",
        "syn.time_ns // 1_000_000 + 1000",
        "syn.timestamp[0] + 1000",
    ),
    Mutant(
        "test_ecn_is_agreed_on_as_configured",
        "SACK, SCALING, ECN = 2, 4, 8",
        "SACK, SCALING, ECN = 8, 4, 2",
    ),
    Mutant(
        "test_windows_are_scaled_as_configured",
        BIRTH,
        f"{BIRTH}    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 65536)\n",
    ),
    Mutant(
        "test_buffers_are_as_configured",
        BIRTH,
        f"{BIRTH}    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 40000)\n",
    ),
    Mutant(
        "test_congestion_control_is_as_configured",
        "socket.TCP_CONGESTION, 16)",
        "socket.TCP_CONGESTION, 3)",
    ),
    Mutant(
        "test_a_later_sysctl_does_not_reach_an_open_connection",
        "lab.set_sysctl(key, 0)",
        "lab.set_sysctl(key, 1)",
    ),
    Mutant(
        "test_control_a_new_connection_has_the_new_values",
        "        lab.set_sysctl(key, 1)\n",
        "        lab.set_sysctl(key, 0)\n",
    ),
]
