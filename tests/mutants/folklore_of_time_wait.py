"""folklore_of_time_wait, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_tcp_fin_timeout_leaves_time_wait_alone",
        "    close_both_ends(lab, start_server(lab), PORTS[0], client_first=True)\n"
        '    assert 30 < lab.expect_socket("client", state="TIME_WAIT")',
        "    start_server(lab)\n"
        '    lab.start(call, lab.server_address, to="half closed").kill()\n'
        '    assert 30 < lab.expect_socket("client", state="FIN_WAIT2")',
    ),
    Mutant(
        "test_tcp_fin_timeout_leaves_time_wait_alone",
        '"net.ipv4.tcp_fin_timeout", 30)\n    close',
        '"net.ipv4.tcp_fin_timeout", 60)\n    close',
    ),
    Mutant(
        "test_control_tcp_fin_timeout_is_for_an_orphans_fin_wait2",
        '"net.ipv4.tcp_fin_timeout", 30)\n    lab.start',
        '"net.ipv4.tcp_fin_timeout", 60)\n    lab.start',
    ),
    Mutant(
        "test_tcp_tw_recycle_is_no_sysctl_any_more",
        'tcp_tw_recycle", default',
        'tcp_tw_reuse", default',
    ),
    Mutant(
        "test_tcp_tw_recycle_is_no_sysctl_any_more",
        'tcp_tw_reuse", default',
        'tcp_tw_misspelt", default',
    ),
    Mutant("test_a_low_max_tw_buckets_gives_up_the_new_and_keeps_the_old", "buckets=2)", "buckets=3)"),
    Mutant("test_control_a_time_wait_within_the_limit_acks_a_second_fin", "buckets=3)", "buckets=2)"),
    Mutant(
        "test_rfc1337_keeps_a_reset_out_and_lets_a_syn_in",
        "wait(lab, rfc1337=1)",
        "wait(lab, rfc1337=0)",
    ),
    Mutant(
        "test_rfc1337_keeps_a_reset_out_and_lets_a_syn_in",
        '    lab.start(call, lab.server_address).run_to("connected")\n',
        "",
    ),
    Mutant(
        "test_control_without_rfc1337_one_reset_ends_time_wait",
        "wait(lab, rfc1337=0)",
        "wait(lab, rfc1337=1)",
    ),
    Mutant("test_control_without_rfc1337_one_reset_ends_time_wait", 'flags="R", ', ""),
    Mutant(
        "test_control_without_rfc1337_one_reset_ends_time_wait",
        "client_first=False",
        "client_first=True",
    ),
]
