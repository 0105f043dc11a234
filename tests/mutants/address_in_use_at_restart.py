"""address_in_use_at_restart, broken on purpose."""

from tests.mutants import Mutant

TIME_WAIT_HAS_IT = "test_a_restart_fails_while_time_wait_has_the_port"
OVER_CONNECTION = "test_over_a_connection_one_option_on_both_helps"
WAITING = "test_waiting_helps_only_if_a_timer_ends_the_old_socket"
SYSCTLS = "test_sysctls_for_time_wait_do_not_free_the_port"
SET_OPTION = "listener.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)"
OF_BOTH = ("NOTHING, ADDR, PORT = (), ", 'NOTHING, ADDR, PORT = ("SO_REUSEADDR",), ')
OLD_PROCESS = ('    if old_process == "gone":\n', '    if old_process != "gone":\n')

MUTANTS = [
    Mutant(TIME_WAIT_HAS_IT, *OF_BOTH),
    Mutant(
        TIME_WAIT_HAS_IT, '    "TIME_WAIT": ("CLOSED", [ACCEPT, ', '    "TIME_WAIT": ("CLOSED", [CLIENT_ENDS, ACCEPT, '
    ),
    Mutant("test_control_with_reuseaddr_on_both_the_restart_succeeds", SET_OPTION, "listener.fileno()"),
    Mutant("test_over_a_listener_only_reuseport_on_both_helps", SET_OPTION, "listener.fileno()"),
    Mutant(
        "test_over_a_listener_only_reuseport_on_both_helps",
        "    for listener in listeners:\n        listener.listen()\n",
        "",
    ),
    *(
        Mutant(f"{OVER_CONNECTION}[{state}]", SET_OPTION, "listener.fileno()")
        for state in ("ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSING", "TIME_WAIT", "CLOSE_WAIT", "LAST_ACK")
    ),
    Mutant(f"{OVER_CONNECTION}[ESTABLISHED]", "    for listener in listeners:\n        listener.close()\n", ""),
    Mutant("test_with_reuseaddr_both_may_bind_and_one_may_listen", '    first.run_to("listening")\n', ""),
    Mutant(SYSCTLS, *OF_BOTH),
    Mutant(
        SYSCTLS,
        '    leave_time_wait(lab, NOTHING)\n    lab.set_sysctl("net.ipv4.tcp_tw_reuse", 1)\n',
        '    lab.set_sysctl("net.ipv4.tcp_max_tw_buckets", 0)\n    play(lab, "TIME_WAIT")[0].finish()\n',
    ),
    Mutant(
        "test_control_if_the_client_closes_first_nothing_is_left",
        'play(lab, "CLOSE_WAIT")',
        'play(lab, "TIME_WAIT")',
    ),
    *(
        Mutant(f"{WAITING}[{parameters}]", *OLD_PROCESS)
        for parameters in (
            "FIN_WAIT2-gone-time_wait",
            "FIN_WAIT1-gone-retransmit",
            "LAST_ACK-gone-retransmit",
            "FIN_WAIT2-alive-none",
            "CLOSE_WAIT-alive-none",
            "ESTABLISHED-alive-none",
        )
    ),
    Mutant(f"{WAITING}[TIME_WAIT-gone-time_wait]", *OF_BOTH),
    Mutant(
        "test_control_the_port_is_free_when_fin_wait2_is_over",
        '"net.ipv4.tcp_fin_timeout", 1)\n    server',
        '"net.ipv4.tcp_fin_timeout", 3)\n    server',
    ),
]
