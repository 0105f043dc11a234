"""reader_stops, broken on purpose."""

from tests.mutants import Mutant

FREEZES = "test_a_reader_that_stops_freezes_the_server_for_all"
BOUNDED = "test_control_bounded_buffers_serve_the_others"

MUTANTS = [
    Mutant(FREEZES, "def serve(address, write_limit_s=None)", "def serve(address, write_limit_s=0.1)"),
    Mutant(FREEZES, "ANSWER_BYTES = 1 << 20 ", "ANSWER_BYTES = 1 << 10 "),
    Mutant(
        "test_the_persist_timer_backs_off",
        '"net.ipv4.tcp_invalid_ratelimit", 0',
        '"net.ipv4.tcp_retries2", 1',
    ),
    Mutant(
        "test_the_connection_lives_as_long_as_probes_are_answered",
        '"net.ipv4.tcp_invalid_ratelimit", 0',
        '"net.ipv4.tcp_invalid_ratelimit", 5000',
    ),
    Mutant(
        "test_unanswered_probes_end_the_connection",
        '    lab.drop(f"tcp dport {READER} tcp flags == ack meta length < 100")\n',
        "",
    ),
    Mutant(
        "test_user_timeout_ends_a_live_but_slow_reader",
        "fill_the_queues(lab, USER_TIMEOUT_MS)",
        "fill_the_queues(lab)",
    ),
    Mutant(
        "test_user_timeout_ends_a_live_but_slow_reader",
        "    lab.expect_duration(name, lab.gap_s(closed,",
        "    lab.expect_duration(name, lab.gap_s(probes(lab)[0],",
    ),
    Mutant(
        "test_control_without_user_timeout_the_slow_reader_is_served",
        "server, reader, rto_s = fill_the_queues(lab)\n",
        "server, reader, rto_s = fill_the_queues(lab, USER_TIMEOUT_MS)\n",
    ),
    Mutant(
        "test_control_a_write_timeout_frees_the_server",
        "lab.start(serve, lab.server_address, 0.1, to=",
        "lab.start(serve, lab.server_address, None, to=",
    ),
    Mutant(BOUNDED, "bytes(4096), 16, 8192", "bytes(4096), 16, 1 << 30"),
    Mutant(
        BOUNDED,
        'connection.setblocking(False)\n        unsent[connection] = b""',
        'unsent[connection] = b""',
    ),
]
