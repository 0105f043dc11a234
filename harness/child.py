"""pytest as a child of a command of ours: it ends with the command, however that ends."""

import os
import subprocess
import sys
from collections.abc import Sequence

from harness.kernel.namespace import die_with_parent


def pytest(arguments: Sequence[str], *, quietly: bool = False) -> subprocess.CompletedProcess[str]:
    """Run it to its end. `quietly`: what it prints is in `stdout`; otherwise it prints that itself.

    It is killed when this process is (its workers and labs see that, and end as well).
    """
    stdout, stderr = (subprocess.PIPE, subprocess.STDOUT) if quietly else (None, None)
    command = [sys.executable, "-m", "pytest", *arguments]
    # No thread of ours can hold a lock at the fork: there is none.
    return subprocess.run(
        command, text=True, check=False, stdout=stdout, stderr=stderr, preexec_fn=die_with_parent, env=_environment()
    )


def _environment() -> dict[str, str]:
    """Without the user's own options for pytest, which might leave stories out."""
    return {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
