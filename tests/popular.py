"""The rules that people use today, scored by the lab's stories: right alarms, missed faults, false alarms.

python -m tests.popular     play all stories, and print the tables of docs/diagnosis.md

Each rule (tests/popular_rules/) judges each story at the moments, and from the pairs of snapshots, by which the
signatures are judged (tests/diagnosis.py). An alarm is right in the stories with a fault that the rule claims to see,
by tests/diagnosed/, and in those of its `right_in`; it is false in all others. For a lesson without a signature, its
own story of the fault counts, and its variations are left out.

The rules get every advantage. All growth in a story is assumed to happen within 5 s, the default of `diagnose`. As
stories are small, each rule is scored twice: as written, and as if each event happened as often as the threshold
requires. In the second score, a threshold in numbers of sockets or events is simply "any": it shows whether what the
rule counts distinguishes one fault from another, at any size.
"""

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from harness.diagnose.signatures.common import growth
from harness.diagnose.snapshot import Snapshot
from harness.evidence.sockets import State
from harness.lessons import lessons
from harness.output.wording import counted
from tests.diagnosis import Pair, judged, matching, played, truths
from tests.diagnosis_plugin import Taken
from tests.popular_rules import Rule, Source, catpaw, hotsos, nagios, netdata, nettrace, pcp, prometheus

INTERVAL_S = 5.0
ORIGINS = {
    "netdata": netdata, "PCP": pcp, "hotsos": hotsos, "Prometheus": prometheus, "catpaw": catpaw, "Nagios": nagios,
    "nettrace": nettrace,
}  # fmt: skip
"""In the order of the tables."""

MOST_ORPHANS = "65536"
"""Stands for net.ipv4.tcp_max_orphans, which only the initial network namespace has. tcp_init() derives it from the
machine's memory, between 4,096 and 262,144; no story has as many orphans as a quarter of any of these."""

_ORPHANED = {State.FIN_WAIT1, State.FIN_WAIT2, State.CLOSING, State.LAST_ACK}
_MOST_NAMES = 4
_MANY = 16


def pairs(story: str, taken: Taken) -> Iterator[Pair]:
    """The pairs of snapshots from which a story is judged, as rules would see them on a machine of its own."""
    for _, seen in judged(story, taken):
        for before, after in seen:
            alone = _alone(after)
            yield dataclasses.replace(_alone(before), time_s=alone.time_s - INTERVAL_S), alone


def _alone(snapshot: Snapshot) -> Snapshot:
    """Without the other stories that are played at the same time: sockstat counts the orphans of the whole machine.

    A timewait socket is not an orphan, whatever its state (tcp_time_wait).
    """
    orphans = sum(
        row.state in _ORPHANED and not row.inode and row.timer.name != "time_wait" for row in snapshot.sockets
    )
    return dataclasses.replace(
        snapshot,
        sockstat=snapshot.sockstat | {"TCP orphan": orphans},
        sysctls=snapshot.sysctls | {"net.ipv4.tcp_max_orphans": MOST_ORPHANS},
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """One fault that a rule claims to see: the stories that play it, and those in which an alarm is also right."""

    name: str
    plays: frozenset[str]
    also: frozenset[str]


def claims(rule: Rule, stories: Iterable[str]) -> list[Claim]:
    """The claims of a rule; lessons with the same signature are one claim."""
    known, _ = truths()
    found = {}
    for name in rule.claims:
        lesson = lessons.load(name)
        if truth := known.get(signature := lesson.signature or name):
            plays = matching([*truth.fault, *truth.missed], stories)
            found[signature] = Claim(signature, frozenset(plays), frozenset(matching(truth.also, stories)))
        if truth is None or not found[signature].plays:
            plays = {f"{name}.{lesson.fault}".replace("/", "_")}.intersection(stories)
            its_own = {story for story in stories if story.startswith(f"{name}.") and ".test_control" not in story}
            found[signature] = Claim(signature, frozenset(plays), frozenset(its_own))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Score:
    """How a rule did. `alarms`: the stories in which it raises an alarm, as written; `any_size`: at any size.
    `right_too`: the stories of its `right_in`."""

    rule: Rule
    claims: list[Claim]
    alarms: frozenset[str]
    any_size: frozenset[str]
    right_too: frozenset[str]

    @property
    def plays(self) -> frozenset[str]:
        """The stories that have a fault that it claims to see."""
        return frozenset().union(*(claim.plays for claim in self.claims))

    def false(self, alarms: frozenset[str]) -> frozenset[str]:
        """The alarms in stories that have none of the faults that it claims to see."""
        return alarms - self.plays - self.right_too.union(*(claim.also for claim in self.claims))


def score(rule: Rule, stories: dict[str, Taken]) -> Score:
    """Judge all stories by one rule."""
    alarms, any_size = set(), set()
    for story, taken in stories.items():
        for before, after in pairs(story, taken):
            alarms |= {story} if rule.raises(before, after) else set()
            any_size |= {story} if rule.would_raise(before, after) else set()
    right_too = frozenset(matching(rule.right_in, stories))
    return Score(rule, claims(rule, stories), frozenset(alarms), frozenset(any_size), right_too)


def conclusion(scored: Score) -> str:
    """One rule's score in words."""
    false, seen = scored.false(scored.any_size), scored.plays & scored.any_size
    if not scored.claims:
        if not scored.any_size:
            return "no lesson has its fault, and it raises no alarm"
        return f"no lesson has its fault, and it raises {counted(len(scored.any_size), 'alarm')}"
    if not scored.any_size:
        return "sees nothing, at any size"
    if not seen:
        only = f"; {_all(false)} false" if false else ", only variations of their stories"
        return f"sees none of its faults{only}"
    share = "all" if seen == scored.plays else f"{len(seen)} of {len(scored.plays)}"
    text = f"sees {share} of the stories with its faults"
    text += f", but {len(false)} of {len(scored.any_size)} alarms are false" if false else ", and nothing else"
    if not scored.alarms - scored.false(scored.alarms):
        return f"{text}; its own threshold is too high for a lab"
    return text


def _timed_conclusion(scored: Score) -> str:
    """The same without numbers, for a rule whose numbers depend on timers."""
    seen = [claim for claim in scored.claims if claim.plays & scored.any_size]
    share = "all" if len(seen) == len(scored.claims) else f"{len(seen)} of {len(scored.claims)}"
    return f"sees {share if seen else 'none'} of its faults{_how_many(scored)}; the numbers depend on timers"


def _how_many(scored: Score) -> str:
    false = len(scored.false(scored.any_size))
    most = "most" if 2 * false > len(scored.any_size) else "some"
    sees_any = scored.plays & scored.any_size
    return f", {'but' if sees_any else 'and'} {most} of its alarms are false" if false else ""


def _all(false: frozenset[str]) -> str:
    return "its only alarm is" if len(false) == 1 else f"all of its {len(false)} alarms are"


INTRO = """\
Each rule judges the stories that the signatures judge. Its alarm is right in a story whose fault it claims to see,
and false in all others. The rules get every advantage: all growth in a story is assumed to happen within 5 s, a
condition that must last is assumed to last, and the lower of two levels counts. Stories are small, so each rule is
judged twice: as written, and at any size, as if each event happened as often as the threshold requires. The second
shows whether what the rule counts distinguishes its faults from others on a machine of any size; the columns "sees",
"misses" and "cries wolf in" are about that. The number after a scenario is a number of its stories."""


def table(stories: dict[str, Taken]) -> str:
    """The tables of docs/diagnosis.md, as Markdown: the same for each run."""
    kept = {story: taken for story, taken in sorted(stories.items()) if taken}
    lines = []
    for origin, module in ORIGINS.items():
        scored = [score(rule, kept) for rule in module.RULES if not rule.unplayed]
        lines += ["", f"#### {origin}", "", *_head(), *(_row(each) for each in scored), ""]
        lines += [f"Not scored: {rule.name}, as {rule.unplayed}." for rule in module.RULES if rule.unplayed]
        lines += [each for each in (module.NOTE, _read_from(rule.source for rule in module.RULES)) if each]
    return "\n".join([INTRO, *lines, "", attempt_fails(kept)]) + "\n"


def _read_from(sources: Iterable[Source]) -> str:
    """The sources of the rules: for each repository, the paths in it."""
    paths: dict[str, list[str]] = {}
    for source in dict.fromkeys(sources):
        paths.setdefault(source.place, []).append(f"`{source.path}`")
    return f"Read from {'; '.join(f'{place}: ' + ', '.join(names) for place, names in paths.items())}."


def _head() -> list[str]:
    heads = [
        "rule", "raises an alarm at", "meaning", "as written: right, false", "at any size: sees", "misses",
        "cries wolf in", "in short",
    ]  # fmt: skip
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]


def _row(scored: Score) -> str:
    rule = scored.rule
    seen = [claim for claim in scored.claims if claim.plays & scored.any_size]
    missed = [claim for claim in scored.claims if not claim.plays & scored.any_size]
    cells = [
        f"`{rule.name}`",
        rule.condition,
        rule.meaning,
        f"{len(scored.alarms - scored.false(scored.alarms))}, {len(scored.false(scored.alarms))}",
        _names(f"{claim.name} {len(claim.plays & scored.any_size)}/{len(claim.plays)}" for claim in seen),
        _names(claim.name for claim in missed),
        _wolf(scored.false(scored.any_size)),
        conclusion(scored),
    ]
    if rule.timed:
        false = scored.false(scored.any_size)
        wolf = ("many stories" if len(false) >= _MANY else "some stories") if false else "-"
        cells[3:] = ["-", _names(claim.name for claim in seen), cells[5], wolf, _timed_conclusion(scored)]
    return f"| {' | '.join(cells)} |"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "-"


def _wolf(stories: frozenset[str]) -> str:
    """The scenarios with false alarms and their numbers, the highest first."""
    by_scenario = Counter(story.partition(".")[0] for story in sorted(stories))
    ranked = sorted(by_scenario.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name} {count}" for name, count in ranked[:_MOST_NAMES]]
    left_out = len(ranked) - len(shown)
    return _names([*shown, *([f"and {counted(left_out, 'other scenario')}"] if left_out else [])])


def attempt_fails(stories: dict[str, Taken]) -> str:
    """What TcpAttemptFails counts, shown by the stories: it is widely read as "resets received"."""
    reset = _growing("TcpOutRsts", stories)
    failed = _growing("TcpAttemptFails", stories)
    ended = _growing("TcpEstabResets", stories)
    unreset = sorted(failed - reset)
    return "\n".join([
        "#### TcpAttemptFails is not \"resets received\"",
        "",
        "netdata's `10s_ip_tcp_resets_received` reads TcpAttemptFails as the resets that this host receives. The "
        "kernel counts it in two places: tcp_done(), for a socket that ends in SYN_SENT or SYN_RECV, and "
        "tcp_check_req(), for a handshake that is ended by RST or by another SYN. So it counts connections that were "
        "never ESTABLISHED, and not only those that were reset: also a connect() that timed out (tcp_write_err). If a "
        "connection in ESTABLISHED or CLOSE_WAIT is reset, TcpEstabResets grows instead (tcp_set_state), and it grows "
        "as well if this host aborts the connection. Linux has no counter of the resets that it receives.",
        "",
        f"In {len(reset)} stories a host sends RST to the other one (TcpOutRsts grows). TcpAttemptFails grows in "
        f"{len(reset & failed)} of them, and TcpEstabResets in {len(reset & ended)}. TcpAttemptFails grows without any "
        f"reset in {_names(f'`{story}`' for story in unreset)}.",
    ])  # fmt: skip


def _growing(counter: str, stories: dict[str, Taken]) -> set[str]:
    return {
        story
        for story, taken in stories.items()
        if any(growth(counter, before, after) for before, after in pairs(story, taken))
    }


def main() -> int:
    """Play all stories and print the tables; the exit status."""
    print(table(played("-n", "auto")), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
