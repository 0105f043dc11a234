"""listening_fd_inherited, broken on purpose."""

from tests.mutants import Mutant

GONE = "test_clients_connect_to_a_server_that_is_gone"
QUEUE_FULL = "test_when_the_accept_queue_is_full_connect_hangs"
REUSEPORT = "test_with_reuseport_the_restart_succeeds_and_loses_clients"
ENDS_WITH_SERVER = "test_control_the_listener_ends_with_the_server"
SS_KILL = "test_control_ss_kill_ends_the_listener_but_not_its_port"
HANDED_OVER = "test_control_a_listener_handed_over_on_purpose_loses_no_client"
SHUT_DOWN = ('    if variant == "shutdown":\n', "    if True:\n")
CHILD_ENDS = '    server.run_to("child ended")\n'
SERVICE_IS_KILLED = "        os.kill(pid, signal.SIGKILL)\n        os.waitpid(pid, 0)\n        yield"

MUTANTS = [
    Mutant(f"{GONE}[inherits-sleep]", *SHUT_DOWN),
    Mutant(f"{GONE}[inherits-sleep]", 'variant not in ("CLOEXEC", "fork")', "False"),
    Mutant(f"{GONE}[fork-serve]", *SHUT_DOWN),
    Mutant(f"{GONE}[fork-serve]", 'if variant == "fork":', 'if variant == "nothing":'),
    Mutant(QUEUE_FULL, '"sleep"), backlog=2', '"sleep"), backlog=3'),
    Mutant(QUEUE_FULL, "PORTS = (40001, 40002, 40003)", "PORTS = (40001, 40002)"),
    Mutant("test_a_restart_fails_although_both_set_reuseaddr", *SHUT_DOWN),
    Mutant(REUSEPORT, 'reuse_port=variant == "reuse_port"', "reuse_port=False"),
    Mutant(REUSEPORT, *SHUT_DOWN),
    Mutant(f"{ENDS_WITH_SERVER}[CLOEXEC-holders0]", 'variant not in ("CLOEXEC", "fork")', 'variant != "fork"'),
    Mutant(f"{ENDS_WITH_SERVER}[shutdown-holders1]", "listener.shutdown(socket.SHUT_RDWR)", "listener.fileno()"),
    Mutant("test_control_killing_the_child_frees_the_port_at_once", f"{CHILD_ENDS}    assert", "    assert"),
    Mutant(SS_KILL, '    destroy(lab, f"sport = :{lab.server_address[1]}")\n', ""),
    Mutant(
        SS_KILL,
        "    play(lab)\n    clients = fill_the_queue(lab)\n    destroy(",
        f"    server = close_listener(lab)\n    clients = fill_the_queue(lab)\n{CHILD_ENDS}    print(",
    ),
    Mutant(HANDED_OVER, SERVICE_IS_KILLED, "        listener.shutdown(socket.SHUT_RDWR)\n        yield"),
    Mutant(HANDED_OVER, SERVICE_IS_KILLED, "        yield"),
]
