"""Run any program inside a running lab: `python -m harness.inside.enter PID COMMAND …`.

nsenter does nearly the same. But if the user is not root, a program that it starts has none of the lab's capabilities,
which tcpdump needs to capture.
"""

import os
import sys
from pathlib import Path

from harness.kernel import namespace


def main(pid: str, *command: str) -> None:
    """Become `command`, in the user and network namespaces of process `pid`."""
    is_ours = Path(f"/proc/{pid}/ns/user").samefile("/proc/self/ns/user")  # setns(2) refuses to enter it again
    namespace.enter(int(pid), namespace.CLONE_NEWNET | (0 if is_ours else namespace.CLONE_NEWUSER))
    namespace.keep_capabilities_over_exec()
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
