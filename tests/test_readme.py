"""The README is true: its commands run, its scenarios are there, what it shows is what runs. The Chinese one agrees."""

import re
import shlex
import subprocess

import pytest

from harness.lessons import lessons
from tests import readme, screenshot
from tests.playing import ROOT, clean_environment

TEXTS = {language: path.read_text() for language, path in readme.READMES.items()}
README = TEXTS["en"]
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines()]

GENERATED = r"<!-- (\w+) -->.*?<!-- /\1 -->"
LINK_TO_THE_OTHER = r"\A# tcp-fault-lab\n\n\[.+\]\(README.*\.md\)\n"
SAME = {
    "commands": r"^```sh\n(.*?)```",
    "targets": r"`make (?:\w+=\S+ )*(\w+)",
    "options": r"--lab-[\w-]+",
    "code": r"(?<!`)`([^`]+)`(?!`)",
    "links": r"\]\(([\w./-]+)\)",
    "files": r"(?:harness|scenarios|tests)/[\w./]*",
    "names": r"[A-Za-z0-9]+_[A-Za-z0-9_]+",
    "numbers": r"\d+(?:[.,]\d+)*",
}
"""What both say, section by section."""

VERDICTS = {"false": "错", "half true": "对一半", "true": "对"}
"""How a piece of advice is judged, in each language."""


def sections(language: str) -> list[str]:
    """The text before the first heading, and each section with its heading; without what `make readme` writes."""
    text = re.sub(LINK_TO_THE_OTHER, "", TEXTS[language])
    return re.split(r"^## ", re.sub(GENERATED, "", text, flags=re.S), flags=re.M)


def test_every_scenario_is_in_the_table() -> None:
    rows = set(re.findall(r"^\| \[(\w+)\]\(scenarios/\w+/\1\.py\)", README, re.M))
    assert rows == {path.stem for path in (ROOT / "scenarios").glob("*/*.py")}


def test_every_file_named_exists() -> None:
    for name in re.findall(SAME["links"], README):
        assert (ROOT / name).exists(), name


def test_every_make_target_named_exists() -> None:
    for target in sorted(set(re.findall(SAME["targets"], README))):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_every_option_named_exists() -> None:
    help_text = subprocess.run(
        [".venv/bin/pytest", "--help"], cwd=ROOT, capture_output=True, text=True, env=clean_environment()
    ).stdout
    for option in sorted(set(re.findall(SAME["options"], README))):
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


@pytest.mark.parametrize("section", readme.PLAYED)
def test_what_is_shown_is_what_runs(section: str) -> None:
    made = readme.normalised(section, readme.PLAYED[section]())
    assert len(made) > 10
    for language in TEXTS:
        shown = readme.normalised(section, readme.shown(section, language))
        assert shown == made, f"{language}: make readme writes it"


@pytest.mark.parametrize("section", readme.TOLD)
@pytest.mark.parametrize("language", TEXTS)
def test_the_tables_are_what_the_lessons_say(language: str, section: str) -> None:
    assert readme.shown(section, language) == readme.TOLD[section](language), "make readme writes it"


@pytest.mark.parametrize("name", [lesson.name for lesson in lessons.every()])
def test_each_piece_of_advice_is_told_in_both_languages_and_in_the_same_order(name: str) -> None:
    english, chinese = (readme.advice(name, language) for language in TEXTS)
    assert list(chinese) == list(english)
    verdicts = {test: VERDICTS[shown.partition(": ")[0]] for test, (_, shown) in english.items()}
    assert {test: shown.partition("：")[0] for test, (_, shown) in chinese.items()} == verdicts
    assert [said for said, _ in chinese.values() if not re.search(r"[\u4e00-\u9fff]", said)] == []


def test_there_are_ten_pieces_of_advice() -> None:
    told = [told for lesson in lessons.every() for told in readme.advice(lesson.name, "en").values()]
    assert len({said for said, _ in told}) == len(told) == 10
    assert "|" not in str(told), "they stand in a table"


def test_both_show_the_same_run() -> None:
    assert [readme.shown(section, "zh") for section in readme.PLAYED] == [
        readme.shown(section, "en") for section in readme.PLAYED
    ]


@pytest.mark.parametrize("what", SAME)
def test_both_name_the_same(what: str) -> None:
    """Section by section, and so they have the same sections, in the same order."""
    english, chinese = (
        [
            {" ".join(found.split()) for found in re.findall(SAME[what], section, re.S | re.M)}
            for section in sections(each)
        ]
        for each in TEXTS
    )
    assert any(english)
    assert chinese == english


def test_each_links_to_the_other() -> None:
    first = {language: text.splitlines()[2] for language, text in TEXTS.items()}
    assert first == {"en": "[中文](README.zh-CN.md)", "zh": "[English](README.md)"}


def test_the_chinese_one_is_chinese() -> None:
    """Each heading, paragraph, list item and table row of it."""
    code = r"^```.*?^```|^    .*?$"
    texts = [re.sub(code, "", section, flags=re.S | re.M) for section in sections("zh")]
    lines = [line for text in texts for line in text.splitlines() if line and not line.startswith("|---")]
    assert len(lines) > 50
    assert [line for line in lines if not re.search(r"[\u4e00-\u9fff]", line)] == []


def test_the_screenshot_is_of_what_is_drawn_today() -> None:
    assert screenshot.NOTE.read_text() == screenshot.drawn_from(), "make screenshot"
    head = screenshot.PICTURE.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(head[16:20]) == 1400
    assert screenshot.PICTURE.stat().st_size < 400_000
