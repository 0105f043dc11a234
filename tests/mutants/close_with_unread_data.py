"""close_with_unread_data, broken on purpose."""

from tests.mutants import Mutant

LIMIT = "test_shutdown_does_not_help_before_its_fin_is_acknowledged_and_the_peer_has_closed"

MUTANTS = [
    Mutant(
        "test_unread_data_turns_close_into_a_reset",
        "connection.recv(reads, socket.MSG_WAITALL)",
        "connection.recv(REQUEST_BYTES, socket.MSG_WAITALL)",
    ),
    Mutant(
        "test_control_reading_first_closes_with_fin",
        "leave_time_wait(lab, reads=REQUEST_BYTES)",
        "leave_time_wait(lab, reads=REQUEST_BYTES - 1)",
    ),
    Mutant(
        "test_control_shutdown_before_close_sends_fin_and_leaves_time_wait",
        'connection.shutdown(socket.SHUT_WR)\n        yield "shut down"',
        'connection.shutdown(socket.SHUT_RD)\n        yield "shut down"',
    ),
    Mutant(f"{LIMIT}[1-TIME_WAIT-LAST_ACK]", '        lab.drop(f"tcp dport {lab.server_address[1]}")', "        pass"),
    Mutant(f"{LIMIT}[0-CLOSE_WAIT-FIN_WAIT2]", "shuts_down=True, half_closes=half)", "shuts_down=True)"),
    Mutant(
        "test_after_a_reset_the_port_is_free_and_an_old_segment_unknown",
        "connection.recv(reads, socket.MSG_WAITALL)",
        "connection.recv(REQUEST_BYTES, socket.MSG_WAITALL)",
    ),
    Mutant(
        "test_control_time_wait_keeps_the_port_and_acknowledges_an_old_segment",
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)',
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", 0)',
    ),
    Mutant(
        "test_the_next_connection_knows_old_data_by_its_old_acknowledgement_alone[True-0]",
        "acknowledged = old_syn_ack if ack_is_old else syn_ack",
        "acknowledged = syn_ack",
    ),
    Mutant(
        "test_the_next_connection_knows_old_data_by_its_old_acknowledgement_alone[False-3]",
        "acknowledged = old_syn_ack if ack_is_old else syn_ack",
        "acknowledged = old_syn_ack",
    ),
    Mutant(
        "test_rfc1337_decides_whether_a_reset_with_the_exact_number_ends_time_wait[0-0-CLOSED]",
        "fin.seq + 1 + beyond",
        "fin.seq + beyond",
    ),
    Mutant(
        "test_rfc1337_decides_whether_a_reset_with_the_exact_number_ends_time_wait[1-0-TIME_WAIT]",
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", rfc1337)',
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", 0)',
    ),
    Mutant(
        "test_rfc1337_decides_whether_a_reset_with_the_exact_number_ends_time_wait[0-1-TIME_WAIT]",
        "fin.seq + 1 + beyond",
        "fin.seq + 1",
    ),
]
