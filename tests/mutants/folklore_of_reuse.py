"""folklore_of_reuse, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant("test_tw_reuse_does_nothing_for_the_end_that_listens", ", 0).fail_with", ", 1).fail_with"),
    Mutant(
        "test_tw_reuse_does_nothing_for_the_end_that_listens",
        '        server.run_to("half closed")\n        client.run_to("half closed")\n',
        '        client.run_to("half closed")\n        server.run_to("half closed")\n',
    ),
    *(
        Mutant(test, '"net.ipv4.tcp_tw_reuse", 1', '"net.ipv4.tcp_tw_reuse", 0')
        for test in (
            "test_tw_reuse_does_nothing_for_the_end_that_listens",
            "test_reuse_waits_for_its_delay",
        )
    ),
    Mutant(
        "test_control_so_reuseaddr_is_what_helps_a_server",
        ', 1).run_to("bound")',
        ', 0).run_to("bound")',
    ),
    Mutant("test_tw_reuse_without_timestamps_reuses_nothing", "timestamps=0)", "timestamps=1)"),
    Mutant("test_reuse_waits_for_its_delay", "delay_ms=60000", "delay_ms=1"),
    Mutant(
        "test_control_reuse_after_its_delay_connects_with_timestamps",
        '"net.ipv4.tcp_tw_reuse", 1',
        '"net.ipv4.tcp_tw_reuse", 0',
    ),
]
