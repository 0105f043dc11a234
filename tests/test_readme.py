"""The README is true: its commands run, its scenarios are there, its transcript is what really prints."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests import readme
from tests.playing import ROOT, clean_environment

README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()]


def test_every_scenario_is_in_the_table() -> None:
    rows = set(re.findall(r"^\| \[(\w+)\]\(scenarios/\1\.py\)", README, re.M))
    assert rows == {path.stem for path in (ROOT / "scenarios").glob("*.py")}


def test_every_file_named_exists() -> None:
    for name in re.findall(r"\]\(([\w./]+)\)", README):
        assert (ROOT / name).exists(), name


def test_every_make_target_named_exists() -> None:
    for target in sorted(set(re.findall(r"`make (?:\w+=\S+ )*(\w+)", README))):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_every_option_named_exists() -> None:
    help_text = subprocess.run(
        [".venv/bin/pytest", "--help"], cwd=ROOT, capture_output=True, text=True, env=clean_environment()
    ).stdout
    for option in sorted(set(re.findall(r"--lab-[\w-]+", README))):
        assert option in help_text


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in ("make scenarios", "make test")])
def test_command_runs(command: str) -> None:
    done = subprocess.run(
        shlex.split(command), cwd=ROOT, capture_output=True, text=True, env=clean_environment() | {"LAB_APT": "no"}
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_two_commands_are_what_ci_runs() -> None:
    """They play everything, this test included, so it is CI that runs them; here, that it does."""
    ci = (ROOT / ".ci" / "run").read_text()
    assert COMMANDS[:2] == ["make scenarios", "make test"]
    assert all(command in ci for command in COMMANDS[:2])


@pytest.mark.parametrize("section", readme.SECTIONS)
def test_what_is_shown_is_what_runs(section: str) -> None:
    shown, made = readme.shown(section), readme.SECTIONS[section]()
    assert readme.normalised(section, shown) == readme.normalised(section, made), "make readme writes it"
    assert len(readme.normalised(section, shown)) > 10


def test_files_of_the_map_exist() -> None:
    for name in re.findall(r"^    ((?:harness|scenarios|tests)/[\w./]*)", README, re.M):
        assert (ROOT / Path(name)).exists(), name
