"""too_many_open_files, broken on purpose."""

from tests.mutants import Mutant

FAULT = "test_emfile_fills_the_queue_and_syns_are_dropped"
CONTROL = "test_control_with_fds_again_connect_is_answered_at_once"

MUTANTS = [
    Mutant(FAULT, "backlog=2", "backlog=3"),
    Mutant(FAULT, "leave_fds(1)", "leave_fds(2)"),
    Mutant(f"{CONTROL}[close]", "connections.pop(0).close()", "pass"),
    Mutant(f"{CONTROL}[raise the limit]", "_, most = ", "most, _ = "),
]
