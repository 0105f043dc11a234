"""nginx_lingering_close, broken on purpose."""

from tests.mutants import Mutant

MUTANTS = [
    Mutant(
        "test_with_lingering_close_off_nginx_resets_its_answer",
        'play_too_large_headers(lab, "off")',
        'play_too_large_headers(lab, "on")',
    ),
    Mutant(
        "test_control_by_default_nginx_lingers",
        'play_too_large_headers(lab, "on")',
        'play_too_large_headers(lab, "off")',
    ),
    Mutant(
        "test_control_nginx_reads_a_body_that_is_too_large",
        "client_max_body_size 1m;",
        "client_max_body_size 16m;",
    ),
]
