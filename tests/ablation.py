"""Removes each input of each scenario in turn, and reports what no test misses: `make ablate S=full_accept_queue`.

A test that misses its input fails. If all tests pass, an assertion is missing, or the input is not needed. Inputs that
stay although no test misses them are listed in tests/unmissed.toml, each with its reason.
"""

import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.cuts import KINDS, Cut, cuts_of
from tests.playing import ROOT, run_pytest

SCENARIOS = ROOT / "scenarios"
WORKERS = 12
TESTS_IN_ONE_RUN = 240
"""The most tests in a run: each worker of a run collects the files of all its tests."""

TESTS_A_WORKER = 4
"""The least tests for a worker, which takes half a second to start; fewer tests are played without one."""

HASTE = "from harness.lab.lab import Lab\n\nLab.deadline_s = 1.5\n"
"""Shortens the deadline of all verbs: without its input a story often waits in vain."""

OPTIONS = ("--timeout", "20", "--assert=plain", "--maxschedchunk=1", "-o", "junit_family=xunit1")

REFERENCE = ("--lab-sysctls", "reference")
OTHERS = (("--lab-sysctls", "kernel"), ("--lab-sysctl-file", str(ROOT / "tests" / "contrary.conf")))
TURNS = ((slice(0, 1), REFERENCE), (slice(1, None), REFERENCE), *((slice(None), others) for others in OTHERS))
"""Which tests to play a cut with, and under which sysctls, until one misses it.

The first test is usually enough. A call that sets a sysctl to its present value is missed only under other values.
"""

Tests = Sequence[tuple[str, str]]
"""Tests, by the name of the file and of the test."""

Plays = dict[tuple[str, str], set[str]]
"""By the same names, the results of a test's plays: "passed", "failure", "error" or "skipped"."""


@dataclass(frozen=True, slots=True)
class Findings:
    """The cuts by their results."""

    missed: list[Cut]
    """A test failed."""

    unmissed: list[Cut]
    """All tests passed."""

    not_judged: list[Cut]
    """All tests are skipped here, with or without the cut, or are large, and so too long to be played this often."""


class NotGreen(Exception):
    """A test fails although nothing was removed."""


def play(sources: dict[str, str], tests: Tests, folder: Path, sysctls: Sequence[str], workers: int = WORKERS) -> Plays:
    """Play tests of files, given by name and source, under sysctls, given as options of pytest."""
    (folder / "conftest.py").write_text(HASTE)
    found: Plays = {}
    for start in range(0, len(tests), TESTS_IN_ONE_RUN):
        some = tests[start : start + TESTS_IN_ONE_RUN]
        for file, _ in some:
            (folder / f"{file}.py").write_text(sources[file])
        names = [f"{folder}/{file}.py::{test}" for file, test in some]
        result = folder / "result.xml"
        crowd = min(workers, len(some) // TESTS_A_WORKER)
        options = (*OPTIONS, *sysctls, "-n", str(crowd), "--junitxml", str(result))
        done = run_pytest(Path(names[0]), *names[1:], *options)
        if done.returncode not in (0, 1, 5):  # passed, failed, nothing to play (all are large)
            raise RuntimeError(done.stdout + done.stderr)
        for case in ElementTree.parse(result).iter("testcase"):
            file = (case.get("classname") or "").rpartition(".")[2]
            test = (case.get("name") or "").partition("[")[0]
            trouble = [each.tag for each in case if each.tag in ("failure", "error", "skipped")]
            found.setdefault((file, test), set()).add(trouble[0] if trouble else "passed")
    return found


def play_whole(scenarios: dict[str, str], tests: Tests, folder: Path, sysctls: Sequence[str]) -> Plays:
    """Play unchanged scenarios with the same short deadline; returns the tests that do not fail, at the second try.

    NotGreen if a test fails under the reference's sysctls; under others it may depend on values that it does not set.
    """
    found = play(scenarios, tests, folder, sysctls)
    found |= play(scenarios, _red(found), folder, sysctls, workers=2)
    if (red := _red(found)) and sysctls == REFERENCE:
        raise NotGreen(", ".join(f"{file}::{test}" for file, test in red))
    return {test: plays for test, plays in found.items() if test not in red}


def _red(plays: Plays) -> Tests:
    return [test for test, found in plays.items() if found & {"failure", "error"}]


def find_unmissed(scenarios: dict[str, str], listed: Set[str], folder: Path) -> Findings:
    """Make every cut in the scenarios, given by name and source. NotGreen if a test fails without a cut.

    A cut that is listed as unmissed, but was missed, is played again alone, in case the load made its test fail.
    """
    cuts = [cut for name, source in scenarios.items() for cut in cuts_of(name, source)]
    files = {f"cut_{number}": cut for number, cut in enumerate(cuts)}
    sources = {file: cut.source for file, cut in files.items()}
    judged: set[str] = set()
    missed: set[str] = set()
    for which, sysctls in TURNS:
        left = [(file, test) for file, cut in files.items() if file not in missed for test in cut.tests[which]]
        as_it_is = list(dict.fromkeys((files[file].scenario, test) for file, test in left))
        whole = play_whole(scenarios, as_it_is, folder, sysctls)
        turn = [(file, test) for file, test in left if whole.get((files[file].scenario, test), set()) - {"skipped"}]
        print(f"{len(turn)} tests without an input that no test has missed so far ({' '.join(sysctls)})", flush=True)
        plays = play(sources, turn, folder, sysctls)
        doubtful = [each for each in _red(plays) if files[each[0]].key in listed]
        plays |= play(sources, doubtful, folder, sysctls, workers=0)
        judged |= {file for file, _ in turn}
        missed |= {file for (file, test), found in plays.items() if found - whole[files[file].scenario, test]}
    return Findings(
        [cut for file, cut in files.items() if file in missed],
        [cut for file, cut in files.items() if file in judged - missed],
        [cut for file, cut in files.items() if file not in judged],
    )


def explained() -> dict[str, str]:
    """The reasons in tests/unmissed.toml, by the key of the cut."""
    by_reason: dict[str, list[str]] = tomllib.loads((ROOT / "tests" / "unmissed.toml").read_text())
    return {key: why for why, keys in by_reason.items() for key in keys}


def report(findings: Findings, reasons: dict[str, str]) -> tuple[str, bool]:
    """The report, and whether every unmissed cut has an entry in tests/unmissed.toml, and every entry still applies."""
    unexplained = [cut for cut in findings.unmissed if cut.key not in reasons]
    may_be_missed = [cut for cut in findings.missed if reasons.get(cut.key, "").startswith("race:")]
    stale = set(reasons) - {cut.key for cut in findings.unmissed + findings.not_judged + may_be_missed}
    lines = [
        f"{cut.scenario}.py:{cut.line}: {cut.kind} {cut.text}\n    green without it: {', '.join(cut.tests)}"
        for cut in unexplained
    ]
    lines += [f"stale in tests/unmissed.toml, a test misses it or it is gone: {key}" for key in sorted(stale)]
    lines += [f"{'':12}removed  stayed green  explained  unexplained  not judged"]
    every = findings.missed + findings.unmissed + findings.not_judged
    columns = (
        every,
        findings.unmissed,
        [cut for cut in findings.unmissed if cut.key in reasons],
        unexplained,
        findings.not_judged,
    )
    counts = [Counter(cut.kind for cut in column) for column in columns]
    rows = [(kind, [each[kind] for each in counts]) for kind in KINDS] + [("all", [len(each) for each in columns])]
    lines += [f"{name:12}{a:7}{b:14}{c:11}{d:13}{e:12}" for name, (a, b, c, d, e) in rows]
    return "\n".join([*lines, f"{len(unexplained)} unexplained, {len(stale)} stale"]), not (unexplained or stale)


def main(names: Sequence[str]) -> int:
    scenarios = {
        path.stem: path.read_text()
        for path in sorted(SCENARIOS.glob("*/*.py"), key=lambda path: path.stem)
        if not names or path.stem in names
    }
    if unknown := set(names) - set(scenarios):
        print(f"there is no scenario {', '.join(sorted(unknown))}. Hint: make list shows all", file=sys.stderr)
        return 2
    reasons = {key: why for key, why in explained().items() if key.partition(".")[0] in scenarios}
    with tempfile.TemporaryDirectory(prefix="ablation-") as folder:
        try:
            findings = find_unmissed(scenarios, set(reasons), Path(folder))
        except NotGreen as error:
            print(f"not green even with all inputs: {error}. Hint: make scenarios", file=sys.stderr)
            return 2
    text, nothing_to_do = report(findings, reasons)
    print(text)
    return 0 if nothing_to_do else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
