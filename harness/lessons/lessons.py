"""The texts of the lessons, in each language: NAME.toml beside each scenario's NAME.py."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from harness.errors import LabError

__tracebackhide__ = True

LANGUAGES = ("en", "zh")
"""English is complete in every lesson; a text missing in another language is replaced by the English one, marked."""

UNTRANSLATED = "[未翻译]"
FOLDER = Path(__file__).parent.parent.parent / "scenarios"
"""A folder for each theme, with NAME.py and its texts, NAME.toml."""


@dataclass(frozen=True, slots=True)
class Texts:
    """One lesson in one language; see scenarios/*/*.toml."""

    symptom: str
    cause: str
    cure: str
    claim: str
    why: str
    look: tuple[str, ...]
    """What to see, for each command of `Lesson.recognise`."""
    question: str
    options: tuple[str, ...]
    because: str


_MAY_BE_EMPTY = ("sysctls",)
TEXTS = tuple(field.name for field in fields(Texts))


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a scenario teaches, and the stories that show it."""

    name: str
    path: Path
    """The scenario's file."""

    fault: str
    control: str
    sysctls: tuple[str, ...]
    """The sysctls that govern it; there may be none."""
    recognise: tuple[str, ...]
    answer: int
    """The number of the right option, from 1."""
    texts: Texts
    table: str = ""
    """The name of a test without a lab that prints a table, shown below the stories; few lessons have one."""

    seen_at: str = ""
    """The step of the fault's story after which `recognise` shows the fault; empty: at the end of the story."""

    signature: str = ""
    """The signature that sees its fault (harness/diagnose/signatures/), if not the one of the same name."""

    @property
    def stories(self) -> tuple[str, ...]:
        """The tests to run: the fault, its control, and the table if there is one."""
        return tuple(filter(None, (self.fault, self.control, self.table)))

    def source(self) -> str:
        return self.path.read_text("utf-8")


def check_folder() -> None:
    """LabError if the scenarios are not in the folder beside this package, where a checkout has them."""
    if not FOLDER.is_dir():
        raise LabError(
            f"there are no scenarios in {FOLDER.parent}. Hint: install from a checkout, with pip install -e ."
        )


def _texts() -> dict[str, Path]:
    """The text files, by the scenario's name, in the order of names."""
    return {path.stem: path for path in sorted(FOLDER.glob("*/*.toml"), key=lambda path: path.name)}


def check_names() -> None:
    """LabError if two scenarios have the same name, which identifies them in records, mutants and commands."""
    names = Counter(path.stem for path in FOLDER.glob("*/*.py"))
    if twice := sorted(name for name, count in names.items() if count > 1):
        folders = " and ".join(sorted(f"{path.parent.name}/" for path in FOLDER.glob(f"*/{twice[0]}.py")))
        raise LabError(f"{folders} both have a scenario {twice[0]}. Hint: give one of them another name")


def story_name(nodeid: str) -> str:
    """A story's name in a record: pytest's name without the folder of the scenario's theme.

    So older records stay comparable if a scenario moves to another theme.
    """
    return re.sub(r"^scenarios/[^/:]+/(?=[^/:]+\.py::)", "scenarios/", nodeid)


def load(name: str, language: str = "en") -> Lesson:
    """The lesson of a scenario. LabError if there is none, or if its file is incomplete."""
    import tomllib  # takes 12 ms, which `explain` does not need

    texts_of = _texts()
    if name not in texts_of:
        raise _unknown(name, list(texts_of))
    path = texts_of[name]
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"{path.name} is not TOML: {error}. Hint: correct that line") from None
    english = found.get("en", {})
    words = _made(Texts, path, english, " in [en]")
    lesson: Lesson = _made(Lesson, path, found | {"name": name, "path": path.with_suffix(".py"), "texts": words})
    if (texts := len(words.look)) != (commands := len(lesson.recognise)):
        raise LabError(
            f"{path.name} has {texts} texts in look for {commands} commands in recognise. Hint: write one text for each"
        )
    if language == "en":
        return lesson
    own = found.get(language, {})
    translated = {name: own[name] if has_text(own, english, name) else _marked(english[name]) for name in TEXTS}
    return replace(lesson, texts=_made(Texts, path, translated))


def has_text(translation: Mapping[str, Any], english: Mapping[str, Any], name: str) -> bool:
    """Whether a text is translated; a list must have as many items as the English one."""
    text, model = translation.get(name), english[name]
    return bool(text and (isinstance(model, str) or len(text) == len(model)))


def _marked(text: str | list[str]) -> str | list[str]:
    return [mark(each) for each in text] if isinstance(text, list) else mark(text)


def mark(text: str) -> str:
    """An English text, marked as standing in for a missing translation."""
    return f"{UNTRANSLATED} {text}"


def _unknown(name: str, known: list[str]) -> LabError:
    if story := next((path for path in FOLDER.glob("*/*.py") if path.stem == name), None):
        hint = f"write scenarios/{story.parent.name}/{name}.toml, like those beside it (docs/writing-a-scenario.md)"
        return LabError(f"the scenario {name} has no lesson. Hint: {hint}")
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else "`make list` lists them"
    return LabError(f"there is no lesson {name}. Hint: {hint}")


def find(name: str, language: str = "en") -> Lesson | None:
    """The lesson of a scenario, or None for a file that has none. LabError if its texts are incomplete."""
    return load(name, language) if name in _texts() else None


def every(language: str = "en") -> Iterator[Lesson]:
    """All lessons, by name."""
    yield from (load(name, language) for name in _texts())


def _made(kind: type[Any], path: Path, found: Mapping[str, Any], where: str = "") -> Any:
    given = [field.name for field in fields(kind) if found.get(field.name)]
    given += [name for name in _MAY_BE_EMPTY if name in found and name not in given]
    if missing := [field.name for field in fields(kind) if field.name not in given and field.default is MISSING]:
        raise LabError(
            f"{path.name} does not have {', '.join(missing)}{where}. Hint: docs/writing-a-scenario.md describes each"
        )
    return kind(**{name: tuple(found[name]) if isinstance(found[name], list) else found[name] for name in given})
