"""Each lesson still draws what was recorded, and the comparison sees what matters."""

import pytest

from tests import ladders
from tests.test_lessons import NAMES

TRIES = 3
"""A play may be unlike all that were recorded (a stall of a second repeats a segment), but not one after the other."""


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_draws_what_was_recorded(name):
    must, may = ladders.recorded(name)
    assert len(must) >= 2
    differences = []
    for _ in range(TRIES):
        ladder = ladders.drawn(name)
        missing, new = must - ladders.shapes(ladder), ladders.certain(ladder) - may
        if not missing and not new:
            return
        differences.append({"missing": missing, "new": new})
    pytest.fail(f"{name} draws something else: {differences}. Mend: make ladders, and read the diff")


def test_most_lessons_are_compared_line_by_line():
    assert sum(len(ladders.recorded(name)[0]) >= 10 for name in NAMES) >= 13


def test_nothing_is_recorded_of_what_is_gone():
    assert sorted(path.stem for path in ladders.FOLDER.glob("*.txt")) == NAMES


def test_what_is_compared():
    first = """test_x ───
     3.803                                   » listening
    17.520 50123 SYN_SENT  ── S ────▶
    17.531                 ◀── SA ── 50123 SYN_RECV
    20.659                           accept queue 1 of 128
    99.001 » finished (returned b'\\x01')
"""
    moved = first.replace("17.5", "18.6").replace("50123", "51999").replace("x01", "x02").replace("1 of", "2 of")
    assert ladders.shapes(first) == ladders.shapes(moved)
    assert ladders.shapes(first) == {
        f"fault: {line}" for line in ("test_x", "» listening", "# SYN_SENT S ▶", "◀ SA # SYN_RECV", "» finished")
    }
    for change in (("SYN_RECV", "CLOSED"), ("── SA", "── RA"), ("» listening", "» deaf"), ("S ────▶", "S ────▶ UP")):
        assert ladders.shapes(first.replace(*change)) != ladders.shapes(first)
    cut = (
        first + "    20.100                  ── PA 18 ───▶\n    20.200 FIN_WAIT1             ── FPA 7 ──▶ CLOSE_WAIT\n"
    )
    assert ladders.shapes(cut) - ladders.shapes(first) == {"fault: FIN_WAIT1 FA ▶ CLOSE_WAIT"}
    both = first + first.replace("test_x", "test_control_x")
    assert ladders.shapes(both.replace(" SYN_RECV", "", 1)) != ladders.shapes(both), "each story for itself"
