"""health_check_never_accepted, broken on purpose."""

from tests.mutants import Mutant

WITHOUT_RST = ('"--reset", *options', "*options")

MUTANTS = [
    Mutant("test_a_prober_that_resets_at_once_gets_the_server_stuck", *WITHOUT_RST),
    Mutant(
        "test_a_prober_that_resets_at_once_gets_the_server_stuck",
        'yield f"greeting fails: {errno.errorcode[error.errno]}"',
        'yield f"greeting fails: {errno.errorcode[error.errno]}"\n'
        "                if error.errno == errno.EPIPE:\n                    break",
    ),
    Mutant("test_control_a_prober_that_waits_does_no_harm", *WITHOUT_RST),
    Mutant(
        "test_control_a_prober_that_waits_does_no_harm",
        'str(lab.allowance_s), "--count", "1")',
        'str(lab.allowance_s), "--count", "1").finish()',
    ),
    Mutant(
        "test_haproxys_plain_check_passes_and_is_never_accepted",
        '{"plain": ""',
        '{"plain": "option tcp-check\\n    tcp-check connect linger"',
    ),
    Mutant(
        "test_control_haproxys_check_that_reads_is_accepted_and_greeted",
        "tcp-check expect rstring ^220",
        "tcp-check connect",
    ),
    Mutant(
        "test_control_haproxys_check_that_reads_is_accepted_and_greeted",
        "rstring ^220",
        "rstring ^250",
    ),
    Mutant("test_only_a_check_that_reads_can_tell_a_stuck_server[plain-check passed-0]", *WITHOUT_RST),
    Mutant(
        "test_only_a_check_that_reads_can_tell_a_stuck_server[plain-check passed-0]",
        '{"plain": ""',
        '{"plain": "option tcp-check\\n    tcp-check connect linger"',
    ),
    Mutant(
        "test_only_a_check_that_reads_can_tell_a_stuck_server[reading-Layer7 timeout-1]",
        "tcp-check expect rstring ^220",
        "tcp-check connect",
    ),
]
