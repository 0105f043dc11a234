"""bind_before_connect_exhausts, broken on purpose."""

from tests.mutants import Mutant

USED_UP = "test_bind_uses_the_ports_up_for_all_servers"
CONNECT_ALONE = "test_control_connect_alone_has_as_many_for_each_server"
NO_PORT = "test_control_with_bind_address_no_port_it_is_as_without_bind"
NEIGHBOUR = "test_another_program_that_only_connects_loses_the_ports_too"
OPTIONS = "test_options_for_reuse_do_not_help"
AUTOBIND = "test_autobind_reuse_with_reuseaddr_fails_at_random"
TIME_WAIT = "test_bind_passes_over_every_time_wait"
NO_BIND = ("                if source_host:\n", "                if False:\n")
SET_OPTION = ("connection.setsockopt(level, option, 1)", "connection.setsockopt(*NO_PORT, 1)")

MUTANTS = [
    Mutant(USED_UP, *NO_BIND),
    Mutant(USED_UP, "FOUR_PORTS = range(45000, 45004)", "FOUR_PORTS = range(45000, 45006)"),
    Mutant(CONNECT_ALONE, 'start_client(lab, "")', "start_client(lab, own_host(lab))"),
    Mutant(NO_PORT, "options=[NO_PORT]", "options=[]"),
    Mutant(NEIGHBOUR, *NO_BIND),
    Mutant(
        NEIGHBOUR,
        'own_host(lab)).run_to(f"4 {IN_USE}")\n    others',
        'own_host(lab), [NO_PORT]).run_to(f"4 {NOT_AVAILABLE}")\n    others',
    ),
    Mutant(f"{OPTIONS}[REUSEADDR]", *SET_OPTION),
    Mutant(f"{OPTIONS}[REUSEPORT]", *SET_OPTION),
    Mutant(AUTOBIND, "lab.set_sysctl(AUTOBIND_REUSE, 1)", "lab.set_sysctl(AUTOBIND_REUSE, 0)"),
    Mutant(f"{TIME_WAIT}[bind, bind]", *NO_BIND),
    Mutant(f"{TIME_WAIT}[connect, bind]", *NO_BIND),
    Mutant(f"{TIME_WAIT}[connect, connect]", "host if next_binds else", "host if True else"),
]
