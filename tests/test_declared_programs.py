"""A scenario declares the programs that it starts through find_program(): if one is missing, the story is skipped."""

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

from tests.playing import ROOT, clean_environment, pytest_command

STARTS_SOMETHING = re.compile(r"subprocess|run_program|posix_spawn|os\.(exec|spawn|system|popen)|\bpty\b")
STARTERS = [
    path
    for path in sorted((ROOT / "scenarios").glob("*/*.py"), key=lambda path: path.stem)
    if STARTS_SOMETHING.search(path.read_text())
]


def verdicts_without_programs(folder: Path, *paths: Path) -> dict[str, str]:
    """By story: why it did not pass on a machine without any program on its PATH; "" if it passed."""
    environment = clean_environment() | {"PATH": str(folder)}
    result = folder / "result.xml"
    command = [*pytest_command(paths[0], *map(str, paths[1:])), "-n", "2", "--lab-slow", f"--junitxml={result}", "-o",
               "junit_family=xunit1"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert result.exists(), done.stdout + done.stderr
    return {
        case.get("name", ""): " ".join(each.get("message") or "" for each in case if each.tag != "properties")
        for case in ElementTree.parse(result).iter("testcase")
    }


def test_a_scenario_without_its_programs_is_skipped_not_failed(tmp_path: Path) -> None:
    found = verdicts_without_programs(tmp_path, *STARTERS)
    missing = {story: why for story, why in found.items() if why}
    assert len(missing) >= 5, "programs were missing"
    assert [why for why in missing.values() if not re.search(r"the program \S+ is not installed\. Hint: ", why)] == []


def test_an_undeclared_program_is_found_out(tmp_path: Path) -> None:
    story = tmp_path / "story.py"
    story.write_text(
        'import subprocess\n\ndef role():\n    yield "ready"\n    subprocess.run(["true"])\n\n'
        "def test_it(lab):\n    lab.start(role).finish()\n"
    )
    assert "ENOENT" in verdicts_without_programs(tmp_path, story)["test_it"]
