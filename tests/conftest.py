"""What the tests share: playing a scenario that a test has written."""

import subprocess
from pathlib import Path

import pytest

from tests.playing import Play, run_pytest


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Write a scenario to a file of its own, play it, and return what pytest printed and its exit status."""

    def run(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = tmp_path / "story.py"
        path.write_text(source)
        return run_pytest(path, *arguments)

    return run
