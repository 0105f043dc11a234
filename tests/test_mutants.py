"""Each scenario's assertions can fail: without the fault, or with another setting, its tests fail."""

import importlib
import re
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.mutants import Mutant
from tests.playing import ROOT, run_pytest, scenario_file
from tests.test_tidy import stories_of

SCENARIOS = ROOT / "scenarios"
SIDE_BY_SIDE = 12


def mutants_of(scenario: str) -> list[Mutant]:
    """The mutants in the file with the scenario's name; none if there is no such file."""
    if not (ROOT / "tests" / "mutants" / f"{scenario}.py").exists():
        return []
    mutants: list[Mutant] = importlib.import_module(f"tests.mutants.{scenario}").MUTANTS
    return mutants


MUTANTS = [
    (path.stem, mutant)
    for path in sorted(SCENARIOS.glob("*/*.py"), key=lambda path: path.stem)
    for mutant in mutants_of(path.stem)
]


WHOLE = sorted({f"whole_{scenario}::{mutant.test}" for scenario, mutant in MUTANTS})
"""Each story that a mutant is made from, unchanged."""

HASTE = """
import pytest

@pytest.fixture
def lab(lab, request):
    \"\"\"A mutant often waits for what will not come: not for long.\"\"\"
    lab.deadline_s = 10.0 if request.node.get_closest_marker("large") else 1.5
    return lab
"""


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """By the mutant's file: "passed", "failure" or "error", and the message. Without stories that were not played.

    With -k and the like, it plays only the mutants that are asked for.
    """
    folder = tmp_path_factory.mktemp("mutants")
    for number, (scenario, mutant) in enumerate(MUTANTS):
        source = scenario_file(scenario).read_text()
        (folder / f"mutant_{number}.py").write_text(source.replace(mutant.old, mutant.new))
    # Unchanged, to see that the mutants do not fail because of the short deadline.
    for path in SCENARIOS.glob("*/*.py"):
        (folder / f"whole_{path.stem}.py").write_text(path.read_text())
    (folder / "conftest.py").write_text(HASTE)
    node = {f"mutant_{number}": f"mutant_{number}.py::{MUTANTS[number][1].test}" for number in asked_for(request)}
    if len(node) == len(MUTANTS):
        node |= {story: story.replace("::", ".py::") for story in WHOLE}
    stories = [f"{folder}/{each}" for each in node.values()]
    # They mostly wait. Separate runs in parallel, because each worker of a single run would have to collect all files.
    shares = [stories[first::SIDE_BY_SIDE] for first in range(min(SIDE_BY_SIDE, len(stories)))]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        found = {story: verdict for part in pool.map(played, shares) for story, verdict in part.items()}
    # Stories that may have failed only because of the load are played once more alone, with the same deadline.
    again = [story for story, verdict in found.items() if is_unclear(story, verdict)]
    return found | played([f"{folder}/{node[story]}" for story in again]) if again else found


def asked_for(request: pytest.FixtureRequest) -> list[int]:
    """The mutants of the tests that pytest will run; all of them if one of these tests is about all."""
    tests = [item for item in request.session.items if "verdicts" in getattr(item, "fixturenames", ())]
    numbers = {item.callspec.params.get("number") if hasattr(item, "callspec") else None for item in tests}
    return list(range(len(MUTANTS))) if None in numbers else sorted(each for each in numbers if each is not None)


def played(stories: list[str]) -> dict[str, tuple[str, str]]:
    """By the mutant's file, or the unchanged story's file and name; empty if pytest itself failed, and prints why."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.xml")
        # Rewriting assertions, whose messages are not used, takes longer than playing the stories.
        options = ("-n", "0", "--assert=plain", "-m", "large or not large")
        done = run_pytest(
            Path(stories[0]), *stories[1:], *options, f"--junitxml={result}", "-o", "junit_family=xunit1"
        )  # fmt: skip
        if done.returncode not in (0, 1) or not result.exists():
            print(done.stdout, done.stderr)
            return {}
        found: dict[str, tuple[str, str]] = {}
        for case in ElementTree.parse(result).iter("testcase"):
            source = (case.get("classname") or "").rpartition(".")[2]
            # The first one counts: a role that dies at the end of a failed story is reported as a separate error.
            found.setdefault(
                source if source.startswith("mutant_") else f"{source}::{case.get('name')}", verdict_of(case)
            )
        return found


def verdict_of(case: ElementTree.Element) -> tuple[str, str]:
    """The result of a test case in a JUnit file: "passed", or "failure", "error" or "skipped" with its message.

    Other elements (properties, system-out) may come before that.
    """
    trouble = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
    return ("passed", "") if trouble is None else (trouble.tag, trouble.get("message") or "")


FAILS_TWICE = """
def role():
    yield "ready"
    raise ValueError("of its own accord")

def test_it(lab):
    actor = lab.start(role, to="ready")
    actor.resume()
    actor._wait_for_end(50)
    assert False, "the play"
"""


def test_a_story_that_fails_twice_has_failed(tmp_path: Path) -> None:
    """If its role has died, too, that is reported when the lab closes: pytest writes <properties> before <failure>."""
    story = tmp_path / "mutant_0.py"
    story.write_text(FAILS_TWICE)
    verdict, message = played([str(story)])["mutant_0"]
    assert (verdict, message.split("\n")[0]) == ("failure", "AssertionError: the play")


def spoilt(verdict: tuple[str, str]) -> bool:
    """Whether an unchanged story neither passed nor was left unmeasured."""
    return verdict[0] != "passed" and "by the prediction of" not in verdict[1]


BROKEN_PROGRAM = r"\b(NameError|UnboundLocalError|AttributeError|TypeError)\b"
"""Errors of a role that make its test fail whatever the kernel does."""


def by_an_expectation(verdict: tuple[str, str]) -> bool:
    """Whether it failed for the right reason: an expectation did not hold, and the mutant is still a working story."""
    expected = verdict[1].startswith(("AssertionError", "assert ", "harness.errors.ExpectationFailed"))
    return verdict[0] == "failure" and expected and not re.search(BROKEN_PROGRAM, verdict[1])


def what_to_do(verdict: tuple[str, str]) -> str:
    """A hint for a mutant that has not failed an expectation."""
    return {
        "passed": "the test is still green: assert what this change alters, or choose a change that alters the outcome",
        "skipped": "this machine cannot play it: see the reason",
        "not played": "pytest did not find or finish it: check the name of its test, with the parameters in brackets",
    }.get(
        verdict[0],
        "no expectation failed, so the mutant broke the program: choose a change after which it is still a valid "
        "program with the same steps, and ends differently",
    )


def is_unclear(story: str, verdict: tuple[str, str]) -> bool:
    """Whether an unchanged story fails, or a mutant fails without an expectation, as may happen on a busy machine."""
    if story.startswith("whole_"):
        return spoilt(verdict)
    return verdict[0] != "passed" and not by_an_expectation(verdict)


def test_a_mutant_that_ends_otherwise_is_played_again() -> None:
    clear = [("passed", ""), ("failure", "AssertionError: x"), ("failure", "harness.errors.ExpectationFailed: x")]
    unclear = [("failure", "harness.errors.LabError: x"), ("error", "AssertionError: x"), ("skipped", "x")]
    assert [is_unclear("mutant_0", each) for each in clear + unclear] == [False] * 3 + [True] * 3


@pytest.mark.parametrize("number", range(len(MUTANTS)), ids=lambda n: f"{MUTANTS[n][0]}-{MUTANTS[n][1].test}")
def test_mutant_turns_red(verdicts: dict[str, tuple[str, str]], number: int) -> None:
    verdict = verdicts.get(f"mutant_{number}", ("not played", ""))
    scenario, mutant = MUTANTS[number]
    assert by_an_expectation(verdict), (
        f"{scenario}: {mutant}: {verdict}. Hint: {what_to_do(verdict)} (the rule: tests/mutants/__init__.py)"
    )


@pytest.mark.parametrize(
    ("verdict", "hint"),
    [
        (("passed", ""), "assert what this change alters"),
        (("failure", "NameError: name 'connection' is not defined"), "still a valid program"),
        (("failure", "harness.errors.ExpectationFailed: serve died: NameError: name 'x'"), "still a valid program"),
        (("failure", "harness.errors.LabError: nothing was played"), "still a valid program"),
        (("error", "SyntaxError: invalid syntax"), "still a valid program"),
        (("skipped", "nft is missing"), "cannot play it"),
        (("not played", ""), "the name of its test"),
    ],
)
def test_a_mutant_that_fails_no_expectation_prints_what_to_do(verdict: tuple[str, str], hint: str) -> None:
    assert not by_an_expectation(verdict)
    assert hint in what_to_do(verdict)


def test_every_mutant_and_what_it_is_made_of_has_been_played(verdicts: dict[str, tuple[str, str]]) -> None:
    assert set(verdicts) == {f"mutant_{number}" for number in range(len(MUTANTS))} | set(WHOLE)


def test_what_a_mutant_replaces_occurs_once_in_its_scenario() -> None:
    for scenario, mutant in MUTANTS:
        times = scenario_file(scenario).read_text().count(mutant.old)
        assert times == 1, f"{mutant.old!r} occurs {times} times in {scenario}"


def test_unchanged_stories_pass_with_the_same_deadline(verdicts: dict[str, tuple[str, str]]) -> None:
    whole = {story: verdict for story, verdict in verdicts.items() if story.startswith("whole_")}
    assert len(whole) > len(list(SCENARIOS.glob("*/*.py")))
    assert {story: verdict for story, verdict in whole.items() if spoilt(verdict)} == {}


def test_every_test_of_every_scenario_has_a_mutant() -> None:
    tests = {(path.stem, test.name) for path in SCENARIOS.glob("*/*.py") for test in stories_of(path)}
    mutated = {(scenario, mutant.test.partition("[")[0]) for scenario, mutant in MUTANTS}
    assert tests - mutated == set(), "Hint: write tests/mutants/NAME.py, a mutant for each of these tests"


def test_every_file_of_mutants_has_its_scenario() -> None:
    files = {path.stem for path in (ROOT / "tests" / "mutants").glob("*.py")} - {"__init__"}
    assert files - {path.stem for path in SCENARIOS.glob("*/*.py")} == set()


def steps_in(text: str) -> Counter[str]:
    return Counter(re.findall(r"""\byield f?["']([^"']*)["']""", text))


@pytest.mark.parametrize("number", range(len(MUTANTS)), ids=lambda n: f"{MUTANTS[n][0]}-{MUTANTS[n][1].test}")
def test_a_mutant_leaves_the_steps_as_they_are(number: int) -> None:
    scenario, mutant = MUTANTS[number]
    assert steps_in(mutant.old) - steps_in(mutant.new) == Counter(), (
        f"{scenario}: {mutant}. A test that waits for a step that is gone fails whatever the kernel does. "
        "Hint: change what happens between the steps"
    )


def test_a_renamed_or_missing_step_is_noticed() -> None:
    old = 'connection.close()\n    yield "closed"'
    assert steps_in(old) == Counter(["closed"])
    assert steps_in("pass\n    yield 'closed'") == steps_in(old)
    assert steps_in(old) - steps_in(old.replace("closed", "gone")) == Counter(["closed"])
    assert steps_in(old) - steps_in("connection.close()") == Counter(["closed"])


def test_mutants_change_something() -> None:
    assert all(mutant.old != mutant.new for _, mutant in MUTANTS)
