"""The commands work from any folder: they find the scenarios, and read and write files in the current folder."""

import json
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from tests.playing import ROOT, clean_environment

CALLS = {
    "the checkout's folder": [str(ROOT / "harness")],
    "PYTHONPATH": ["-m", "harness"],
    "the installed command": ["-c", "import sys; from harness.cli.main import program; sys.exit(program())"],
}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder with the user's files, including modules and settings of other programs."""
    (tmp_path / "profile.py").write_text("raise SystemExit('the wrong module')\n")
    (tmp_path / "conftest.py").write_text("raise SystemExit('the wrong conftest')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "99.conf").write_text("net.ipv4.tcp_mtu_probing = 1\n")
    (tmp_path / "bad.conf").write_text("net.ipv4.tcp_sack = 0\nnonsense\n")
    return tmp_path


def run(folder: Path, call: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """With -P; otherwise modules of the user's folder would come first. For a script, Python adds only its folder."""
    is_script = call == CALLS["the checkout's folder"]
    environment = clean_environment() | {"PYTHONPATH": "" if is_script else str(ROOT)}
    return subprocess.run([sys.executable, *([] if is_script else ["-P"]), *call, *arguments], cwd=folder,
                          capture_output=True, text=True, env=environment)  # fmt: skip


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_it_finds_the_scenarios_and_reads_the_users_directory(elsewhere: Path, call: list[str]) -> None:
    assert "close_with_unread_data" in run(elsewhere, call, "list").stdout
    explained = run(elsewhere, call, "explain", "--before", "kernel", "99.conf")
    assert (explained.returncode, explained.stdout[:10]) == (0, "99.conf:1 "), explained.stderr


def test_stories_play_and_files_are_written_in_another_folder(elsewhere: Path) -> None:
    [call] = [CALLS["the checkout's folder"]]
    done = run(elsewhere, call, "lesson", "close_with_unread_data", "--html", "lesson.html")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "</html>" in (elsewhere / "lesson.html").read_text()
    (elsewhere / "99.conf").write_text("net.ipv4.tcp_keepalive_time = 600\n")
    asked = ["--before", "reference", "--plays", "1", "--json", "out.json", "99.conf"]
    done = run(elsewhere, call, "whatif", *asked)
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads((elsewhere / "out.json").read_text())
    assert {each["story"].partition("::")[0] for each in found["observables"]} == {"scenarios/waits_as_configured.py"}
    assert sorted(path.name for path in elsewhere.iterdir()) == [
        "99.conf", "bad.conf", "conftest.py", "lesson.html", "out.json", "profile.py", "pytest.ini",
    ]  # fmt: skip


def test_pip_installs_an_existing_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    module, _, name = project["project"]["scripts"]["tcp-fault-lab"].partition(":")
    assert callable(getattr(import_module(module), name))
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == ["harness*"]


def test_without_scenarios_one_line_explains_how_to_install(monkeypatch, capsys, tmp_path) -> None:
    from harness.cli.main import main

    monkeypatch.setattr("harness.lessons.lessons.FOLDER", tmp_path / "scenarios" / "lessons")
    assert main(["list"]) == 2
    assert "Hint: install from a checkout, with pip install -e ." in capsys.readouterr().err


class TestARefusalAsJson:
    """With `--json`, the standard output is JSON even if nothing was used."""

    @pytest.mark.parametrize("arguments", [["whatif", "--json", "-"], ["explain", "--json"]], ids=lambda each: each[0])
    def test_places_that_cannot_be_read(self, elsewhere: Path, arguments: list[str]) -> None:
        done = run(elsewhere, CALLS["the checkout's folder"], *arguments, "bad.conf")
        assert done.returncode == 2
        told = json.loads(done.stdout)
        assert (told["version"], told["status"]) == (1, 2)
        assert told["left_out"] == [{"file": "bad.conf", "line": 2, "column": 1, "text": "no '=' in 'nonsense'"}]
        assert told["error"] == done.stderr.rstrip("\n")

    def test_what_cannot_be_done_has_no_place(self, elsewhere: Path) -> None:
        asked = ["whatif", "--json", "-", "--plays", "0", "99.conf"]
        done = run(elsewhere, CALLS["the checkout's folder"], *asked)
        assert done.returncode == 2
        told = json.loads(done.stdout)
        assert (told["status"], told["left_out"]) == (2, [])
        assert "--plays" in told["error"]

    def test_without_it_nothing_is_printed(self, elsewhere: Path) -> None:
        done = run(elsewhere, CALLS["the checkout's folder"], "whatif", "--json", "kept.json", "bad.conf")
        assert (done.returncode, done.stdout) == (2, "")
        assert not (elsewhere / "kept.json").exists()
