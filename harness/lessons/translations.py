"""The translated advice of the lessons, and the texts that are not translated yet."""

import tomllib

from harness.lessons import docstrings
from harness.lessons.lessons import TEXTS, Lesson, has_text, load, mark


def advice_of(name: str, language: str) -> dict[str, tuple[str, str]]:
    """The advice that a scenario tests, by test: the advice, and what was shown.

    English is in the tests' docstrings, a translation in [LANGUAGE.advice] of the lesson. Missing translations are
    replaced by the English advice, marked.
    """
    lesson = load(name)
    english, translated = _english_advice(lesson), _tables(lesson).get(language, {}).get("advice", {})
    if language == "en":
        return english
    return {test: _advice(translated.get(test), words) for test, words in english.items()}


def _advice(translated: list[str] | None, english: tuple[str, str]) -> tuple[str, str]:
    said, shown = translated or map(mark, english)
    return said, shown


def missing(name: str, language: str) -> list[str]:
    """The texts that are missing in a language, as keys of the lesson's table: "cure", "advice.TEST".

    LabError as from load().
    """
    lesson = load(name)
    tables = _tables(lesson)
    own = tables.get(language, {})
    texts = [each for each in TEXTS if not has_text(own, tables["en"], each)]
    return texts + [f"advice.{test}" for test in _english_advice(lesson) if test not in own.get("advice", {})]


def _tables(lesson: Lesson) -> dict[str, dict[str, dict[str, list[str]]]]:
    return tomllib.loads(lesson.path.with_suffix(".toml").read_text("utf-8"))


def _english_advice(lesson: Lesson) -> dict[str, tuple[str, str]]:
    found = ((test, docstrings.advice(text)) for test, text in docstrings.of_tests(lesson).items())
    return {test: advice for test, advice in found if advice}
