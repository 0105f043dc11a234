"""listener_closed_with_a_queue, broken on purpose."""

from tests.mutants import Mutant

RESETS = "test_closing_a_listener_resets_the_clients_in_its_queue"
HALF_OPEN = "test_a_half_open_client_learns_of_it_when_it_sends"
ALONE = "test_neither_a_second_listener_nor_the_sysctl_helps_alone"
MIGRATES = "test_control_with_tcp_migrate_req_the_queue_moves"
HANDED_OVER = "test_control_a_listener_that_is_handed_over_resets_no_client"
DRAINED = "test_control_draining_helps_the_queue_but_not_the_half_open"
LISTENER_STAYS = ("    listener.close()\n", "    listener.fileno()\n")

MUTANTS = [
    Mutant(RESETS, *LISTENER_STAYS),
    Mutant(RESETS, 'if ending == "drain":', "if True:"),
    Mutant(HALF_OPEN, *LISTENER_STAYS),
    Mutant(HALF_OPEN, '    lab.drop(f"tcp sport {HALF_OPEN} tcp flags == ack")\n', ""),
    Mutant(f"{ALONE}[a second listener alone]", "set_migration(lab, migrate)", "set_migration(lab, 1)"),
    Mutant(f"{ALONE}[tcp_migrate_req alone]", "    if second_listener:\n", "    if True:\n"),
    Mutant(MIGRATES, "set_migration(lab, 1)", "set_migration(lab, 0)"),
    Mutant(HANDED_OVER, "    listener.close()\n", "    listener.shutdown(socket.SHUT_RDWR)\n"),
    Mutant(DRAINED, 'if ending == "drain":', 'if ending == "nothing":'),
    Mutant(DRAINED, *LISTENER_STAYS),
]
