"""The programs that this machine has."""

import os
import shutil

from harness.errors import LabUnavailable

__tracebackhide__ = True


def find_program(name: str, package: str | None = None) -> str:
    """The path of a program on PATH, or where Debian keeps the administrator's, which no ordinary user's PATH names.

    LabUnavailable where there is none; its mend names the package.
    """
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if not path:
        raise LabUnavailable(f"the program {name} is not there", f"install it, e.g. apt install {package or name}")
    return path
