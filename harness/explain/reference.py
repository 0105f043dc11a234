"""The reference profile: the project's own sysctls, in profiles/reference.conf."""

from pathlib import Path

from harness.kernel.sysctls import Setting
from harness.sysctl_files import sysctl_d

_FILE = Path(__file__).parent / "profiles" / "reference.conf"


def reference_profile() -> list[Setting]:
    """The settings that scenarios run under."""
    return sysctl_d.parse(_FILE.read_text("utf-8"), _FILE.name)
