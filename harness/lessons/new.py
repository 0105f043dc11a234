"""Writes the files of a new scenario from templates/: they run at once, and fail until each FILL IN is replaced."""

import keyword
import re
from pathlib import Path
from string import Template

from harness.errors import LabError
from harness.lessons import lessons
from harness.output import files

__tracebackhide__ = True

_TEMPLATES = Path(__file__).parent / "templates"
_LONGEST_NAME = 120
"""The most characters: a file's name may have 255 bytes (143 on eCryptfs), and reports add to it."""


def write(name: str, theme: str) -> list[Path]:
    """Write a scenario, its lesson and its mutants, either all or none, and return their paths.

    LabError for an invalid name, for a name that is taken, for an unknown theme, and for a file that cannot be written.
    """
    _check_name(name)
    _check_theme(theme)
    checkout = lessons.FOLDER.parent
    texts = {
        lessons.FOLDER / theme / f"{name}.py": "scenario.txt",
        lessons.FOLDER / theme / f"{name}.toml": "lesson.txt",
        checkout / "tests" / "mutants" / f"{name}.py": "mutants.txt",
    }
    _check_free(name, checkout)
    written: list[Path] = []
    try:
        for path, template in texts.items():
            files.write(path, Template((_TEMPLATES / template).read_text("utf-8")).substitute(name=name))
            written.append(path)
    except BaseException:  # Ctrl-C as well
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return written


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > _LONGEST_NAME or keyword.iskeyword(name):
        raise LabError(
            f"{name} cannot be a scenario's name. Hint: use a phrase of lower-case letters, digits and underscores, "
            f"at most {_LONGEST_NAME} characters, such as reset_before_accept"
        )


def _check_theme(theme: str) -> None:
    import tomllib

    themes = tomllib.loads((lessons.FOLDER / "THEMES.toml").read_text("utf-8"))
    if theme not in themes:
        raise LabError(
            f"there is no theme {theme}. Hint: use one of {', '.join(themes)}, or add it to scenarios/THEMES.toml"
        )


def _check_free(name: str, checkout: Path) -> None:
    mutants = checkout / "tests" / "mutants" / f"{name}.py"
    if found := [*lessons.FOLDER.glob(f"*/{name}.py"), *lessons.FOLDER.glob(f"*/{name}.toml")]:
        where = found[0].relative_to(checkout)
        raise LabError(f"there is a scenario {name} already: {where}. Hint: choose another name")
    if mutants.exists():
        raise LabError(f"{mutants.relative_to(checkout)} exists already. Hint: choose another name")
