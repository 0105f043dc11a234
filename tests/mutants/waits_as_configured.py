"""waits_as_configured, broken on purpose."""

from tests.mutants import Mutant

# The peer's segments arrive.
_HEARD = ("lab.drop(f\"{lab.from_host('server')} tcp dport {PORT}\")", "lab.restore()")
_SETTLED = "    lab.skip_if_longer_than_max_wait(name, interval)\n"
_PREDICTED = "    interval = timers.keepalive("


def _changed(key: str, value: int) -> tuple[str, str]:
    """The kernel has another value than the one that the prediction was made from."""
    return _SETTLED, f'{_SETTLED}    lab.set_sysctl("net.ipv4.{key}", {value})\n'


def _keepalive(probes: int, predicted: int) -> str:
    """Keepalive in seconds; with the reference profile's hours the test would not be measured."""
    values = {"time": 1, "intvl": 1, "probes": probes}
    settings = "".join(
        f'    lab.set_sysctl("net.ipv4.tcp_keepalive_{key}", {value})\n' for key, value in values.items()
    )
    return f"{settings}    time_s, intvl_s, probes = 1, 1, {predicted}\n"


MUTANTS = [
    Mutant(
        "test_connect_gives_up_after_as_many_syns_as_configured", "tcp flags & (syn | ack) == syn", "tcp flags == rst"
    ),
    Mutant("test_connect_gives_up_after_as_many_syns_as_configured", *_changed("tcp_syn_retries", 3)),
    Mutant("test_a_syn_recv_lives_as_long_as_configured", "tcp flags & syn != syn", "tcp flags == rst"),
    Mutant(
        "test_a_syn_recv_lives_as_long_as_configured",
        'retries = int(lab.sysctl("net.ipv4.tcp_synack_retries"))',
        'retries = int(lab.sysctl("net.ipv4.tcp_synack_retries")) - 1',
    ),
    Mutant("test_unacknowledged_data_ends_when_configured", *_HEARD),
    Mutant("test_unacknowledged_data_ends_when_configured", *_changed("tcp_retries2", 2)),
    Mutant("test_a_user_timeout_takes_the_place_of_tcp_retries2", *_HEARD),
    Mutant(
        "test_a_user_timeout_takes_the_place_of_tcp_retries2",
        "client = play(lab, send, USER_TIMEOUT_MS)\n    interval",
        "client = play(lab, send)\n    interval",
    ),
    Mutant(
        "test_control_an_ack_ends_the_wait",
        'play(lab, send, USER_TIMEOUT_MS)\n    client.stay_blocked(in_="recv")',
        'play(lab, send)\n    lab.drop(f"ip saddr {lab.server_address[0]}")\n    client.stay_blocked(in_="recv")',
    ),
    Mutant("test_keepalive_begins_when_configured", "SO_KEEPALIVE, 1", "SO_KEEPALIVE, 0"),
    Mutant(
        "test_keepalive_begins_when_configured",
        "    before = time.monotonic_ns()\n",
        '    lab.set_sysctl("net.ipv4.tcp_keepalive_time", time_s + 1)\n    before = time.monotonic_ns()\n',
    ),
    Mutant("test_keepalive_ends_when_configured", _PREDICTED, f"{_keepalive(0, 1)}{_PREDICTED}"),
    Mutant(
        "test_keepalive_ends_when_configured",
        _PREDICTED,
        f"{_keepalive(1, 1)}    lab.drop = lambda match: None\n{_PREDICTED}",
    ),
]
