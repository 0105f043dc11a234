"""connect_that_hangs_told_apart, broken on purpose."""

from tests.mutants import Mutant

EACH = "test_each_cause_shows_its_own_symptoms"

MUTANTS = [
    Mutant(f"{EACH}[full accept queue-connect]", "backlog=1", "backlog=2"),
    Mutant(f"{EACH}[mine, RST lost-connect]", 'cause != "mine, RST lost"', 'cause != "nothing"'),
    Mutant(f"{EACH}[dropped SYN-connect]", 'lab.drop("tcp flags & (syn | ack) == syn")', 'lab.drop("tcp dport 9")'),
    Mutant(f"{EACH}[stopped server-recv]", "server.stop()", "pass"),
    Mutant(f"{EACH}[exhausted port range-None]", "set_ephemeral_ports([50000])", "set_ephemeral_ports([50000, 50001])"),
    Mutant(
        "test_control_without_a_fault_connect_succeeds_and_the_server_attends_to_it",
        'play(lab, "nothing", "recv", server_waits_in="recv")',
        'play(lab, "stopped server", "recv")',
    ),
    Mutant(
        "test_one_look_while_it_hangs_tells_each_from_every_other",
        '"dropped SYN": Symptoms("SYN_SENT", "CLOSED"',
        '"dropped SYN": Symptoms("TIME_WAIT", "CLOSED"',
    ),
]
