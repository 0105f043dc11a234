"""connect_that_hangs_told_apart, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_a_full_accept_queue_drops_the_syn_and_counts_it",
        'backlog=1)\n    yield "listening"',
        'backlog=2)\n    yield "listening"',
    ),
    Mutant(
        "test_a_leaked_close_wait_challenges_the_syn",
        "start_server(lab, leaking_server)",
        "start_server(lab)",
    ),
    Mutant(
        "test_a_dropped_syn_leaves_no_trace_at_the_server",
        'lab.drop("tcp flags & (syn | ack) == syn")',
        'lab.drop("tcp dport 9")',
    ),
    Mutant("test_a_stopped_server_lets_connect_succeed", "    server.stop()\n", ""),
    Mutant(
        "test_an_exhausted_port_range_sends_nothing",
        "set_ephemeral_ports([ONLY_PORT])",
        "set_ephemeral_ports([ONLY_PORT, ONLY_PORT + 1])",
    ),
    Mutant(
        "test_control_without_a_fault_the_server_serves_the_caller",
        '    server.stay_blocked(in_="recv")\n    seen = look(lab, server)\n',
        "    server.stop()\n    seen = look(lab, server)\n",
    ),
    Mutant(
        "test_one_look_while_it_hangs_tells_each_from_every_other",
        '"dropped SYN": Symptoms(\n        client="SYN_SENT"',
        '"dropped SYN": Symptoms(\n        client="TIME_WAIT"',
    ),
]
