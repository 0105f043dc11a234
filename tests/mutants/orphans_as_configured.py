"""orphans_as_configured, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    # The FIN is acknowledged at once.
    Mutant(
        "test_an_orphans_fin_wait1_ends_when_configured",
        "lab.drop(f\"{lab.from_host('server')} tcp dport {PORT}\")",
        "lab.restore()",
    ),
    Mutant(
        "test_an_orphans_fin_wait1_ends_when_configured",
        'retries = int(lab.sysctl("net.ipv4.tcp_orphan_retries"))',
        'retries = int(lab.sysctl("net.ipv4.tcp_orphan_retries")) + 1',
    ),
    # A process keeps it, or the kernel counts by another value than the one that was asked for.
    Mutant(
        "test_an_orphans_fin_wait2_ends_when_configured",
        "    connection.close()\n\n\ndef play(",
        "    yield 'kept'\n    return connection.recv(1)\n\n\ndef play(",
    ),
    Mutant(
        "test_an_orphans_fin_wait2_ends_when_configured",
        'fin_timeout = int(lab.sysctl("net.ipv4.tcp_fin_timeout"))',
        'fin_timeout = int(lab.sysctl("net.ipv4.tcp_fin_timeout")) + 1',
    ),
    Mutant(
        "test_control_nothing_limits_a_fin_wait2_that_a_process_has",
        "    play_to_fin_wait2(lab)\n",
        '    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)\n    play_to_fin_wait2(lab)[1].finish()\n',
    ),
    Mutant(
        "test_time_wait_takes_60_s_whatever_is_set",
        '    server, *_ = play_to_fin_wait2(lab)\n    server.run_to("closed")\n'
        '    timer = lab.expect_socket("client", state="TIME_WAIT").timer\n'
        '    fin, *_ = lab.segments(since="ready to close")\n',
        "    _, client, _ = play_to_fin_wait2(lab)\n"
        '    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 30)\n    client.finish()\n'
        '    timer = lab.expect_socket("client", state="FIN_WAIT2").timer\n    fin = lab.segments()[-1]\n',
    ),
]
