"""`python -m harness`: the commands are in harness/cli/."""

import os
import signal
import sys

if __name__ == "__main__":  # before the imports, which take a while: an interrupt ends them without a traceback
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    if not __package__:  # `python /checkout/harness`: our modules would hide the standard library's (profile)
        sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120

from harness.cli.main import program

if __name__ == "__main__":
    sys.exit(program())
