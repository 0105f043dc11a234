"""first_write_succeeds, broken on purpose."""

from tests.mutants import Mutant

LOOK = "test_control_a_look_before_reuse_finds_the_end"
SEES_RDHUP = ('"is it writable": ask_if_writable', '"is it writable": poll_for_rdhup')

MUTANTS = [
    Mutant(
        "test_the_first_write_succeeds_and_the_second_fails",
        'play(lab, write)\n    sent = client.run_to("first is sent")',
        'play(lab, write, "before")\n    sent = client.run_to("first is sent")',
    ),
    Mutant(
        "test_the_first_write_succeeds_and_the_second_fails",
        '    yield "first is sent"\n',
        '    yield "first is sent"\n    if not reads:\n        return "no second write"\n',
    ),
    Mutant(
        "test_control_reading_first_finds_the_end",
        'return "nothing was sent"',
        'return connection.sendall(b"first")',
    ),
    Mutant(
        "test_control_reading_after_the_write_finds_that_it_was_lost",
        '    connection.sendall(b"first")\n',
        "",
    ),
    Mutant(
        "test_every_write_succeeds_until_the_reset_arrives",
        '    lab.drop("tcp flags & rst == rst")\n',
        "",
    ),
    Mutant(
        "test_a_program_that_does_not_ignore_sigpipe_is_killed",
        "play_cat(lab, ignores_sigpipe=False)",
        "play_cat(lab, ignores_sigpipe=True)",
    ),
    Mutant(
        "test_control_with_sigpipe_ignored_the_program_reports_epipe",
        "play_cat(lab, ignores_sigpipe=True)",
        "play_cat(lab, ignores_sigpipe=False)",
    ),
    Mutant("test_a_pool_hands_out_a_dead_connection", *SEES_RDHUP),
    Mutant(f"{LOOK}[peek]", '"peek": has_ended', '"peek": ask_if_writable'),
    Mutant(
        f"{LOOK}[poll]", "poller.register(connection, select.POLLRDHUP)", "poller.register(connection, select.POLLPRI)"
    ),
]
