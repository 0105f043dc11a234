"""fin_wait1_made_visible, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    *(
        Mutant(
            f"test_on_loopback_fin_wait1_lasts_as_long_as_the_delayed_ack[{parameters}]",
            "    _, client = play(lab, size)\n",
            "    acknowledge_at_once(lab)\n    _, client = play(lab, size)\n",
        )
        for parameters in ("1-0.04", "0-0.0")
    ),
    Mutant(
        "test_control_without_delayed_acks_fin_wait1_is_over_at_once",
        "    acknowledge_at_once(lab)\n",
        "",
    ),
    Mutant(
        "test_a_zero_window_holds_fin_wait1_with_the_fin_still_unsent",
        "socket.SO_RCVBUF, 2048)",
        "socket.SO_RCVBUF, 65536)",
    ),
    Mutant("test_control_a_server_that_reads_takes_the_fin", "    server.resume()\n", ""),
    Mutant(
        "test_lost_acks_hold_fin_wait1_and_the_fin_is_sent_again",
        "    lab.drop(f\"{lab.from_host('server')} tcp dport {PORT}\")\n",
        "",
    ),
    Mutant("test_control_the_ack_of_a_later_fin_ends_fin_wait1", "    lab.restore()\n", ""),
]
