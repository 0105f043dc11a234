"""Finds the programs that are installed on this machine."""

import os
import shutil
from pathlib import Path

from harness.errors import LabUnavailable

__tracebackhide__ = True

_UNPACKED = Path(__file__).parent.parent.parent / ".tools" / "bin"
"""Programs that are not installed, only unpacked (harness/tools.sh)."""


def find_program(name: str, package: str | None = None) -> str:
    """The path of a program: on PATH, in /usr/sbin or /sbin (not on an ordinary user's PATH), or unpacked in .tools/.

    LabUnavailable, with the package in its hint, if there is none.
    """
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:{_UNPACKED}")
    if not path:
        raise LabUnavailable(f"the program {name} is not installed", f"install it: apt install {package or name}")
    return path
