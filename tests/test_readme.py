"""The READMEs and docs/ are correct: commands run, links and names exist, and shown output is real."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

from harness.lessons import lessons
from harness.lessons.translations import missing
from tests import readme, screenshot
from tests.playing import ROOT, clean_environment
from tests.test_lessons import OURS

TEXTS = {language: path.read_text() for language, path in readme.READMES.items()}
README = TEXTS["en"]
PAGES = [*readme.READMES.values(), *sorted(readme.DOCS.rglob("*.md"))]

LINK = r"\]\(([^)\s#]+)(?:#[^)]*)?\)"
TARGET = r"`make (?:\w+=\S+ )*(\w+)"
OPTION = r"--lab-[\w-]+"
GENERATED = r"<!-- (\S+) -->.*?<!-- /\1 -->"
NEEDS_MORE = ("docker ",)
"""Beginnings of commands that need what CI does not have."""

VERDICTS = {"false": "错", "half true": "对了一半", "true": "对"}
"""The verdicts on pieces of advice, in each language."""


def commands(text: str) -> list[str]:
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]


COMMANDS = {
    str(page.relative_to(ROOT)): [
        command
        for command in commands(page.read_text())
        if command not in ("make scenarios", "make test") and not command.startswith(NEEDS_MORE)
    ]
    for page in PAGES
    if not page.name.endswith("zh-CN.md")  # which shows the same ones, as another test says
}
"""The commands of each page."""


def test_every_scenario_is_in_the_index_once() -> None:
    found = re.findall(r"\[(\w+)\]\(scenarios/\w+/\1\.py\)", README)
    names = sorted(path.stem for path in (ROOT / "scenarios").glob("*/*.py"))
    assert sorted(found) == names, "Hint: make readme"


def test_every_theme_has_a_heading_in_each_language() -> None:
    themes = readme.themes()
    assert set(themes) == {path.parent.name for path in (ROOT / "scenarios").glob("*/*.py")}
    assert [theme for theme, heading in themes.items() if not heading.get("en")] == []
    from_the_articles = {lessons.load(name).path.parent.name for name in OURS}
    assert {theme: set(themes[theme]) for theme in from_the_articles} == {
        theme: set(lessons.LANGUAGES) for theme in from_the_articles
    }


def test_an_untranslated_heading_is_in_english_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "themes", lambda: {"closing": {"en": "Closing"}})
    assert readme.symptoms("zh").startswith("**[未翻译] Closing**\n")
    assert readme.symptoms("en").startswith("**Closing**\n")


def test_a_symptom_is_one_short_line() -> None:
    long = {
        lesson.name: lesson.texts.symptom
        for language in lessons.LANGUAGES
        for lesson in lessons.every(language)
        if len(lesson.texts.symptom) > 110 or "\n" in lesson.texts.symptom
    }
    assert long == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_named_exists(page: Path) -> None:
    text = page.read_text()
    for name in re.findall(LINK, text):
        assert name.startswith("https://") or (page.parent / name).exists(), name
    for name in re.findall(r"(?<![\w/])(?:harness|scenarios|tests)/[\w./]*\w", text):
        assert (ROOT / name).exists() or re.search("NAME|THEME", name), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_named_exists(page: Path) -> None:
    for target in sorted(set(re.findall(TARGET, page.read_text()))):
        done = subprocess.run(["make", "-n", target, "S="], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_every_option_named_exists_and_every_option_is_named() -> None:
    help_text = subprocess.run(
        [".venv/bin/pytest", "--help"], cwd=ROOT, capture_output=True, text=True, env=clean_environment()
    ).stdout
    exist = set(re.findall(OPTION, help_text)) - {"--lab-turns"}  # what-if's own, between its processes
    named = {option for page in PAGES for option in re.findall(OPTION, page.read_text())}
    assert named == exist
    assert set(re.findall(OPTION, (readme.DOCS / "options.md").read_text())) == exist


@pytest.mark.parametrize("page", [page for page, shown in COMMANDS.items() if shown])
def test_commands_run_in_their_order(page: str) -> None:
    environment = clean_environment() | {"LAB_APT": "no"}
    for command in COMMANDS[page]:
        done = subprocess.run(shlex.split(command), cwd=ROOT, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_the_two_commands_are_what_ci_runs() -> None:
    """These commands play everything, including this test, so CI runs them; this checks that it does."""
    ci = (ROOT / ".ci" / "run").read_text()
    assert commands(README)[:2] == ["make scenarios", "make test"]
    assert all(command in ci for command in commands(README)[:2])


@pytest.mark.parametrize("part", readme.PLAYED)
def test_what_is_shown_is_what_runs(part: str) -> None:
    made = readme.normalised(part, readme.PLAYED[part]())
    assert len(made) > 10
    for language, path in readme.PLACES[part].items():
        shown = readme.normalised(part, readme.shown(part, language))
        assert shown == made, f"{path.name}: make readme writes it"


@pytest.mark.parametrize(("part", "language"), [(part, each) for part in readme.TOLD for each in readme.PLACES[part]])
def test_the_tables_match_the_lessons(part: str, language: str) -> None:
    assert readme.shown(part, language) == readme.TOLD[part](language), "make readme writes it"


def test_only_what_has_changed_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- told -->\n\nold\n\n<!-- /told -->\n<!-- failure -->\n\n1.5 ms  a: at a step\n\n<!-- /failure -->\n"
    )
    monkeypatch.setattr(readme, "PLACES", {"told": {"en": page}, "failure": {"en": page}})
    monkeypatch.setattr(readme, "PLAYED", {"failure": lambda: "2.5 ms  a: at a step"})
    monkeypatch.setattr(readme, "TOLD", {"told": lambda language: f"new, {language}"})
    assert [(part, new) for part, _, new in readme.changed()] == [("told", "new, en")]


@pytest.mark.parametrize("name", [lesson.name for lesson in lessons.every()])
def test_each_piece_of_advice_is_in_both_languages_in_one_order(name: str) -> None:
    english, chinese = (readme.advice_of(name, language) for language in TEXTS)
    assert list(chinese) == list(english)
    translated = {test: told for test, told in chinese.items() if f"advice.{test}" not in missing(name, "zh")}
    verdicts = {test: VERDICTS[english[test][1].partition(": ")[0]] for test in translated}
    assert {test: shown.partition("：")[0] for test, (_, shown) in translated.items()} == verdicts
    assert [said for said, _ in translated.values() if not re.search(r"[\u4e00-\u9fff]", said)] == []


def test_each_piece_of_advice_is_tested_once() -> None:
    told = [told for lesson in lessons.every() for told in readme.advice_of(lesson.name, "en").values()]
    assert len({said for said, _ in told}) == len(told) >= 10
    assert "|" not in str(told), "they are shown in a table"


def sections(language: str) -> list[str]:
    """The text before the first heading, and each section, without the parts that `make readme` writes."""
    text = re.sub(r"\A# .+\n\n\[.+\]\(README.*\.md\)\n", "", TEXTS[language])
    return re.split(r"^## ", re.sub(GENERATED, "", text, flags=re.S), flags=re.M)


SAME = {
    "commands": r"^```sh\n(.*?)```",
    "targets": TARGET,
    "options": OPTION,
    "links": LINK,
    "names": r"[A-Za-z0-9]+_[A-Za-z0-9_]+",
}
"""The commands, options and names that both READMEs must have, section by section."""


@pytest.mark.parametrize("what", SAME)
def test_both_readmes_name_the_same(what: str) -> None:
    def found(section: str) -> set[str]:
        named = {" ".join(each.split()) for each in re.findall(SAME[what], section, re.S | re.M)}
        return {each for each in named if not each.endswith("zh-CN.md")}  # each links to more in its own language

    english, chinese = ([found(section) for section in sections(language)] for language in TEXTS)
    assert any(english)
    assert chinese == english


def test_each_links_to_the_other() -> None:
    first = {language: text.splitlines()[2] for language, text in TEXTS.items()}
    assert first == {"en": "[中文](README.zh-CN.md)", "zh": "[English](README.md)"}


def test_the_chinese_readme_is_in_chinese() -> None:
    """Each heading, paragraph, list item and table row of a text."""
    code = r"^```.*?^```|^    .*?$"
    texts = [re.sub(code, "", section, flags=re.S | re.M) for section in sections("zh")]
    lines = [line for text in texts for line in text.splitlines() if line and not line.startswith("|---")]
    assert len(lines) > 50
    assert [line for line in lines if not re.search(r"[\u4e00-\u9fff]", line)] == []


def test_the_licence_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
    assert (project["license"], project["license-files"]) == ("MIT", ["LICENSE"])
    assert all("[LICENSE](LICENSE)" in text and "MIT" in text for text in TEXTS.values())


def test_the_screenshot_is_up_to_date() -> None:
    assert screenshot.NOTE.read_text() == screenshot.drawn_from(), "make screenshot"
    head = screenshot.PICTURE.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(head[16:20]) == 1400
    assert screenshot.PICTURE.stat().st_size < 400_000
