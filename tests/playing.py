"""Playing a scenario of the tests' own making in a pytest of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
Play = Callable[..., subprocess.CompletedProcess[str]]

AS_ROOT_OF_A_USER_NAMESPACE = """
import ctypes, os, signal, subprocess, sys, time
from pathlib import Path
from harness.kernel import namespace

uid, gid = os.geteuid(), os.getegid()
namespace.unshare(namespace.CLONE_NEWUSER | namespace.CLONE_NEWNS)
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
"""
"""The beginning of a script: there, the limits on namespaces and the mounts are the script's own to change."""


def pytest_command(path: Path, *arguments: str) -> list[str]:
    """The command that plays one file, wherever it lies, as if it lay in scenarios/."""
    settings = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(path.parent), "-p", "harness.plugin"]
    return [sys.executable, "-m", "pytest", *settings, str(path), *arguments]


def clean_environment() -> dict[str, str]:
    """Ours, less what would reach into a pytest inside a pytest, or a make inside a make."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MAKE", "ARGS"))
    }
    return environment | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}


def run_pytest(path: Path, *arguments: str, within_s: float = 50) -> subprocess.CompletedProcess[str]:
    """Play one file to its end; what pytest printed, and its exit status."""
    return subprocess.run(
        pytest_command(path, *arguments), capture_output=True, text=True, timeout=within_s, env=clean_environment()
    )
