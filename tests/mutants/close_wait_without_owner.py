"""close_wait_without_owner, broken on purpose."""

from tests.mutants import Mutant

CLOSES = "test_its_client_closes_and_leaves_an_ownerless_close_wait"
ACCEPTED_AFTER_ALL = (
    "    start_busy_server(lab)\n    close_before_accept(lab, says)\n",
    "    busy = start_busy_server(lab)\n    close_before_accept(lab, says)\n    accept_late(*busy)\n",
)
FIN_WAIT2_1_S = "    start_busy_server(lab, fin_timeout=1)\n    last_ack, closed = close_before_accept(lab)\n"
NEVER_CLOSED = (
    '    connection.close()\n    yield "closed"\n\n\ndef single_process_server',
    '    yield "closed"\n\n\ndef single_process_server',
)
STILL_READING = (
    '    connection.close()\n    yield "closed"\n    return heard',
    '    yield "closed"\n    return heard',
)

MUTANTS = [
    Mutant(
        "test_the_kernel_completes_the_handshake_without_accept",
        "    start_busy_server(lab)\n"
        '    lab.start(client, lab.server_address, WAITING, name="waiting", to="connected")\n',
        "    busy = start_busy_server(lab)\n"
        '    lab.start(client, lab.server_address, WAITING, name="waiting", to="connected")\n'
        "    accept_late(*busy)\n",
    ),
    Mutant(f"{CLOSES}[-1]", *ACCEPTED_AFTER_ALL),
    Mutant(f"{CLOSES}[hello-6]", *ACCEPTED_AFTER_ALL),
    Mutant(
        "test_a_linux_client_sends_nothing_and_close_wait_stays",
        FIN_WAIT2_1_S,
        FIN_WAIT2_1_S.replace("fin_timeout=1", "fin_timeout=30"),
    ),
    Mutant(
        "test_a_linux_client_sends_nothing_and_close_wait_stays",
        FIN_WAIT2_1_S,
        FIN_WAIT2_1_S.replace("start_busy", "busy = start_busy") + "    accept_late(*busy)\n",
    ),
    Mutant(
        "test_a_reset_ends_close_wait_but_keeps_its_queue_place",
        "(fin.seq + 1) % 2**32",
        "(fin.seq + 2) % 2**32",
    ),
    Mutant(
        "test_a_reset_ends_close_wait_but_keeps_its_queue_place",
        "    close_before_accept(lab)\n    *_, fin, _",
        "    close_before_accept(lab)\n    accept_late(server, served)\n    *_, fin, _",
    ),
    Mutant("test_late_accept_gets_data_and_eof_and_close_sends_fin", *NEVER_CLOSED),
    Mutant("test_late_accept_after_fin_wait2_has_its_fin_reset", *NEVER_CLOSED),
    Mutant("test_after_late_accept_the_second_send_fails_with_epipe", *STILL_READING),
    Mutant(
        "test_control_a_thread_per_connection_accepts_in_time",
        "lab.start(threaded_server, ",
        "lab.start(single_process_server, ",
    ),
]
