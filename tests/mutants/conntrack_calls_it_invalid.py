"""conntrack_calls_it_invalid, broken on purpose."""

from tests.mutants import Mutant

BOTH = "test_a_segment_out_of_the_window_resets_both_ends"
READS = "test_a_client_that_only_reads_is_never_told"
DOWNLOAD = "test_a_download_ends_with_connection_reset_by_peer"
DROPS = "test_control_a_router_that_drops_invalid_segments"
TOO_OLD = "test_a_segment_that_is_too_old_is_translated_since_6e250dcbff1d"
OTHER_NUMBER = "test_control_a_reset_with_another_number_ends_nothing"
NEAR = ("FAR_AHEAD = 16 << 20", "FAR_AHEAD = 16")

MUTANTS = [
    Mutant(BOTH, *NEAR),
    Mutant(BOTH, "int(liberal)", "1"),
    Mutant(READS, *NEAR),
    Mutant(READS, "asks_again=False)", "rule=DROP_INVALID)"),
    Mutant(
        DOWNLOAD,
        '    server.stay_blocked(in_="send")\n    send_made_up(lab, ahead=FAR_AHEAD)',
        '    server.stay_blocked(in_="send")\n    send_made_up(lab)',
    ),
    Mutant(
        "test_control_a_segment_in_the_window_is_translated",
        "    send_made_up(lab)\n",
        "    send_made_up(lab, ahead=FAR_AHEAD)\n",
    ),
    Mutant(DROPS, "rule=DROP_INVALID", 'rule="ct state established accept"'),
    Mutant(DROPS, *NEAR),
    Mutant("test_control_a_liberal_conntrack_translates_it", "liberal=True", "liberal=False"),
    Mutant("test_control_a_liberal_conntrack_translates_it", *NEAR),
    Mutant(TOO_OLD, "ahead=TOO_OLD", "ahead=FAR_AHEAD, acked=-1"),
    Mutant(f"{OTHER_NUMBER}[16777216--1-challenged0]", "ahead=ahead, acked=acked", "ahead=ahead, acked=0"),
    Mutant(f"{OTHER_NUMBER}[0-1-challenged1]", "ahead=ahead, acked=acked", "ahead=ahead, acked=0"),
    Mutant(f"{OTHER_NUMBER}[0-1-challenged1]", "ahead=ahead, acked=acked", "ahead=FAR_AHEAD, acked=-1"),
]
