"""Colour is used only on a terminal, and only if the user wants it."""

import sys

import pytest

from harness.output import terminal


@pytest.mark.parametrize(
    ("tty", "environment", "colour"),
    [(True, {}, True), (False, {}, False), (True, {"NO_COLOR": "1"}, False), (True, {"NO_COLOR": ""}, True),
     (True, {"TERM": "dumb"}, False)],
)  # fmt: skip
def test_colour(monkeypatch, tty, environment, colour):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: tty, raising=False)
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert terminal.wants_color() is colour


@pytest.mark.parametrize(("asked", "colour"), [("yes", True), ("no", False), ("auto", True)])
def test_colour_that_is_asked_for(monkeypatch, asked, colour):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: asked != "yes", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TERM", raising=False)
    assert terminal.wants_color(asked) is colour


def test_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "123")
    assert terminal.width() == 123
