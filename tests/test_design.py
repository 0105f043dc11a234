"""docs/design.md and the rooms' own docstrings are correct: rooms, floors, imports, and where a change goes."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.playing import ROOT

DESIGN = (ROOT / "docs" / "design.md").read_text()
ROOMS = sorted(path.parent.name for path in (ROOT / "harness").glob("*/__init__.py"))
LONE_FILES = {"errors", "prober", "stock_roles", "__main__"}


def section(heading: str) -> str:
    return DESIGN.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rule(room: str) -> str:
    return ast.get_docstring(ast.parse((ROOT / "harness" / room / "__init__.py").read_text())) or ""


def imported_by(room: str) -> set[str]:
    """The rooms (and single files) that the modules of a room import, anywhere in them."""
    found = set()
    for path in (ROOT / "harness" / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "harness":
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness."):
                found.add((node.module or "").split(".")[1])
            elif isinstance(node, ast.Import):
                found |= {each.name.split(".")[1] for each in node.names if each.name.startswith("harness.")}
    return found - {room}


def test_every_room_has_its_line_and_its_floor() -> None:
    lines = re.findall(r"^\| (\d+) \| `(\w+)/` \| \S", section("Rooms"), re.M)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(each for each in contracts if each["type"] == "layers")["layers"]
    floors = {room: floor for floor, layer in enumerate(reversed(layers), 1) for room in layer.split(" | ")}
    assert sorted(room for _, room in lines) == ROOMS
    assert {room: int(floor) for floor, room in lines} == {room: floors[room] for room in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_rooms_docstring_has_its_imports_and_its_changes(room: str) -> None:
    imports, change = re.split(r"\n\n", rule(room))[1:]
    stated = re.match(r"Imports: ([\w\s,]+)\.", imports)
    assert stated, "Imports: ROOM, ROOM."
    names = {name.strip() for name in stated[1].split(",")} - {"nothing of the harness"}
    assert names <= {*ROOMS, *LONE_FILES}
    assert names == imported_by(room)
    assert len(change) > 50


def test_ten_changes_have_their_one_room() -> None:
    rows = re.findall(r"^\| ([^|]+) \| `([\w/]+)/`(, new)?[^|]* \| [^|]+ \|$", section("Where a change goes"), re.M)
    assert len(rows) == 10
    for change, room, new in rows:
        there = room in ROOMS or room == "scenarios/THEME"
        assert there != bool(new), f"{change}: {room}/"


def test_every_folder_of_scenarios_is_a_theme_with_its_line() -> None:
    folders = {path.parent.name for path in (ROOT / "scenarios").rglob("*.py")}
    assert set(re.findall(r"^\| `(\w+)/` \|", section("Scenarios"), re.M)) == folders


def test_every_file_named_exists() -> None:
    named = re.findall(r"\bharness/[\w/.]+\.\w+", DESIGN)
    assert len(named) > 3
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_module_named_by_a_rule_exists() -> None:
    for room in ROOMS:
        for name in re.findall(r"\b(?:\w+/)*[\w.]+\.(?:py|toml|json|conf)\b", rule(room)):
            places = [ROOT, ROOT / "harness", ROOT / "harness" / room]
            assert name.startswith("NAME") or any(Path(place, name).exists() for place in places), f"{room}: {name}"
