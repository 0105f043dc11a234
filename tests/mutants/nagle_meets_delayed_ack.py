"""nagle_meets_delayed_ack, broken on purpose."""

from tests.mutants import Mutant

EACH_TIME = "test_write_write_read_takes_40_ms_each_time"
ONE_WRITE = "test_control_one_write_is_one_segment"

MUTANTS = [
    Mutant(
        EACH_TIME,
        "            connection.sendall(HEAD)\n            connection.sendall(BODY)\n",
        "            connection.sendall(HEAD + BODY)\n",
    ),
    Mutant(EACH_TIME, 'if quickack != "never":', "if True:"),
    Mutant(EACH_TIME, 'nodelay=0, quickack="never", ping', 'nodelay=1, quickack="never", ping'),
    Mutant("test_quickack_set_once_is_forgotten", 'quickack = "never"\n', 'quickack = "each time"\n'),
    Mutant("test_quickack_set_once_is_forgotten", 'connect(lab, quickack="once")', "connect(lab)"),
    Mutant(
        f"{ONE_WRITE}[sendmsg]", "connection.sendmsg([HEAD, BODY])", "(connection.send(HEAD), connection.send(BODY))"
    ),
    Mutant(f"{ONE_WRITE}[MSG_MORE]", "connection.send(HEAD, socket.MSG_MORE)", "connection.send(HEAD)"),
    Mutant("test_control_nodelay_sends_each_write_at_once", "connect(lab, nodelay=1)", "connect(lab)"),
    Mutant(
        "test_control_quickack_after_each_answer_acknowledges_at_once",
        'connect(lab, quickack="each time")',
        'connect(lab, quickack="once")',
    ),
    Mutant(
        "test_control_a_high_pingpong_thresh_keeps_the_quick_phase",
        "connect(lab, pingpong_thresh=255)",
        "connect(lab, pingpong_thresh=1)",
    ),
]
