"""Each scenario's assertions can fail: with the fault taken out of a role, or the subject changed, it turns red."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.mutants import MUTANTS, Mutant
from tests.playing import ROOT, run_pytest
from tests.test_tidy import stories_of

SCENARIOS = ROOT / "scenarios"


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[str, str]]:
    """By the mutant's number: "passed", "failure" or "error", and the message. All are played in one run."""
    folder = tmp_path_factory.mktemp("mutants")
    for number, mutant in enumerate(MUTANTS):
        source = (SCENARIOS / f"{mutant.scenario}.py").read_text()
        assert source.count(mutant.old) == 1, f"{mutant.old!r} stands {source.count(mutant.old)} times"
        (folder / f"mutant_{number}.py").write_text(source.replace(mutant.old, mutant.new))
    # A mutant often waits for what will not come: not for long.
    (folder / "conftest.py").write_text("from harness.lab import Lab\n\nLab.deadline_s = 1.5\n")
    stories = [f"{folder}/mutant_{number}.py::{mutant.test}" for number, mutant in enumerate(MUTANTS)]
    result = folder / "result.xml"
    done = run_pytest(Path(stories[0]), *stories[1:], "-n", "auto", f"--junitxml={result}", "-o", "junit_family=xunit1")
    assert done.returncode == 1, done.stdout
    found = {}
    for case in ElementTree.parse(result).iter("testcase"):
        number = int((case.get("classname") or "").rpartition("_")[2])
        trouble = next(iter(case), None)
        found[number] = ("passed", "") if trouble is None else (trouble.tag, trouble.get("message") or "")
    return found


@pytest.mark.parametrize("number", range(len(MUTANTS)), ids=lambda n: f"{MUTANTS[n].scenario}-{MUTANTS[n].test}")
def test_mutant_turns_red(verdicts: dict[int, tuple[str, str]], number: int) -> None:
    verdict, message = verdicts[number]
    assert verdict == "failure", f"{MUTANTS[number]}: {verdict} {message}"
    # Red for the right reason: an expectation that did not hold, not a mutant that is no longer a story.
    assert message.startswith(("AssertionError", "assert ", "harness.errors.ExpectationFailed")), message


def test_every_test_of_every_scenario_has_a_mutant() -> None:
    tests = {(path.stem, test.name) for path in SCENARIOS.glob("*.py") for test in stories_of(path)}
    mutated = {(mutant.scenario, mutant.test.partition("[")[0]) for mutant in MUTANTS}
    assert tests - mutated == set()


def test_mutants_change_something() -> None:
    assert all(isinstance(mutant, Mutant) and mutant.old != mutant.new for mutant in MUTANTS)
