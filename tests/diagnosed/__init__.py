"""What each signature must find: one THEME.toml for each theme of scenarios, written by hand from reading the stories.

    [full_accept_queue]            # a signature
    fault = ["full_accept_queue.test_a", "folklore.test_b"]
                                   # the stories that play its fault, and show it where they are judged
    also = [{ stories = ["…"], because = "…" }]
                                   # other stories in which it is found, and rightly so
    missed = [{ stories = ["…"], because = "…" }]
                                   # stories that play its fault, in which it is only possible, or not found at all

    [unseen]
    agreed_at_the_handshake = "…"  # lessons of this theme that have no signature, and why

A story is "SCENARIO.TEST", with its parameters; * stands for any text ("folklore.*"). In every other story the
signature may at most report a fault as possible. precision = (fault + also) / (fault + also + anything else, which
fails the test); recall = fault / (fault + missed). docs/diagnosis.md is generated from these files and from a run
(python -m tests.diagnosis --write).
"""
