"""fin_timeout_leaves_time_wait_alone, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    # As if the server's FIN did not begin a time of its own: the look is at what tcp_fin_timeout limits.
    *(
        Mutant(
            f"test_time_wait_takes_60_s_whatever_the_timeout[{fin_timeout}]",
            '    server.run_to("closed")\n    time_wait = lab.expect_socket("client", state="TIME_WAIT")\n'
            '    fin, *_ = lab.segments(since="call: finished")\n',
            '    time_wait = lab.expect_socket("client", state="FIN_WAIT2")\n'
            '    fin = next(segment for segment in lab.segments() if segment.flags == "FA")\n',
        )
        for fin_timeout in (2, 30, 61)
    ),
    *(
        Mutant(
            f"test_time_wait_takes_60_s_whatever_the_timeout[{fin_timeout}]",
            'lab.set_sysctl("net.ipv4.tcp_fin_timeout", fin_timeout)',
            'lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)',
        )
        for fin_timeout in (2, 30, 61)
    ),
    *(
        Mutant(
            f"test_control_an_orphans_fin_wait2_is_what_it_limits[{parameters}]",
            'lab.set_sysctl("net.ipv4.tcp_fin_timeout", fin_timeout)',
            'lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)',
        )
        for parameters in ("2-time_wait-2", "30-time_wait-30", "61-keepalive-1")
    ),
    Mutant(
        "test_control_above_60_s_fin_wait2_takes_twice_the_excess",
        "start_server(lab, 61)",
        "start_server(lab, 60)",
    ),
    Mutant(
        "test_control_above_60_s_fin_wait2_takes_twice_the_excess",
        "start_server(lab, 61)",
        "start_server(lab, 62)",
    ),
    Mutant(
        "test_a_short_timeout_ends_fin_wait2_but_no_time_wait",
        "start_server(lab, 1)",
        "start_server(lab, 30)",
    ),
    Mutant("test_tcp_tw_recycle_is_gone", "net.ipv4.tcp_tw_recycle", "net.ipv4.tcp_tw_reuse"),
]
