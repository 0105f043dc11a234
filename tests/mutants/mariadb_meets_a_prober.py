"""mariadb_meets_a_prober, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_mariadb_survives_probes_that_reset_before_accept",
        'play(lab, "--reset", "--count", "3")',
        'play(lab, "--count", "3")',
    ),
    Mutant(
        "test_mariadb_survives_probes_that_reset_before_accept",
        "* 3\n    mariadb.resume_process()",
        "* 3\n    mariadb.kill()",
    ),
    Mutant(
        "test_a_fast_fin_loses_the_greeting_and_no_call_fails",
        'play(lab, "--count", "1")',
        'play(lab, "--reset", "--count", "1")',
    ),
    Mutant(
        "test_a_fast_fin_loses_the_greeting_and_no_call_fails",
        "== 1\n    mariadb.resume_process()",
        "== 1",
    ),
    Mutant(
        "test_control_a_client_that_waits_gets_the_greeting",
        "start_mariadb(lab)\n    assert_an",
        "start_mariadb(lab).stop()\n    assert_an",
    ),
    Mutant(
        "test_control_a_probe_that_waits_gets_the_greeting[RST]",
        "mariadb = start_mariadb(lab)\n    assert probe",
        "mariadb = start_mariadb(lab)\n    mariadb.stop()\n    assert probe",
    ),
    Mutant(
        "test_control_a_probe_that_waits_gets_the_greeting[FIN]",
        "mariadb = start_mariadb(lab)\n    assert probe",
        "mariadb = start_mariadb(lab)\n    mariadb.stop()\n    assert probe",
    ),
    Mutant(
        "test_control_a_probe_that_waits_gets_the_greeting[RST]",
        "str(lab.allowance_s), *options)",
        "str(lab.allowance_s))",
    ),
]
