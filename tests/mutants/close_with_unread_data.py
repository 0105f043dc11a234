"""close_with_unread_data, broken on purpose."""

from tests.mutants import Mutant

OLD_DATA = "test_old_data_is_rejected_only_by_its_old_ack_number"
RFC1337 = "test_rfc1337_decides_if_an_exact_reset_ends_time_wait"

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
    Mutant(
        "test_a_reset_frees_the_port_and_forgets_old_segments",
        "connection.recv(read_bytes, socket.MSG_WAITALL)",
        "connection.recv(REQUEST_BYTES, socket.MSG_WAITALL)",
    ),
    Mutant(
        "test_control_time_wait_keeps_the_port_and_acks_old_segments",
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)',
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", 0)',
    ),
    Mutant(
        f"{OLD_DATA}[True-0]",
        "acknowledged = old_syn_ack if ack_is_old else syn_ack",
        "acknowledged = syn_ack",
    ),
    Mutant(
        f"{OLD_DATA}[False-3]",
        "acknowledged = old_syn_ack if ack_is_old else syn_ack",
        "acknowledged = old_syn_ack",
    ),
    Mutant(f"{RFC1337}[0-0-CLOSED]", "fin.seq + 1 + seq_offset", "fin.seq + seq_offset"),
    Mutant(
        f"{RFC1337}[1-0-TIME_WAIT]",
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", rfc1337)',
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", 0)',
    ),
    Mutant(f"{RFC1337}[0-1-TIME_WAIT]", "fin.seq + 1 + seq_offset", "fin.seq + 1"),
]
