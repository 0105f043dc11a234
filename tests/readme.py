"""The parts of the READMEs and docs/ that show real runs and lessons: `make readme` writes them, a test compares them.

Each part is between two markers, `<!-- NAME -->` and `<!-- /NAME -->`. Times, ports and sequence numbers differ from
run to run, only root sees state changes reported by the kernel, and looks depend on when they are taken. So runs are
compared without these, and a part is written again only if the rest of it has changed.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.lessons import lessons
from harness.lessons.docstrings import rows_of
from harness.lessons.lessons import mark
from harness.lessons.translations import advice_of
from harness.output import files
from tests.playing import ROOT, clean_environment, pytest_command

READMES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh-CN.md"}
DOCS = ROOT / "docs"
PLACES = {
    "symptoms": READMES,
    "failure": READMES,
    "scenarios": {"en": DOCS / "scenarios.md", "zh": DOCS / "scenarios.zh-CN.md"},
    "advice": {"en": DOCS / "advice.md", "zh": DOCS / "advice.zh-CN.md"},
    "whatif": {"en": DOCS / "what-if.md"},
}
"""The file of each part, in each language that has it."""

STORY = ROOT / "scenarios" / "closing" / "close_with_unread_data.py"
FAULT = "test_unread_data_turns_close_into_a_reset"
RIGHT, WRONG = '== ["server RA"]', '== ["server FA", "client A"]'
TUNING = "net.ipv4.tcp_keepalive_time = 600\nnet.ipv4.tcp_retries2 = 2\n"
HEADS = {"en": "| scenario | symptom | cause | cure |", "zh": "| 场景 | 症状 | 原因 | 解决办法 |"}
ADVICE_HEADS = {"en": "| advice | what the kernel does | test |", "zh": "| 说法 | 实际 | 出处 |"}
TELLS_PYTEST_OF_CI = ("CI", "BUILD_NUMBER")
"""Variables with which pytest would not shorten a difference."""
COLON = {"en": ": ", "zh": "："}


def failure() -> str:
    """pytest's output for a story that wrongly expects FIN."""
    source = STORY.read_text()
    assert RIGHT in source.partition(f"def {FAULT}")[2]
    with tempfile.TemporaryDirectory() as folder:
        story = Path(folder, STORY.name)
        before, name, after = source.partition(f"def {FAULT}")
        story.write_text(before + name + after.replace(RIGHT, WRONG, 1))
        printed = _run(*pytest_command(story, "-q", "--tb=short", "-k", FAULT)[1:])
    lines = printed.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("E  "))
    begin = next(number for number, line in enumerate(lines) if "lab: what happened" in line)
    end = next(number for number, line in enumerate(lines) if number > begin and line.startswith("==="))
    shown = [*(line for line in lines[first:begin] if line.startswith("E  ")), *lines[begin + 1 : end]]
    return _indented(shown)


def whatif() -> str:
    """The report of a what-if of two lines, without the line that names this kernel."""
    printed = _run("-m", "harness", "whatif", "--before", "reference", "--plays", "1", "-", stdin=TUNING)
    _, shown = printed.split("net.ipv4.", 1)
    return _indented(f"  net.ipv4.{shown}".splitlines())


def _run(*arguments: str, stdin: str = "") -> str:
    environment = {name: value for name, value in clean_environment().items() if name not in TELLS_PYTEST_OF_CI}
    environment |= {"COLUMNS": "80"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, input=stdin, cwd=ROOT, capture_output=True, text=True, env=environment).stdout


def _indented(lines: list[str]) -> str:
    return "\n".join(f"    {line}".rstrip() for line in lines).rstrip()


def themes() -> dict[str, dict[str, str]]:
    """The heading of each theme in each language that has one, by its folder, in the order of the index."""
    return tomllib.loads((lessons.FOLDER / "THEMES.toml").read_text())


def symptoms(language: str) -> str:
    """The index: a heading for each theme, and a line for each symptom."""
    told = list(lessons.every(language))
    parts = []
    for theme, heading in themes().items():
        lines = [
            f"- {lesson.texts.symptom}{COLON[language]}[{lesson.name}]({lesson.path.relative_to(ROOT)})"
            for lesson in told
            if lesson.path.parent.name == theme
        ]
        parts.append("\n".join([f"**{heading.get(language) or mark(heading['en'])}**", "", *lines]))
    return "\n\n".join(parts)


def scenarios(language: str) -> str:
    """The table, in the order of the articles' rows."""
    told = sorted(lessons.every(language), key=lambda lesson: (rows_of(lesson), lesson.name))
    lines = [HEADS[language], "|---|---|---|---|"]
    for lesson in told:
        texts = lesson.texts
        link = f"[{lesson.name}](../{lesson.path.relative_to(ROOT)})"
        lines.append(f"| {link} | {texts.symptom} | {texts.cause} | {texts.cure} |")
    return "\n".join(lines)


def advice(language: str) -> str:
    """The table of advice and verdicts, from the scenarios that have some."""
    lines = [ADVICE_HEADS[language], "|---|---|---|"]
    for lesson in lessons.every(language):
        for test, (said, shown) in advice_of(lesson.name, language).items():
            lines.append(f"| {said} | {shown} | [{test}](../{lesson.path.relative_to(ROOT)}) |")
    return "\n".join(lines)


PLAYED: dict[str, Callable[[], str]] = {"failure": failure, "whatif": whatif}
TOLD: dict[str, Callable[[str], str]] = {"symptoms": symptoms, "scenarios": scenarios, "advice": advice}


def shown(part: str, language: str) -> str:
    """The text between the two markers of a part."""
    path = PLACES[part][language]
    match = re.search(rf"<!-- {part} -->\n+(.*?)\n*<!-- /{part} -->", path.read_text(), re.S)
    assert match, f"{path.name} has no part {part}"
    return match[1]


def normalised(part: str, text: str) -> list[str]:
    """A part without times, ports and timers; a failure also without state changes, looks and counters."""
    lines = [re.sub(r"^\s*[\d.]+( ms)?\s+|:\d+\b|, timer \w+ [\d.]+ s", "", line) for line in text.splitlines()]
    if part == "failure":
        lines = [line for line in lines if re.search(r"[◀▶]|^(?!counters)\w+: |^ *E ", line)]
    return [re.sub(r"[ ─]+", " ", line).strip() for line in lines]


def changed() -> Iterator[tuple[str, Path, str]]:
    """Each outdated part, its file, and the text that it should have."""
    for part, made in PLAYED.items():
        new = made()
        for language, path in PLACES[part].items():
            if normalised(part, shown(part, language)) != normalised(part, new):
                yield part, path, new
    for part, told in TOLD.items():
        for language, path in PLACES[part].items():
            if shown(part, language) != (new := told(language)):
                yield part, path, new


def write() -> None:
    """Write each part that has changed."""
    for part, path, new in changed():
        pattern = rf"(<!-- {part} -->\n).*?(<!-- /{part} -->)"
        text = path.read_text()
        files.write(path, re.sub(pattern, lambda match, new=new: f"{match[1]}\n{new}\n\n{match[2]}", text, flags=re.S))
        print(f"{path.relative_to(ROOT)}: {part}")


if __name__ == "__main__":
    write()
