"""mtu_black_hole, broken on purpose."""

from tests.mutants import Mutant

HANGS = "test_a_large_answer_is_sent_again_and_never_arrives"
PROBING = "test_control_probing_gets_an_answer_through_after_timeouts"
CONNECTS = "test_probing_from_the_beginning_helps_the_end_that_connects"
MTU = ('    lab.set_mtu("client", MTU)\n', '    lab.set_mtu("client", 1500)\n')

MUTANTS = [
    Mutant(HANGS, *MTU),
    Mutant(HANGS, "    if not messages_pass:\n", "    if messages_pass:\n"),
    Mutant("test_control_the_routers_message_makes_the_segments_smaller", *MTU),
    Mutant("test_control_the_routers_message_makes_the_segments_smaller", "messages_pass=True)\n", "clamps=True)\n"),
    Mutant(
        "test_control_a_router_that_lowers_the_mss_loses_nothing",
        "play(lab, clamps=True)",
        "play(lab, messages_pass=True)",
    ),
    Mutant(
        f"{PROBING}[1-1024]",
        'lab.set_sysctl(PROBING, probing)\n    lab.set_sysctl("net.ipv4.tcp_base_mss"',
        'lab.set_sysctl(PROBING, 0)\n    lab.set_sysctl("net.ipv4.tcp_base_mss"',
    ),
    Mutant(
        f"{PROBING}[2-512]",
        "    _, client = play(lab)\n    client.run_to",
        "    _, client = play(lab, messages_pass=True)\n    client.run_to",
    ),
    Mutant(
        f"{CONNECTS}[1-False]",
        "lab.set_sysctl(PROBING, probing)\n    lab.set_mtu",
        "lab.set_sysctl(PROBING, 2)\n    lab.set_mtu",
    ),
    Mutant(
        f"{CONNECTS}[2-True]",
        "lab.set_sysctl(PROBING, probing)\n    lab.set_mtu",
        "lab.set_sysctl(PROBING, 1)\n    lab.set_mtu",
    ),
]
