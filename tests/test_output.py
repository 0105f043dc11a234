"""Output that cannot be written, an encoding without the ladder's characters, and Python without asserts."""

import io
import json
import os
import re
import subprocess
import sys
import tomllib
import unicodedata
from pathlib import Path

import pytest

from harness.lessons import lessons
from harness.output import terminal
from harness.runs.compare import ENDING, Row, Verdict
from harness.runs.record import Run
from harness.views import comparison
from tests.playing import ROOT, WarmPython, clean_environment, pytest_command, scenario_file

FULL = "the standard output cannot be written: No space left on device. Hint: redirect it to another file\n"
CLOSED = "the standard output is closed. Hint: redirect it to a file, or to /dev/null\n"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAME = "close_with_unread_data"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "a.conf").write_text("net.ipv4.tcp_probe_interval = 7\n")
    (folder / "a.json").write_text(
        '{"version": 2, "kernel": "6.18", "profile": "kernel", "settings": {}, "plays": [{"story": "a.py::test_b",'
        ' "verdict": "passed", "reason": "", "pinned": [], "findings": [], "course": []}]}'
    )
    return {"conf": str(folder / "a.conf"), "record": str(folder / "a.json")}


COMMANDS = {
    "help": ["--help"],
    "help of one": ["whatif", "--help"],
    "list": ["list"],
    "lesson": ["lesson", NAME],
    "quiz": ["quiz", NAME],
    "step": ["step", NAME],
    "explain": ["explain", "--before", "kernel", "{conf}"],
    "explain as JSON": ["explain", "--json", "--before", "kernel", "{conf}"],
    "whatif": ["whatif", "--before", "reference", "--plays", "1", "{conf}"],  # of a key that no scenario covers
    "compare": ["compare", "{record}", "{record}"],
}


def harness(
    files: dict[str, str], name: str, shell: str, pass_fds: tuple[int, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one command, with its standard files redirected as by a shell."""
    command = " ".join(each.format(**files) for each in COMMANDS[name])
    is_usual = "&-" not in shell and not environment
    python = WarmPython.one().executable if is_usual else sys.executable
    return subprocess.run(
        ["bash", "-c", f"exec {python} -m harness {command} {shell}"], cwd=ROOT, pass_fds=pass_fds,
        capture_output=True, text=True, env=clean_environment() | environment,
    )  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_output_to_a_full_disk_is_a_line_and_a_status(files, name: str) -> None:
    done = harness(files, name, ">/dev/full </dev/null")
    assert (done.returncode, done.stderr) == (74, FULL)


@pytest.mark.parametrize("name", COMMANDS)
def test_output_that_is_closed_is_a_line_and_a_status(files, name: str) -> None:
    done = harness(files, name, ">&- </dev/null")
    assert (done.returncode, done.stderr) == (74, CLOSED)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_that_has_gone_is_not_an_error(files, name: str) -> None:
    read, written = os.pipe()
    os.close(read)
    done = harness(files, name, f">&{written} </dev/null", pass_fds=(written,))
    os.close(written)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("name", ["quiz", "step", "explain"])
def test_a_closed_standard_input_is_at_its_end(files, name: str) -> None:
    done = harness(files, name, "<&-")
    assert (done.returncode, done.stderr) == (6 if name == "quiz" else 0, "")


def test_a_closed_standard_input_is_an_error() -> None:
    done = harness({"conf": "-"}, "explain", "<&-")
    assert (done.returncode, done.stderr) == (2, "the standard input is closed. Hint: name a file\n")


def test_what_if_writes_its_files_despite_a_closed_pipe(files, tmp_path: Path) -> None:
    conf = f"--json {tmp_path}/out.json {files['conf']}"
    done = harness({"conf": conf}, "whatif", ">/dev/full")
    assert done.returncode == 74
    assert json.loads((tmp_path / "out.json").read_text())


def test_what_if_prints_its_report_despite_a_full_disk(files, tmp_path: Path) -> None:
    conf = f"--json /dev/full --markdown {tmp_path}/out.md {files['conf']}"
    done = harness({"conf": conf}, "whatif", "")
    assert (done.returncode, done.stderr) == (
        2, "/dev/full cannot be written: No space left on device. Hint: name another file\n"
    )  # fmt: skip
    assert "Each story 1 time." in done.stdout
    assert (tmp_path / "out.md").exists()


def test_without_temporary_files_it_prints_one_line(files) -> None:
    script = (
        "import os, tempfile\n"
        "def full(*_, **__): raise OSError(28, os.strerror(28))\n"
        "tempfile.mkdtemp = full\n"
        f"from harness.cli.main import main; print(main(['whatif', '--before', 'reference', {files['conf']!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "2\n"
    assert done.stderr == (
        "temporary files cannot be written: No space left on device. Hint: set TMPDIR to a folder with free space\n"
    )


STORY = """
import sys

def test_it(lab):
    pass
"""


@pytest.mark.parametrize("options", [(), ("-q",), ("-qq", "--lab-show"), ("-rP",), ("-n", "2", "--lab-show")])
def test_a_run_whose_output_disk_is_full_ends_with_a_line(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "story.py").write_text(STORY)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            pytest_command(tmp_path / "story.py", "-p", "no:cacheprovider", *options), stdout=full,
            stderr=subprocess.PIPE, text=True, env=clean_environment(),
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (74, f"Exit: {FULL}")


FAILS_LATER = """
import os, sys
import pytest

def {when}():
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, 1)
"""


@pytest.mark.parametrize("when", ["pytest_collection_finish", "pytest_sessionfinish", "pytest_terminal_summary"])
def test_a_disk_that_fills_up_ends_the_run_with_a_line(tmp_path: Path, when: str) -> None:
    (tmp_path / "story.py").write_text(STORY)
    (tmp_path / "later.py").write_text(FAILS_LATER.format(when=when))
    environment = clean_environment()
    environment["PYTHONPATH"] += f":{tmp_path}"
    done = subprocess.run(
        pytest_command(tmp_path / "story.py", "-p", "later", "-p", "no:cacheprovider", "--lab-show", "-s"), text=True,
        capture_output=True, env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (74, f"Exit: {FULL}"), done.stdout


def test_a_run_whose_reader_has_gone_is_silent(tmp_path: Path) -> None:
    (tmp_path / "story.py").write_text(STORY)
    read, written = os.pipe()
    os.close(read)
    done = subprocess.run(
        pytest_command(tmp_path / "story.py", "--lab-show", "-p", "no:cacheprovider"), stdout=written,
        stderr=subprocess.PIPE, text=True, env=clean_environment(),
    )  # fmt: skip
    os.close(written)
    assert (done.returncode, done.stderr) == (1, "")


def test_python_without_asserts_is_refused(files, tmp_path: Path) -> None:
    (tmp_path / "story.py").write_text(STORY)
    refused = "PYTHONOPTIMIZE (or python -O) removes asserts, and this program depends on them. Hint: unset it\n"
    done = harness(files, "list", "", PYTHONOPTIMIZE="1")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", refused)
    for options in ((), ("-n", "2")):
        done = subprocess.run(
            pytest_command(tmp_path / "story.py", *options), capture_output=True, text=True,
            env=clean_environment() | {"PYTHONOPTIMIZE": "1"},
        )  # fmt: skip
        assert (done.returncode, done.stderr.strip()) == (4, f"ERROR: {refused}".strip()), done.stdout


@pytest.mark.parametrize("environment", [ASCII, {"PYTHONIOENCODING": "ascii"}], ids=["locale", "encoding"])
@pytest.mark.parametrize("name", ["list", "lesson", "quiz", "step", "whatif", "compare", "explain"])
def test_an_ascii_terminal_gets_ascii_and_no_question_marks(files, name: str, environment: dict[str, str]) -> None:
    done = harness(files, name, "</dev/null", COLUMNS="80", **environment)
    assert done.stderr == ""
    assert done.stdout.isascii()
    told = re.sub(r"(\w|\)|\]) ?\?", "", done.stdout)  # a question's own
    assert "?" not in told
    if name == "lesson":
        assert re.search(r"^ +[\d.]+ CLOSED +<-+ RA -- CLOSED$", done.stdout, re.M)
        assert re.search(r"^ +[\d.]+ SYN_SENT +-- S -+>$", done.stdout, re.M)
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_transcript_and_a_picture_are_ascii_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(scenario_file(NAME)), "-kunread_data_turns", "-rP", "--lab-show", "-n1"],
        cwd=ROOT, capture_output=True, text=True, env=clean_environment() | ASCII,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert done.stdout.isascii()
    assert "\\u" not in done.stdout
    assert "client:40001 -- S --> server:" in done.stdout
    assert re.search(r"LISTEN -> SYN_RECV|CLOSED -> SYN_SENT", done.stdout)
    assert re.search(r"FIN_WAIT1 +-- FA -+> CLOSE_WAIT", done.stdout)


@pytest.mark.parametrize(
    "command",
    [["-m", "harness", "list", "--lang", "zh"], ["-m", "harness", "lesson", NAME, "--lang", "zh"],
     ["-m", "pytest", str(scenario_file(NAME)), "--lab-show", "--lab-lang", "zh"]],
    ids=["list", "lesson", "pytest"],
)  # fmt: skip
def test_chinese_is_refused_if_it_cannot_be_shown(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True,
                          env=clean_environment() | ASCII)  # fmt: skip
    assert done.returncode == (4 if "pytest" in command else 2)
    line = "the output's encoding, ascii, cannot show Chinese. Hint: set LC_ALL=C.UTF-8, or choose English"
    assert done.stderr.strip().removeprefix("ERROR: ") == line
    assert done.stdout == ""


def english() -> str:
    """Everything that a command may print in English: the lessons, the pictures' words, the program's strings."""
    parts = [path.read_text("utf-8") for path in (ROOT / "harness").rglob("*.py")]
    for path in lessons.FOLDER.glob("*.toml"):
        parts.append(str({key: value for key, value in tomllib.loads(path.read_text("utf-8")).items() if key != "zh"}))
    parts.append(str(json.loads((ROOT / "harness" / "views" / "page" / "words.json").read_text("utf-8"))["en"]))
    return "".join(parts)


ON_PAGES_ALONE = "✓✕╳"
"""harness/views/html.py and svg.py."""


def test_every_character_of_an_english_text_has_a_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {each for each in english() if unicodedata.east_asian_width(each) not in "WF"} - set(ON_PAGES_ALONE)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    told = {each: terminal.fitting(each) for each in shown - {"?"}}
    assert all(each.isascii() for each in told.values())
    assert [each for each, instead in told.items() if "?" in instead] == []


def test_replaced_characters_keep_the_columns_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row("a.py::test_b", ENDING, "4 → 5", "“x”", Verdict.CHANGED)
    text = comparison.format_text(Run("6", "a", {}, ()), Run("6", "b", {}, ()), [row], 100, color=False)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert "4 -> 5" in terminal.fitting(text)
    assert [line.find("CHANGED") for line in terminal.fitting(text).splitlines()] == [
        line.find("CHANGED") for line in text.splitlines()
    ]
    assert terminal.fitting("a → b") == "a -> b"
    assert terminal.fitting("a→b") == "a->b"
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="gbk"))
    assert terminal.fitting("── S ──▶  中 ©") == "── S ──>  中 ?"
