"""The programs that this machine has."""

import os
import shutil
from pathlib import Path

from harness.errors import LabUnavailable

__tracebackhide__ = True

_UNPACKED = Path(__file__).parent.parent.parent / ".tools" / "bin"
"""Programs that are not installed, only unpacked (tools.sh)."""


def find_program(name: str, package: str | None = None) -> str:
    """The path of a program: on PATH, in the administrator's folders, which an ordinary user's PATH lacks, or unpacked.

    LabUnavailable where there is none; its mend names the package.
    """
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:{_UNPACKED}")
    if not path:
        raise LabUnavailable(f"the program {name} is not there", f"install it, e.g. apt install {package or name}")
    return path
