"""The signatures: for each lesson whose fault can be seen, one pure function from two snapshots to a finding, or None.

`before` and `after` are some seconds apart. A state that must last is in both; an event is the growth of a counter. A
threshold is a ratio to a limit of the thing itself (a queue's length, a process's RLIMIT_NOFILE), or follows from the
kernel's own logic, whose function is named. A signature has the name of its lesson, and stands in the module of the
lesson's theme. To add one, write the function, add it to SIGNATURES at the end of its module, and list in
tests/diagnosed/THEME.toml the stories in which it is found.
"""

from collections.abc import Callable
from dataclasses import replace

from harness.diagnose.finding import Certainty, Finding
from harness.diagnose.signatures import closing, data, opening, owners, ports
from harness.diagnose.snapshot import Snapshot

Signature = Callable[[Snapshot, Snapshot], Finding | None]

SIGNATURES: dict[str, Signature] = {
    each.__name__: each for theme in (opening, closing, data, owners, ports) for each in theme.SIGNATURES
}
"""By the lesson's name."""


ONE_LOOK = (
    "one look cannot show that it lasts. Hint: take a second look some seconds later, and give both: "
    "--from FIRST --from SECOND"
)


def findings(before: Snapshot, after: Snapshot) -> list[Finding]:
    """What all signatures find, the certain findings first.

    If both are the same snapshot, there was only one look: no counter has grown, and whatever is there seems to last.
    So nothing is certain, and `missing` asks for a second look.
    """
    found = [finding for signature in SIGNATURES.values() if (finding := signature(before, after))]
    if before is after:
        found = [_of_one_look(finding) for finding in found]
    return sorted(found, key=lambda finding: finding.certainty != Certainty.FOUND)


def _of_one_look(finding: Finding) -> Finding:
    return replace(finding, missing=f"{finding.missing}; {ONE_LOOK}" if finding.missing else ONE_LOOK)
