"""waits_as_configured, broken on purpose."""

from tests.mutants import Mutant

# What the peer says is heard, or the kernel waits by another value than the one that was asked for.
_HEARD = ('lab.drop(f"ip saddr {lab.server_address[0]} tcp dport {PORT}")', "lab.restore()")
_PROBED = (
    'lab.set_sysctl("net.ipv4.tcp_keepalive_time", 1)\n    lab.set_sysctl("net.ipv4.tcp_keepalive_probes", 0)\n    '
)

MUTANTS = [
    Mutant("test_connect_gives_up_after_as_many_syns_as_configured", "tcp flags == syn", "tcp flags == rst"),
    Mutant(
        "test_connect_gives_up_after_as_many_syns_as_configured",
        'lab.drop(f"tcp sport {PORT} tcp flags == syn")',
        'lab.set_sysctl("net.ipv4.tcp_syn_retries", int(lab.sysctl("net.ipv4.tcp_syn_retries")) + 1)\n'
        '    lab.drop(f"tcp sport {PORT} tcp flags == syn")\n'
        "    lab.connect_timeout = lambda: predict.connect_timeout(2, 0, 1.0, predict.tick_s())",
    ),
    Mutant("test_a_syn_recv_lives_as_long_as_configured", "tcp flags != syn", "tcp flags == rst"),
    Mutant(
        "test_a_syn_recv_lives_as_long_as_configured",
        'retries = int(lab.sysctl("net.ipv4.tcp_synack_retries"))',
        'retries = int(lab.sysctl("net.ipv4.tcp_synack_retries")) - 1',
    ),
    Mutant("test_data_that_nobody_acknowledges_ends_when_configured", *_HEARD),
    Mutant(
        "test_data_that_nobody_acknowledges_ends_when_configured",
        'retries2 = int(lab.sysctl("net.ipv4.tcp_retries2"))',
        'retries2 = int(lab.sysctl("net.ipv4.tcp_retries2")) - 1',
    ),
    Mutant("test_a_user_timeout_takes_the_place_of_tcp_retries2", *_HEARD),
    Mutant(
        "test_a_user_timeout_takes_the_place_of_tcp_retries2",
        "client = play(lab, say, USER_TIMEOUT_MS)\n    interval",
        "client = play(lab, say)\n    interval",
    ),
    Mutant(
        "test_control_an_ack_ends_the_wait",
        '    client.stay_blocked(in_="recv")',
        '    lab.drop(f"ip saddr {lab.server_address[0]} tcp dport {PORT}")\n    client.stay_blocked(in_="recv")',
    ),
    Mutant("test_keepalive_begins_when_configured", "SO_KEEPALIVE, 1", "SO_KEEPALIVE, 0"),
    Mutant(
        "test_keepalive_begins_when_configured",
        "    before = time.monotonic_ns()\n",
        '    lab.set_sysctl("net.ipv4.tcp_keepalive_time", time_s + 1)\n    before = time.monotonic_ns()\n',
    ),
    # As the reference profile has it, this one is not measured: with a second of keepalive, and silence or an answer.
    Mutant(
        "test_keepalive_ends_when_configured",
        "    interval = predict.keepalive(",
        f"    {_PROBED}time_s, probes = 1, 1\n    interval = predict.keepalive(",
    ),
    Mutant(
        "test_keepalive_ends_when_configured",
        "client = play(lab, keep_alive)\n    time_s",
        '[lab.set_sysctl(f"net.ipv4.tcp_keepalive_{key}", 1) for key in ("time", "intvl", "probes")]\n'
        "    lab.drop = lambda match: None\n"
        "    client = play(lab, keep_alive)\n    time_s",
    ),
]
