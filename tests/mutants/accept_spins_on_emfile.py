"""accept_spins_on_emfile, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_a_level_triggered_loop_spins", "server, *_, failed = play(lab)", "server, *_, failed = play(lab, EDGE)"
    ),
    Mutant(
        "test_a_level_triggered_loop_spins",
        "        for number, _ in epoll.poll():\n",
        "        select.select([], [], [], 1e-6)\n        for number, _ in epoll.poll():\n",
    ),
    Mutant(
        "test_a_blocking_accept_spins_even_with_an_empty_queue",
        '    leave_fds(1)\n    connections, failures = [], []\n    yield "listening"\n',
        '    leave_fds(1)\n    connections, failures = [], []\n    yield "listening"\n'
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n",
    ),
    Mutant("test_an_edge_triggered_loop_sleeps_and_forgets_who_waits", "play(lab, EDGE)", "play(lab, LEVEL)"),
    Mutant(
        "test_an_edge_triggered_loop_sleeps_and_forgets_who_waits",
        "                connections.pop(number).close()\n",
        "                connections.pop(number).close()\n                epoll.modify(listener, select.EPOLLIN)\n",
    ),
    Mutant(
        "test_control_a_reserve_turns_the_client_away",
        "listener.accept()[0].close()",
        "epoll.modify(listener, 0)",
    ),
    Mutant("test_control_backing_off_waits_for_a_free_fd", "epoll.modify(listener, 0)", "pass"),
    Mutant(
        "test_control_a_higher_limit_lets_the_client_in",
        "(most, most)",
        "(resource.getrlimit(resource.RLIMIT_NOFILE)[0], most)",
    ),
]
