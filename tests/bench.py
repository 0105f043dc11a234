"""What a scenario costs beyond the kernel's own waits, part by part: `make bench`.

The story is close_with_unread_data: two actors, four steps, states, counters, wire, one error. The ratio at the end
sets its median against what the same story would need at least without a nursery: one `unshare`d shell tool and two
Python processes started anew.
"""

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from harness.lab import Lab
from harness.nursery import Nursery
from harness.tuning.sysctl_d import reference_profile

ROLES = Path(__file__)
ROUNDS = 100
WARM_UP = 5
BAR_MS = 25.0
EXPLAIN_BAR_MS = 300
EXPLAIN = [sys.executable, "-m", "harness", "explain", "docs/99-tuning.conf"]
BARE_PYTHON = [sys.executable, "-c", "pass"]
REQUEST = b"request"


def serve(address):
    import socket

    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "ready to close"
    connection.close()


def request(address):
    import socket

    connection = socket.create_connection(address)
    connection.sendall(REQUEST)
    yield "sent"
    connection.recv(1)


class Laps:
    """Seconds by part, one list a part."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def lap(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds.setdefault(part, []).append(time.perf_counter() - start)


def play_once(nursery: Nursery, laps: Laps) -> None:
    with laps.lap("namespace, sysctls, capture"):
        lab = Lab(nursery, str(ROLES), 0.25)
    with laps.lap("two actors"):
        server = lab.start(serve, lab.server_address)
        client = lab.start(request, lab.server_address)
    with laps.lap("four steps, wire quiet after each"):
        server.run_to("listening")
        client.run_to("sent")
        server.run_to("ready to close")
        server.finish()
    with laps.lap("wire"):
        wire = lab.wire(since="ready to close")
        if wire != ["server RA"]:
            raise SystemExit(f"the story went wrong: {wire}")
    with laps.lap("states, counters, the client's error"):
        lab.expect_states(server="CLOSED", client="CLOSED")
        lab.counter("TcpExtTCPAbortOnClose")
        client.fail_with("ECONNRESET")
    with laps.lap("teardown"):
        lab.close()


def without_a_nursery() -> float:
    """Seconds for a namespace made by a tool and two Python processes started in turn, doing nothing at all."""
    tool = ["unshare", "--user", "--map-root-user", "--net", "true"]
    start = time.perf_counter()
    for command in ([tool] if shutil.which("unshare") else []) + [[sys.executable, "-c", "import socket"]] * 2:
        subprocess.run(command, check=True)
    return time.perf_counter() - start


def main() -> int:
    nursery = Nursery(reference_profile())
    laps = Laps()
    for number in range(WARM_UP + ROUNDS):
        if number == WARM_UP:
            laps = Laps()  # the first rounds import scapy and the roles
        play_once(nursery, laps)
    nursery.close()
    totals = [sum(parts) * 1000 for parts in zip(*laps.seconds.values(), strict=True)]
    median_ms = statistics.median(totals)
    table = Table(title=f"one scenario, {ROUNDS} times ({nursery.isolation})")
    table.add_column("part")
    for heading in ("median ms", "share", "p95 ms"):
        table.add_column(heading, justify="right")
    for part, seconds in laps.seconds.items():
        ms = [each * 1000 for each in seconds]
        share = sum(ms) / sum(totals)
        table.add_row(part, f"{statistics.median(ms):.2f}", f"{share:.0%}", f"{p95(ms):.2f}")
    table.add_section()
    table.add_row("all of it", f"{median_ms:.2f}", "100%", f"{p95(totals):.2f}")
    Console().print(table)
    plain_ms = statistics.median(without_a_nursery() for _ in range(10)) * 1000
    print(f"bar: {BAR_MS:g} ms, {'met' if median_ms <= BAR_MS else 'MISSED'} (on a machine that does nothing else)")
    ratio = median_ms / plain_ms
    print(f"ratio to a namespace and two Python processes without a nursery ({plain_ms:.0f} ms): {ratio:.2f}")
    explain_ms = statistics.median(seconds_of(EXPLAIN) for _ in range(10)) * 1000
    python_ms = statistics.median(seconds_of(BARE_PYTHON) for _ in range(10)) * 1000
    print(
        f"explain: {explain_ms:.0f} ms (bar: {EXPLAIN_BAR_MS} ms), "
        f"{explain_ms / python_ms:.1f} times the start of a bare Python"
    )
    return 0 if median_ms <= BAR_MS and explain_ms <= EXPLAIN_BAR_MS else 1


def seconds_of(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


if __name__ == "__main__":
    sys.exit(main())
