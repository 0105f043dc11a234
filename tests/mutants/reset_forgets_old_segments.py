"""reset_forgets_old_segments, broken on purpose."""

from tests.mutants import Mutant

OLD_DATA = "test_old_data_is_rejected_only_by_its_old_ack_number"
RFC1337 = "test_rfc1337_decides_if_an_exact_reset_ends_time_wait"

MUTANTS = [
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
