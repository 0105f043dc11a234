"""Scenarios broken on purpose: for each test, a change to its story after which it must fail."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `scenario`, `old` (it stands there once) becomes `new`; then `test` must be red."""

    scenario: str
    test: str
    old: str
    new: str


FD = "blocked_by_inherited_fd"
CURE = "test_control_each_cure_lets_the_server_serve_while_the_child_lives"
RESET = "reset_before_accept"
ORDER = "test_accept_hands_out_the_dead_connection_with_its_address"
TIME_WAIT = "time_wait_port_exhaustion"
STEPS_ASIDE = "test_time_wait_steps_aside_for_a_syn_with_a_newer"
REUSE = "test_reuse_takes_a_time_wait_over_after_the_delay_and_not_before"
NEVER = "test_reuse_never_helps_off_loopback_at_2_nor_without_timestamps"
REUSED = "close_wait_meets_reused_port"
UNREAD = "close_with_unread_data"
OLD_DATA = "test_the_next_connection_knows_old_data_by_its_old_acknowledgement_alone"
RFC1337 = "test_rfc1337_decides_whether_a_reset_with_the_exact_number_ends_time_wait"

MUTANTS = [
    Mutant(FD, "test_a_slow_call_delays_a_fast_one", "start_server(lab)\n", 'start_server(lab, "threads")\n'),
    Mutant(
        FD,
        "test_control_a_threaded_server_answers_the_fast_call_first",
        'start_server(lab, "threads")',
        "start_server(lab)",
    ),
    Mutant(
        FD,
        "test_an_inherited_socket_stays_established_after_close[None-heirs0]",
        "    connection.close()\n",
        "    connection.shutdown(socket.SHUT_RDWR)\n    connection.close()\n",
    ),
    Mutant(
        FD,
        "test_an_inherited_socket_stays_established_after_close[fork-heirs1]",
        "    connection.close()\n",
        "    connection.shutdown(socket.SHUT_RDWR)\n    connection.close()\n",
    ),
    Mutant(FD, "test_a_second_client_is_let_in_and_times_out", '"fast", 0.2)', '"fast")'),
    Mutant(
        FD,
        "test_a_second_client_is_let_in_and_times_out",
        '"handler timeout" else None',
        '"handler timeout" else 0.2',
    ),
    Mutant(
        FD,
        "test_killing_the_child_frees_the_server_at_once",
        "    os.kill(pid, signal.SIGKILL)\n    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n",
        "    return -signal.SIGKILL\n",
    ),
    Mutant(FD, f"{CURE}[close_fds-heirs0-TIME_WAIT]", 'close_fds=variant == "close_fds"', "close_fds=False"),
    Mutant(FD, f"{CURE}[CLOEXEC-heirs1-TIME_WAIT]", '("CLOEXEC", "fork")', '("fork",)'),
    Mutant(FD, f"{CURE}[shutdown-heirs2-TIME_WAIT]", 'if variant == "shutdown":', 'if variant == "nothing":'),
    Mutant(FD, f"{CURE}[handler timeout-heirs3-CLOSE_WAIT]", '0.2 if variant == "handler timeout" else None', "None"),
    Mutant(
        FD,
        f"{CURE}[threads-heirs4-ESTABLISHED]",
        '(ThreadedServer if variant == "threads" else SimpleXMLRPCServer)',
        "SimpleXMLRPCServer",
    ),
    Mutant(
        RESET,
        "test_only_accept_takes_a_reset_connection_out_of_the_queue",
        'start(lab, connect_and_reset, "reset", 40001)\n    assert lab.wire()',
        'start(lab, connect_and_reset, "connected", 40001)\n    assert lab.wire()',
    ),
    Mutant(
        RESET,
        "test_only_accept_takes_a_reset_connection_out_of_the_queue",
        'server.run_to("accepted")  # with',
        "pass  # with",
    ),
    *(
        Mutant(RESET, f"{ORDER}[{order}]", 'struct.pack("ii", 1, 0)', 'struct.pack("ii", 0, 0)')
        for order in (
            "recv-recv-send-send",
            "recv-send-recv-send",
            "send-send-recv-recv",
            "send-recv-send-recv",
            "getpeername-getsockopt-recv-send",
        )
    ),
    Mutant(
        RESET,
        "test_control_a_connection_that_is_not_reset_waits_in_the_table_without_an_owner_and_works",
        'client = start(lab, await_greeting, "connected", 40001)',
        'client = start(lab, connect_and_reset, "reset", 40001)',
    ),
    Mutant(
        RESET,
        "test_an_accept_loop_stuck_on_a_dead_probe_fills_the_queue_and_lets_nobody_in",
        "def greet_in_the_accept_loop(address):\n    listener = socket.create_server(address, backlog=1)",
        "def greet_in_the_accept_loop(address):\n    listener = socket.create_server(address, backlog=2)",
    ),
    Mutant(
        RESET,
        "test_control_probes_that_reset_after_the_greeting_do_no_harm",
        '"greeted", "reset")',
        '"reset", "greeted")',
    ),
    Mutant(
        RESET,
        "test_control_accepting_in_one_place_and_greeting_in_another_survives_the_same_probes",
        "threading.Thread(target=greet, args=[connection], daemon=True).start()",
        "greet(connection)",
    ),
    Mutant(
        TIME_WAIT,
        "test_neither_fin_wait2_nor_time_wait_needs_an_fd",
        'lab.start(call, lab.server_address).run_to("closed")',
        'lab.start(call, lab.server_address).run_to("half closed")',
    ),
    Mutant(
        TIME_WAIT,
        "test_control_before_close_fin_wait2_has_an_fd_and_no_timer",
        'lab.start(call, lab.server_address).run_to("half closed")',
        'lab.start(call, lab.server_address).run_to("closed")',
    ),
    Mutant(
        TIME_WAIT,
        "test_two_time_waits_use_up_two_ports_towards_one_server",
        'first_to_close="client")\n    assert [lab.state',
        'first_to_close="server")\n    assert [lab.state',
    ),
    Mutant(
        TIME_WAIT,
        "test_two_time_waits_use_up_two_ports_towards_one_server",
        'f"{ports[0]} {ports[-1]}"',
        'f"{ports[0]} {ports[-1] + 2}"',
    ),
    Mutant(
        TIME_WAIT,
        "test_control_a_server_that_closes_first_leaves_both_ports_free",
        'play(lab, lab.server_address, first_to_close="server")',
        'play(lab, lab.server_address, first_to_close="client")',
    ),
    Mutant(
        TIME_WAIT,
        f"{STEPS_ASIDE}[timestamp alone]",
        '(1, UPLOAD, "SA", ABOVE_THE_OLD)',
        '(0, UPLOAD, "SA", ABOVE_THE_OLD)',
    ),
    Mutant(
        TIME_WAIT,
        f"{STEPS_ASIDE}[sequence number alone]",
        '(0, 0, "SA", ABOVE_THE_OLD)',
        '(0, UPLOAD, "SA", ABOVE_THE_OLD)',
    ),
    Mutant(TIME_WAIT, f"{STEPS_ASIDE}[neither]", '(0, UPLOAD, "A", 2)', '(1, UPLOAD, "A", 2)'),
    Mutant(TIME_WAIT, REUSE, "delay_ms=60000", "delay_ms=1"),
    Mutant(TIME_WAIT, REUSE, "delay_ms=20)", "delay_ms=60000)"),
    Mutant(TIME_WAIT, f"{NEVER}[2-1-127.0.0.2]", "set_reuse(lab, mode, delay_ms=1)", "set_reuse(lab, 1, delay_ms=1)"),
    Mutant(
        TIME_WAIT,
        f"{NEVER}[1-0-192.0.2.3]",
        'timestamps)\n    play(lab, lab.server_address, first_to_close="client")',
        '1)\n    play(lab, lab.server_address, first_to_close="client")',
    ),
    Mutant(
        UNREAD,
        "test_unread_data_turns_close_into_a_reset",
        "connection.recv(reads, socket.MSG_WAITALL)",
        "connection.recv(REQUEST_BYTES, socket.MSG_WAITALL)",
    ),
    Mutant(
        UNREAD,
        "test_control_reading_first_closes_with_fin",
        "leave_time_wait(lab, reads=REQUEST_BYTES)",
        "leave_time_wait(lab, reads=REQUEST_BYTES - 1)",
    ),
    Mutant(
        UNREAD,
        "test_shutdown_before_close_sends_fin_and_leaves_time_wait",
        'connection.shutdown(socket.SHUT_WR)\n        yield "shut down"',
        'connection.shutdown(socket.SHUT_RD)\n        yield "shut down"',
    ),
    Mutant(
        UNREAD,
        "test_shutdown_does_not_help_while_its_fin_is_not_acknowledged",
        '    lab.drop(f"tcp dport {lab.server_address[1]}")\n',
        "",
    ),
    Mutant(
        UNREAD,
        "test_after_a_reset_the_port_is_free_and_an_old_segment_unknown",
        "connection.recv(reads, socket.MSG_WAITALL)",
        "connection.recv(REQUEST_BYTES, socket.MSG_WAITALL)",
    ),
    Mutant(
        UNREAD,
        "test_control_time_wait_keeps_the_port_and_acknowledges_an_old_segment",
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", 1)',
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", 0)',
    ),
    Mutant(
        UNREAD, f"{OLD_DATA}[True-0]", "acknowledged = old_syn_ack if ack_is_old else syn_ack", "acknowledged = syn_ack"
    ),
    Mutant(
        UNREAD,
        f"{OLD_DATA}[False-3]",
        "acknowledged = old_syn_ack if ack_is_old else syn_ack",
        "acknowledged = old_syn_ack",
    ),
    Mutant(UNREAD, f"{RFC1337}[0-0-CLOSED]", "fin.seq + 1 + beyond", "fin.seq + beyond"),
    Mutant(
        UNREAD,
        f"{RFC1337}[1-0-TIME_WAIT]",
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", rfc1337)',
        'lab.set_sysctl("net.ipv4.tcp_rfc1337", 0)',
    ),
    Mutant(UNREAD, f"{RFC1337}[0-1-TIME_WAIT]", "fin.seq + 1 + beyond", "fin.seq + 1"),
    Mutant(
        REUSED,
        "test_close_wait_challenges_a_reused_port_and_the_second_syn_connects",
        "play(lab, server_closes=False, ports=[PORT])",
        "play(lab, server_closes=True, ports=[PORT])",
    ),
    Mutant(
        REUSED,
        "test_control_a_server_that_closes_leaves_the_port_free",
        "play(lab, server_closes=True, ports=[PORT])",
        "play(lab, server_closes=False, ports=[PORT])",
    ),
    Mutant(
        REUSED,
        "test_without_rst_or_challenge_connect_times_out_beside_a_server_with_room",
        "drop_rst_and_challenge(lab)\n    rst_lost,",
        "rst_lost,",
    ),
    Mutant(
        REUSED,
        "test_control_the_same_firewall_is_harmless_where_the_server_closes",
        "play(lab, server_closes=True, ports=[RST_LOST, CHALLENGE_LOST])",
        "play(lab, server_closes=False, ports=[RST_LOST, CHALLENGE_LOST])",
    ),
]
