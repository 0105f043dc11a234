"""A program of the reader's in a lab of their own: `python -m harness.inside.enter PID COMMAND …`.

nsenter does as much; but where the user is not root, the program that it starts has none of the lab's capabilities, and
tcpdump may not capture without.
"""

import os
import sys

from harness.kernel import namespace


def main(pid: str, *command: str) -> None:
    """Become `command`, among the users and in the network of process `pid`."""
    namespace.enter(int(pid), namespace.CLONE_NEWUSER | namespace.CLONE_NEWNET)
    namespace.keep_capabilities_over_exec()
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
