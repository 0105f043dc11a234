"""queues_as_configured, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant("test_listen_is_given_no_more_than_somaxconn", "ANY_BACKLOG = 2**31 - 1", "ANY_BACKLOG = -1"),
    Mutant(
        "test_listen_is_given_no_more_than_somaxconn",
        "lab.start(listen, lab.server_address, ANY_BACKLOG,",
        "lab.start(listen, lab.server_address, 128,",
    ),
    Mutant("test_the_accept_queue_holds_one_more_than_the_backlog", "CLIENTS = 4, 12", "CLIENTS = 4, 4"),
    Mutant("test_syncookies_decide_about_a_syn_that_finds_the_queue_full", "CLIENTS = 4, 12", "CLIENTS = 4, 5"),
    Mutant(
        "test_syncookies_decide_about_a_syn_that_finds_the_queue_full",
        '    cookies = int(lab.sysctl("net.ipv4.tcp_syncookies"))\n',
        "    cookies = 2\n",
    ),
    Mutant(
        "test_control_when_syn_acks_arrive_no_syn_queue_fills",
        "    play(lab, backlog=CLIENTS)",
        "    play_without_syn_acks(lab, backlog=CLIENTS)",
    ),
    Mutant(
        "test_without_cookies_max_syn_backlog_bounds_the_syn_queue",
        '"net.ipv4.tcp_syncookies", 0)',
        '"net.ipv4.tcp_syncookies", 1)',
    ),
    Mutant(
        "test_abort_on_overflow_decides_about_an_ack_at_a_full_queue",
        "len(OTHERS) - 1, to=",
        "len(OTHERS), to=",
    ),
    Mutant(
        "test_abort_on_overflow_decides_about_an_ack_at_a_full_queue",
        '    reset = "server R" in',
        '    lab.set_sysctl("net.ipv4.tcp_abort_on_overflow", 1)\n    reset = "server R" in',
    ),
]
