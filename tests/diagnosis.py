"""The proof of the signatures: which of them find something in which story.

python -m tests.diagnosis [PYTEST OPTIONS]   play the stories (all, or e.g. -k close_wait), and print where each
                                             signature finds something
python -m tests.diagnosis --write            play all stories, and write the table of docs/diagnosis.md

It plays every story, takes a snapshot at each moment of rest, and judges the story at its end, and at the step that its
lesson names (seen_at). There a story stands still for as long as the test likes. So two snapshots some seconds apart
would have the same sockets, and counters that have grown since the story began, since the moment before, or not at all.
The first look at a live machine may also have come at one of those earlier moments, so each earlier snapshot is paired
with this one as it is, too: only such a pair shows what is new, or gone. The other moments are not judged: there, a
story passes through states that are faults only if they last. Roles stand still between their steps, so the time in
which their processes ran means nothing here; tests/test_signatures_opening.py has a process that runs.
"""

import dataclasses
import fnmatch
import os
import pickle
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.diagnose.finding import Certainty, Finding
from harness.diagnose.signatures import SIGNATURES
from harness.diagnose.snapshot import Snapshot
from harness.lessons import lessons
from harness.network import addresses
from harness.output import files
from tests.diagnosis_plugin import Moment, Taken
from tests.playing import ROOT, run_pytest

Pair = tuple[Snapshot, Snapshot]
APART_S = 5.0
"""The time between two looks that are made up from one."""
_MORE_TRIES = 2
DIAGNOSED = Path(__file__).parent / "diagnosed"
PAGE = ROOT / "docs" / "diagnosis.md"


def played(*options: str) -> dict[str, Taken]:
    """Play all stories; what was seen in each, by "SCENARIO.TEST".

    The looks take time, which a story with a short timer may not have on a busy machine. So a story that failed is
    played again, alone.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        os.environ["SNAPSHOTS"] = folder
        command = [ROOT / "scenarios", "-p", "tests.diagnosis_plugin", "-o", f"cache_dir={cache}", *options]
        for once_more in ([], *[["--last-failed", "-n", "0"]] * _MORE_TRIES):
            done = run_pytest(*command, *once_more)
            if done.returncode == 0:
                break
        else:
            raise AssertionError(done.stdout + done.stderr)
        return {path.name: pickle.loads(path.read_bytes()) for path in Path(folder).iterdir()}


def judged(story: str, taken: Taken) -> Iterator[tuple[Moment, list[Pair]]]:
    """The moments at which a story is judged, each with the pairs of snapshots that a signature sees."""
    lesson = lessons.find(story.partition(".")[0])
    seen_at = lesson.seen_at if lesson else ""
    for number, moment in enumerate(taken):
        if number == len(taken) - 1 or (seen_at and moment.step == seen_at):
            earlier = [taken[each] for each in sorted({0, max(number - 1, 0), number})]
            yield moment, [pair for then in earlier for pair in (_stood_still(then, moment), _moved(then, moment))]


def _stood_still(then: Moment, now: Moment) -> Pair:
    """What two looks would have seen, some seconds apart: the sockets of now, and the counters of both."""
    before = dataclasses.replace(now.snapshot, counters=then.snapshot.counters, time_s=now.snapshot.time_s - APART_S)
    return before, now.snapshot


def _moved(then: Moment, now: Moment) -> Pair:
    """The two moments as they were, but as if no process had run in between."""
    ran = {owner.pid: owner for owners in now.snapshot.owners.values() for owner in owners}
    owners = {
        inode: tuple(
            dataclasses.replace(each, cpu_s=same.cpu_s, delay_s=same.delay_s)
            for each in held
            for same in (ran.get(each.pid, each),)
        )
        for inode, held in then.snapshot.owners.items()
    }
    return dataclasses.replace(then.snapshot, owners=owners), now.snapshot


def found(story: str, taken: Taken, *, end: str = "") -> dict[str, Finding]:
    """By signature, what is found in this story, or else possible. `end`: only with the sockets of that host."""
    findings: dict[str, Finding] = {}
    for _, pairs in judged(story, taken):
        for before, after in pairs:
            for name, signature in SIGNATURES.items():
                finding = signature(_only(end, before), _only(end, after))
                if finding and (name not in findings or is_certain(finding) > is_certain(findings[name])):
                    findings[name] = finding
    return findings


def is_certain(finding: Finding) -> bool:
    """Whether it is found, not only possible."""
    return finding.certainty == Certainty.FOUND


def _only(end: str, snapshot: Snapshot) -> Snapshot:
    if not end:
        return snapshot
    hosts = {host for host, name in addresses.HOSTS.items() if (name == "client") == (end == "client")}
    return dataclasses.replace(snapshot, sockets=tuple(row for row in snapshot.sockets if row.local[0] in hosts))


@dataclass
class Truth:
    """The stories of one signature, listed by hand: see tests/diagnosed/__init__.py. Names may contain *."""

    fault: list[str] = field(default_factory=list)
    also: dict[str, str] = field(default_factory=dict)
    """The reason for each."""
    missed: dict[str, str] = field(default_factory=dict)


def truths() -> tuple[dict[str, Truth], dict[str, str]]:
    """By signature, what it must find; and by lesson, why no signature sees its fault."""
    found: dict[str, Truth] = {}
    unseen: dict[str, str] = {}
    for path in sorted(DIAGNOSED.glob("*.toml")):
        tables = tomllib.loads(path.read_text("utf-8"))
        unseen |= tables.pop("unseen", {})
        for name, table in tables.items():
            truth = found.setdefault(name, Truth())
            truth.fault += table.get("fault", [])
            for kind in ("also", "missed"):
                for each in table.get(kind, []):
                    getattr(truth, kind).update(dict.fromkeys(each["stories"], each["because"]))
    return found, unseen


def matching(patterns: Iterable[str], stories: Iterable[str]) -> set[str]:
    """The stories that one of the patterns stands for; only * is special, as names contain brackets."""
    regexes = [re.compile(fnmatch.translate(pattern.replace("[", "[[]"))) for pattern in patterns]
    return {story for story in stories if any(regex.fullmatch(story) for regex in regexes)}


@dataclass(frozen=True)
class Score:
    """How a signature did. All fields are stories. `fault`, `also` and `missed` are those of its Truth.

    `found`: in which it was certain. `possible`: in which it was only possible.
    """

    fault: set[str]
    also: set[str]
    missed: set[str]
    found: set[str]
    possible: set[str]

    @property
    def unexpected(self) -> set[str]:
        """Those in which it is found, but not listed in tests/diagnosed/."""
        return self.found - self.fault - self.also

    @property
    def precision(self) -> float:
        """The share of its findings that are right."""
        return 1 - len(self.unexpected) / len(self.found) if self.found else 1.0

    @property
    def recall(self) -> float:
        """The share of the stories that play its fault in which it is found."""
        plays = self.fault | self.missed
        return len(self.found & plays) / len(plays) if plays else 1.0


def scores(findings: dict[str, dict[str, Finding]]) -> dict[str, Score]:
    """By signature. `findings`: by story, what was found there."""
    truth, _ = truths()
    return {
        name: Score(
            *(matching(patterns, findings) for patterns in (truth[name].fault, truth[name].also, truth[name].missed)),
            {story for story, here in findings.items() if name in here and is_certain(here[name])},
            {story for story, here in findings.items() if name in here and not is_certain(here[name])},
        )
        for name in SIGNATURES
        if name in truth
    }


def main(options: list[str]) -> int:
    """Print what is found where; the exit status."""
    if options == ["--write"]:
        return _write()
    stories = played("-n", "auto", *options)
    for name in SIGNATURES:
        print(f"\n## {name}")
        for story, taken in sorted(stories.items()):
            if finding := found(story, taken).get(name):
                ends = [end for end in ("client", "server") if name in found(story, taken, end=end)]
                sure = "found" if is_certain(finding) else "possible"
                print(f"  {story}  {sure} [{', '.join(ends)}]  {finding.evidence[0].text}")
    return 0


def _write() -> int:
    from tests import popular  # which imports this module

    stories = played("-n", "auto")
    findings, ends = everything(stories)
    page = with_part("signatures", PAGE.read_text("utf-8"), table(scores(findings), ends))
    files.write(PAGE, with_part("popular rules", page, popular.table(stories)).encode())
    return 0


def everything(stories: dict[str, Taken]) -> tuple[dict[str, dict[str, Finding]], dict[str, set[str]]]:
    """By story, what is found there; and by signature, the ends from whose sockets alone it is found."""
    findings = {story: found(story, taken) for story, taken in sorted(stories.items()) if taken}
    ends: dict[str, set[str]] = {name: set() for name in SIGNATURES}
    for story, here in findings.items():
        alone = {end: found(story, stories[story], end=end) for end in ("client", "server")}
        for name, finding in here.items():
            if not any(each.row for each in finding.evidence):
                ends[name].add("counters")
                continue
            seen_from = {
                f"the {end}'s sockets"
                for end, seen in alone.items()
                if name in seen and any(each.row for each in seen[name].evidence)
            }
            if not seen_from and all(each.row.local[0] in addresses.HOSTS for each in finding.evidence if each.row):
                seen_from = {"both ends"}  # not on loopback, whose addresses belong to no end
            ends[name] |= seen_from
    return findings, ends


def with_part(name: str, page: str, text: str) -> str:
    """The page with what stands between the two markers of that name replaced."""
    before, _, rest = page.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    assert end, name
    return f"{before}<!-- {name} -->\n\n{text}\n{end}{after}"


def table(scored: dict[str, Score], ends: dict[str, set[str]]) -> str:
    """The tables of docs/diagnosis.md, as Markdown."""
    truth, unseen = truths()
    lines = [
        "| signature | stories that play its fault | found in | only possible in | rightly found in others "
        "| wrongly found | precision | recall | read from |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, score in sorted(scored.items()):
        plays = score.fault | score.missed
        read_from = ", ".join(sorted(ends[name])) or "-"
        lines.append(
            f"| {name} | {len(plays)} | {len(score.found & plays)} | {len(score.possible & plays)} | {len(score.also)} "
            f"| {len(score.unexpected)} | {score.precision:.0%} | {score.recall:.0%} | {read_from} |"
        )
    lines += ["", "Rightly found in other stories:", ""]
    for name in sorted(truth):
        lines += [f"- {name}, in {_listed(stories)}: {why}" for why, stories in _by_reason(truth[name].also)]
    lines += ["", "Played, but not found, or only possible:", ""]
    for name in sorted(truth):
        lines += [f"- {name}, in {_listed(stories)}: {why}" for why, stories in _by_reason(truth[name].missed)]
    lines += ["", "Lessons without a signature:", ""]
    lines += [f"- {lesson}: {why}" for lesson, why in sorted(unseen.items())]
    return "\n".join(lines) + "\n"


def _by_reason(reasons: dict[str, str]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for story, why in reasons.items():
        found.setdefault(why, []).append(story)
    return list(found.items())


def _listed(stories: list[str]) -> str:
    return ", ".join(f"`{story}`" for story in stories)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
