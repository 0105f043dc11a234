"""What the READMEs show of real runs: `make readme` writes it, a test compares it. Both show the same runs.

Times, ports and sequence numbers differ from run to run, and only root sees state changes reported by the kernel; what
a look shows depends on when it comes. So both sides are compared without these.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable

from harness.lessons import docstrings, lessons
from harness.lessons.docstrings import rows_of
from harness.output import files
from tests.playing import ROOT, clean_environment

READMES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh-CN.md"}
FILE = "scenarios/closing/close_with_unread_data.py"
FAULT = "test_unread_data_turns_close_into_a_reset"
FOLKLORE_HEADS = {"en": "| said | shown | where |", "zh": "| 说法 | 实际 | 出处 |"}
TUNING = "net.ipv4.tcp_keepalive_time = 600\nnet.ipv4.tcp_retries2 = 2\n"
HEADS = {"en": "| scenario | symptom | cause | cure |", "zh": "| 场景 | 症状 | 原因 | 解法 |"}


def transcript() -> str:
    """Play the story and cut the transcript out of what pytest prints."""
    return _cut(_pytest("-rP", f"{FILE}::{FAULT}"), "lab: what happened", "===")


def ladder() -> str:
    """The same story as `make lesson` draws it, at 80 columns."""
    return _cut(_pytest("--lab-show", "-q", f"{FILE}::{FAULT}"), FAULT, "Why")


def scenarios(language: str) -> str:
    """The table, from the lessons' own texts, in the order of the articles' rows."""
    told = sorted(lessons.every(language), key=lambda lesson: (rows_of(lesson), lesson.name))
    lines = [HEADS[language], "|---|---|---|---|"]
    for lesson in told:
        texts = lesson.texts
        link = f"[{lesson.name}]({lesson.path.relative_to(ROOT)})"
        lines.append(f"| {link} | {texts.symptom} | {texts.cause} | {texts.cure} |")
    return "\n".join(lines)


def advice(name: str, language: str) -> dict[str, tuple[str, str]]:
    """What a scenario's tests give as said and as shown, by test: its docstrings in English, its lesson in Chinese."""
    if language == "zh":
        translated = tomllib.loads((lessons.load(name).path.with_suffix(".toml")).read_text())["zh"].get("advice", {})
        return {test: (said, shown) for test, (said, shown) in translated.items()}
    source = ast.parse(lessons.load(name).source())
    tests = (node for node in source.body if isinstance(node, ast.FunctionDef))
    told = ((test.name, docstrings.advice(ast.get_docstring(test) or "")) for test in tests)
    return {test: found for test, found in told if found}


def folklore(language: str) -> str:
    """The table of advice and verdicts, from the scenarios that have some."""
    lines = [FOLKLORE_HEADS[language], "|---|---|---|"]
    for lesson in lessons.every(language):
        for test, (said, shown) in advice(lesson.name, language).items():
            lines.append(f"| {said} | {shown} | [{test}]({lesson.path.relative_to(ROOT)}) |")
    return "\n".join(lines)


def whatif() -> str:
    """What two lines would change, without the line that names this kernel."""
    command = [sys.executable, "-m", "harness", "whatif", "--before", "reference", "--plays", "1", "-"]
    environment = clean_environment() | {"COLUMNS": "80"}
    done = subprocess.run(command, input=TUNING, cwd=ROOT, capture_output=True, text=True, env=environment)
    _, told = done.stdout.split("net.ipv4.", 1)
    return "\n".join(f"    {line}".rstrip() for line in f"  net.ipv4.{told}".splitlines()).rstrip()


PLAYED: dict[str, Callable[[], str]] = {"transcript": transcript, "ladder": ladder, "whatif": whatif}
TOLD: dict[str, Callable[[str], str]] = {"scenarios": scenarios, "folklore": folklore}


def shown(section: str, language: str) -> str:
    """What stands in a README between a section's two markers."""
    path = READMES[language]
    match = re.search(rf"<!-- {section} -->\n\n(.*?)\n\n<!-- /{section} -->", path.read_text(), re.S)
    assert match, f"{path.name} has no section {section}"
    return match[1]


def normalised(section: str, text: str) -> list[str]:
    """Without times, ports, timers; a transcript without state changes, a ladder without looks and counters."""
    lines = [re.sub(r"^\s*[\d.]+( ms)?\s+|:\d+\b|, timer \w+ [\d.]+ s", "", line) for line in text.splitlines()]
    if section == "transcript":
        lines = [line for line in lines if "→" not in line]
    if section == "ladder":
        lines = [line for line in lines if re.search("[◀▶»]", line)]
    return [re.sub(r"[ ─]+", " ", line).strip() for line in lines]


def _pytest(*arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", *arguments]
    environment = clean_environment() | {"COLUMNS": "80"}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment).stdout


def _cut(text: str, after: str, before: str) -> str:
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if after in line) + 1
    end = next(number for number, line in enumerate(lines) if number > start and line.startswith(before))
    return "\n".join(f"    {line}".rstrip() for line in lines[start:end]).rstrip()


def write() -> None:
    """Write every section of each README anew."""
    played = {section: made() for section, made in PLAYED.items()}
    for language, path in READMES.items():
        text = path.read_text()
        for section, new in {**played, **{section: made(language) for section, made in TOLD.items()}}.items():
            pattern = rf"(<!-- {section} -->\n).*?(<!-- /{section} -->)"
            text = re.sub(pattern, lambda match, new=new: f"{match[1]}\n{new}\n\n{match[2]}", text, flags=re.S)
        files.write(path, text)


if __name__ == "__main__":
    write()
