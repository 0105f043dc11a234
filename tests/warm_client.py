"""Asks the warm Python (tests/warm.py) for a run, waits until it ends, and exits with its status.

If this process is killed, its connection ends, and so the run is killed, too.
"""

import json
import os
import signal
import socket
import sys

with socket.socket(socket.AF_UNIX) as warm:
    warm.connect(sys.argv[1])
    request = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(warm, [f"{len(request)}\n".encode()], [0, 1, 2])
    warm.sendall(request)
    number, _, status = b"".join(iter(lambda: warm.recv(4096), b"")).partition(b"\n")
if (code := int(status or -signal.SIGKILL)) < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
