"""The texts of the lessons, in each language: files in scenarios/lessons/, one a scenario."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from harness.errors import LabError

__tracebackhide__ = True

LANGUAGES = ("en", "zh")
FOLDER = Path(__file__).parent.parent / "scenarios" / "lessons"


@dataclass(frozen=True, slots=True)
class Texts:
    """One lesson in one language; see scenarios/lessons/*.toml."""

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


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a scenario teaches, and the two stories that show it."""

    name: str
    fault: str
    control: str
    sysctls: tuple[str, ...]
    recognise: tuple[str, ...]
    answer: int
    """Which of the options is right, from 1."""
    texts: Texts

    @property
    def path(self) -> Path:
        """The scenario's file."""
        return FOLDER.parent / f"{self.name}.py"

    def source(self) -> str:
        return self.path.read_text("utf-8")


def check_folder() -> None:
    """LabError if the scenarios are not beside this package, as they are in a checkout."""
    if not FOLDER.is_dir():
        raise LabError(
            f"there are no scenarios in {FOLDER.parent}. Hint: install from a checkout, with pip install -e ."
        )


def load(name: str, language: str = "en") -> Lesson:
    """The lesson of a scenario. LabError where there is none, or where its file lacks something."""
    import tomllib  # 12 ms, which `explain` need not wait

    path = FOLDER / f"{name}.toml"
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if (FOLDER.parent / f"{name}.py").exists():
            mend = f"write scenarios/lessons/{name}.toml, like those beside it (README, Writing a scenario)"
            raise LabError(f"the scenario {name} has no lesson. Hint: {mend}") from None
        near = difflib.get_close_matches(name, [each.stem for each in FOLDER.glob("*.toml")], 1)
        hint = f"did you mean {near[0]}?" if near else "see `make list`"
        raise LabError(f"there is no lesson {name}. Hint: {hint}") from None
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"{path.name} is no TOML file: {error}. Correct that line") from None
    texts = _made(Texts, path, found.get(language, {}))
    lesson: Lesson = _made(Lesson, path, found | {"name": name, "texts": texts})
    return lesson


def find(name: str, language: str = "en") -> Lesson | None:
    """The lesson of a scenario, or None for a file that has none. LabError where its texts are not whole."""
    return load(name, language) if (FOLDER / f"{name}.toml").exists() else None


def every(language: str = "en") -> Iterator[Lesson]:
    """All lessons, by name."""
    yield from (load(path.stem, language) for path in sorted(FOLDER.glob("*.toml")))


def proved_rows(text: str) -> set[str]:
    """The rows of the articles behind each "Proves:" in docstrings, up to the first full stop."""
    proofs = re.findall(r'Proves: ([^."]+)', text)
    return {row for proof in proofs for row in re.findall(r"\b\d{3}-\d+\b", proof)}


def advice(text: str) -> tuple[str, str] | None:
    """What a docstring gives as said by people, and as shown: "Said: …. Shown: …."; None where it gives neither."""
    found = re.match(r"Said: (.+?)\. Shown: (.+?)\.( |$)", " ".join(text.split()))
    return (found[1], found[2]) if found else None


def _made(kind: type[Any], path: Path, found: dict[str, Any]) -> Any:
    names = [field.name for field in fields(kind)]
    if missing := [name for name in names if not found.get(name)]:
        raise LabError(f"{path.name} lacks {', '.join(missing)}. Hint: write it, in each of {', '.join(LANGUAGES)}")
    return kind(**{name: tuple(found[name]) if isinstance(found[name], list) else found[name] for name in names})
