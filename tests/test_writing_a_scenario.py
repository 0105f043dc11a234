"""The worked example of docs/writing-a-scenario.md is a scenario like the others: it plays, and its mutants fail."""

import re
from pathlib import Path
from typing import Any

import pytest

from harness.lessons import lessons
from tests import test_tidy
from tests.mutants import Mutant
from tests.playing import ROOT, run_pytest
from tests.test_mutants import by_an_expectation, played, steps_in

NAME = "first_write_after_close_succeeds"
PAGE = (ROOT / "docs" / "writing-a-scenario.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)


SCENARIO, MUTANTS_FILE = blocks("python")
[LESSON] = blocks("toml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenarios")
    (folder / "closing").mkdir()
    (folder / "closing" / f"{NAME}.py").write_text(SCENARIO)
    (folder / "closing" / f"{NAME}.toml").write_text(LESSON)
    return folder


def mutants() -> list[Mutant]:
    found: dict[str, Any] = {}
    exec(MUTANTS_FILE, found)
    return list(found["MUTANTS"])


def test_it_plays_as_it_is_read(folder: Path) -> None:
    done = run_pytest(folder / "closing" / f"{NAME}.py", "-q", "-n", "0")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_it_is_about_60_lines() -> None:
    assert len(SCENARIO.split('"""', 2)[2].splitlines()) <= 66


def test_it_obeys_the_rules_for_scenarios(folder: Path) -> None:
    checks = test_tidy.TestEveryScenario()
    names = [name for name in dir(checks) if name.startswith("test_")]
    assert len(names) >= 5
    for name in names:
        getattr(checks, name)(folder / "closing" / f"{NAME}.py")


@pytest.mark.parametrize("language", lessons.LANGUAGES)
def test_its_lesson_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    monkeypatch.setattr(lessons, "FOLDER", folder)
    lesson = lessons.load(NAME, language)
    assert [lesson.fault, lesson.control] == [test.name for test in test_tidy.stories_of(lesson.path)]
    assert len(lesson.texts.options) == 3
    assert len(lesson.texts.symptom) <= 110


def test_its_mutants_fail_an_expectation(tmp_path: Path) -> None:
    assert {mutant.test for mutant in mutants()} == set(re.findall(r"def (test_\w+)", SCENARIO))
    stories = []
    for number, mutant in enumerate(mutants()):
        assert SCENARIO.count(mutant.old) == 1
        assert not steps_in(mutant.old) - steps_in(mutant.new)
        path = tmp_path / f"mutant_{number}.py"
        path.write_text(SCENARIO.replace(mutant.old, mutant.new))
        stories.append(f"{path}::{mutant.test}")
    verdicts = played(stories)
    assert {name: by_an_expectation(verdict) for name, verdict in verdicts.items()} == {
        f"mutant_{number}": True for number in range(len(stories))
    }, verdicts
