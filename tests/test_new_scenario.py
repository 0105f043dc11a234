"""`python -m harness new NAME` writes files that run at once and fail, and prints what to fill in."""

import re
import tomllib
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.lessons import lessons
from harness.output import files
from tests import test_tidy
from tests.mutants import Mutant
from tests.playing import ROOT, run_pytest
from tests.test_mutants import by_an_expectation, played, steps_in

NAME = "data_nobody_reads"
WRITTEN = (f"scenarios/closing/{NAME}.py", f"scenarios/closing/{NAME}.toml", f"tests/mutants/{NAME}.py")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with this checkout's themes, and one scenario."""
    monkeypatch.setattr(lessons, "FOLDER", tmp_path / "scenarios")
    (tmp_path / "scenarios" / "ports").mkdir(parents=True)
    (tmp_path / "scenarios" / "ports" / "taken.py").touch()
    (tmp_path / "scenarios" / "THEMES.toml").write_text((ROOT / "scenarios" / "THEMES.toml").read_text())
    (tmp_path / "tests" / "mutants").mkdir(parents=True)
    (tmp_path / "tests" / "mutants" / "mutated.py").touch()
    return tmp_path


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_it_writes_a_scenarios_files_and_lists_them(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files_in(checkout)
    assert main(["new", NAME, "--theme", "closing"]) == 0
    assert files_in(checkout) - before == set(WRITTEN)
    shown = capsys.readouterr().out
    assert all(name in shown for name in WRITTEN)
    assert f"make scenarios S={NAME}" in shown
    assert "docs/writing-a-scenario.md" in shown


def test_the_theme_may_be_another(checkout: Path) -> None:
    assert main(["new", NAME, "--theme", "waiting"]) == 0
    assert (checkout / "scenarios" / "waiting" / f"{NAME}.py").exists()


def test_its_stories_run_and_fail_by_what_is_to_be_filled_in(checkout: Path) -> None:
    main(["new", NAME, "--theme", "closing"])
    done = run_pytest(checkout / WRITTEN[0], "-q", "-n", "0", "--tb=short")
    assert done.returncode == 1, done.stdout
    assert "2 failed" in done.stdout
    assert re.search(r"assert \['server RA'\] == \['FILL IN", done.stdout)
    assert re.search(r"assert \['server FA'\] == \['FILL IN", done.stdout)


def filled_in(checkout: Path) -> str:
    """The story, filled in with what its failures have shown."""
    story = (checkout / WRITTEN[0]).read_text()
    fault, control = story.split("def test_control_")
    expectation = re.compile(r'== \["FILL IN[^"]*"\]')
    assert len(expectation.findall(fault)) == len(expectation.findall(control)) == 1
    return (
        expectation.sub('== ["server RA"]', fault) + "def test_control_" + expectation.sub('== ["server FA"]', control)
    )


def test_once_filled_in_it_is_green_and_its_mutants_red(checkout: Path, tmp_path: Path) -> None:
    main(["new", NAME, "--theme", "closing"])
    story = filled_in(checkout)
    whole = tmp_path / "whole.py"
    whole.write_text(story)
    assert run_pytest(whole, "-q", "-n", "0").returncode == 0
    found: dict[str, list[Mutant]] = {}
    exec((checkout / WRITTEN[2]).read_text(), found)
    mutants = found["MUTANTS"]
    assert {mutant.test for mutant in mutants} == {f"test_{NAME}", f"test_control_{NAME}"}
    stories = []
    for number, mutant in enumerate(mutants):
        assert story.count(mutant.old) == 1
        assert steps_in(mutant.old) == steps_in(mutant.new)
        path = tmp_path / f"mutant_{number}.py"
        path.write_text(story.replace(mutant.old, mutant.new))
        stories.append(f"{path}::{mutant.test}")
    verdicts = played(stories)
    assert len(verdicts) == 2
    assert all(by_an_expectation(verdict) for verdict in verdicts.values()), verdicts


def test_its_lesson_is_complete_and_each_text_is_to_be_filled_in(checkout: Path) -> None:
    main(["new", NAME, "--theme", "closing"])
    lesson = lessons.load(NAME, "zh")
    assert (lesson.fault, lesson.control) == (f"test_{NAME}", f"test_control_{NAME}")
    texts = tomllib.loads((checkout / WRITTEN[1]).read_text())["en"]
    assert [name for name, text in texts.items() if "FILL IN" not in str(text)] == []


def test_its_scenario_has_what_every_scenario_has(checkout: Path) -> None:
    main(["new", NAME, "--theme", "closing"])
    checks = test_tidy.TestEveryScenario()
    for name in dir(checks):
        if name.startswith("test_"):
            getattr(checks, name)(checkout / WRITTEN[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["taken"], r"there is a scenario taken already: scenarios/ports/taken\.py\. Hint: choose another name"),
        (["mutated"], r"tests/mutants/mutated\.py exists already\. Hint: choose another name"),
        (["Bad-Name"], r"Bad-Name cannot be a scenario's name\. Hint: use a phrase .* such as reset_before_accept"),
        (["../x"], r"\.\./x cannot be a scenario's name"),
        (["2_fins"], r"2_fins cannot be a scenario's name"),
        (["import"], r"import cannot be a scenario's name"),
        (["x" * 121], r"x cannot be a scenario's name"),
        ([NAME, "--theme", "closings"], r"no theme closings\. Hint: use one of opening, closing, .*THEMES\.toml"),
    ],
)  # fmt: skip
def test_invalid_names_are_refused_and_nothing_is_written(
    checkout: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = files_in(checkout)
    assert main(["new", *arguments]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert files_in(checkout) == before


def test_a_second_time_is_refused(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", NAME]) == 0
    (checkout / WRITTEN[0]).write_text("mine")
    assert main(["new", NAME]) == 2
    assert (checkout / WRITTEN[0]).read_text() == "mine"


@pytest.mark.parametrize("number", range(3))
def test_if_one_file_cannot_be_written_none_is(checkout: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    before, write, done = files_in(checkout), files.write, []

    def failing(path: Path, data: str) -> None:
        if len(done) == number:
            raise files.unwritable(path, OSError(28, "No space left on device"))
        done.append(path)
        write(path, data)

    monkeypatch.setattr(files, "write", failing)
    assert main(["new", NAME]) == 2
    assert len(done) == number
    assert files_in(checkout) == before


def test_an_option_that_there_is_not_is_refused(checkout: Path) -> None:
    before = files_in(checkout)
    assert main(["new", NAME, "--them", "closing", "-x"]) == 2
    assert files_in(checkout) == before


def test_nothing_is_left_to_fill_in() -> None:
    sources = [*test_tidy.SCENARIOS, *(ROOT / "scenarios").glob("*/*.toml"), *(ROOT / "tests" / "mutants").glob("*.py")]
    assert [str(path) for path in sources if "FILL IN" in path.read_text()] == []
