"""A health check like a load balancer's: connect, wait a moment, end with RST or FIN, and repeat.

    python -m harness.prober ADDRESS PORT -R -i 0.1 -D 0.01 -c 20

The probing client of article 003 (`tcpping -R -i 0.1 -D 0.01`), for use against your own server: with --reset and
--delay 0 its RST may arrive before accept(), and a server must survive that. It needs only Python, so the file also
runs alone. It is not a load generator: one connection at a time, at most 100 a second, and it always ends.

Data from the peer is counted and never shown. Some of it may be unread when the connection ends, and then close() would
send RST instead of FIN; so shutdown() sends the FIN, and close() comes after it.
"""

import argparse
import errno
import io
import math
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

SHORTEST_INTERVAL_S = 0.01
MOST_PROBES = 10_000
LONGEST_DURATION_S = 3600.0

_LONGEST_WAIT_S = 300.0
_MOST_READ_AT_ONCE = 1 << 16
_LINGER_0 = struct.pack("ii", 1, 0)
_RESET_ONCE_CONNECTED = (errno.ECONNRESET, errno.EPIPE)
"""The errors of an RST after connecting (EPIPE: in CLOSE_WAIT); an RST in answer to the SYN is ECONNREFUSED instead.
net/ipv4/tcp_input.c, tcp_reset."""

_ROW = "{:>6}  {:>5}  {:>13}  {:>10}  {}"

_EPILOG = f"""
probes begin --interval seconds apart, or later if one takes longer. each prints one line:
  its number, the local port, the time of connect() in ms (or its error; "timeout" after --timeout),
  the bytes received, and how it ended: "RST sent", "FIN sent", "peer closed", or an error such as ECONNRESET.

exit status: 0 every probe connected, 1 at least one did not, 2 bad usage or an address that does not resolve,
74 the output cannot be written, 130 interrupted (the summary is still printed).

this is not a load generator: intervals from {SHORTEST_INTERVAL_S:g} s, --count up to {MOST_PROBES}, --duration up to \
{LONGEST_DURATION_S:g} s.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to probe, and how. Times are in seconds; `target` is the argument of connect()."""

    family: int
    target: tuple[Any, ...]
    reset: bool
    delay_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Probe:
    """The result of one probe. `connected_ms` is None if it did not connect; `end` is then the error."""

    port: int
    connected_ms: float | None
    received: int
    end: str


@dataclass(slots=True)
class Tally:
    """The totals of all probes so far."""

    probes: int = 0
    connected_ms: list[float] = field(default_factory=list)
    received: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, probe: Probe) -> None:
        """Add one probe."""
        self.probes += 1
        self.received += probe.received
        if probe.connected_ms is None:
            self.failures[probe.end] += 1
        else:
            self.connected_ms.append(probe.connected_ms)

    def summary(self, elapsed_s: float) -> Iterator[str]:
        """The lines of a summary like ping's."""
        times, failed = self.connected_ms, self.failures.total()
        share = failed / self.probes if self.probes else 0.0
        yield (
            f"{self.probes} probes, {len(times)} connected, {failed} failed ({share:.1%}), "
            f"{self.received} bytes heard, time {elapsed_s:.3f} s"
        )
        if times:
            least, mean, most = min(times), sum(times) / len(times), max(times)
            yield f"connect min/avg/max = {least:.3f}/{mean:.3f}/{most:.3f} ms"
        if failed:
            yield "failed: " + ", ".join(f"{name} {count}" for name, count in self.failures.most_common())


def probe(plan: Plan) -> Probe:
    """Make one connection, from SYN to RST or FIN."""
    port = 0
    try:
        with socket.socket(plan.family, socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            if plan.reset:  # before connect(), so that it ends with RST in any case, including Ctrl-C
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
            began = time.monotonic()
            trouble = connection.connect_ex(plan.target)
            port = connection.getsockname()[1]
            if trouble == errno.EINPROGRESS:
                if not _ready(connection, select.POLLOUT, plan.timeout_s):
                    return Probe(port, None, 0, "timeout")
                trouble = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            connected_ms = (time.monotonic() - began) * 1000
            if trouble in _RESET_ONCE_CONNECTED:
                return Probe(port, connected_ms, 0, _error(trouble))
            if trouble:
                return Probe(port, None, 0, _error(trouble))
            received, peers_end = _receive(connection, plan.delay_s)
            return Probe(port, connected_ms, received, peers_end or _end(connection, plan.reset))
    except OSError as error:  # no socket: EMFILE, EAFNOSUPPORT
        return Probe(port, None, 0, _error(error.errno))


def _receive(connection: socket.socket, delay_s: float) -> tuple[int, str | None]:
    """Receive for `delay_s` seconds; returns the number of bytes, and how the peer ended the connection, if it did."""
    buffer = bytearray(_MOST_READ_AT_ONCE)
    received = 0
    deadline = time.monotonic() + delay_s
    while True:
        remaining_s = deadline - time.monotonic()
        if not _ready(connection, select.POLLIN, max(0.0, remaining_s)):
            return received, None
        try:
            count = connection.recv_into(buffer)
        except OSError as error:
            return received, _error(error.errno)
        if count == 0:
            return received, "peer closed"
        received += count
        if remaining_s <= 0:  # even if the peer never stops sending
            return received, None


def _end(connection: socket.socket, reset: bool) -> str:
    """End the connection as planned; returns what was done, or the error if the peer's RST came first."""
    if not reset:
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError:  # ENOTCONN: reset meanwhile
            return _error(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ENOTCONN)
    connection.close()
    return "RST sent" if reset else "FIN sent"


def _ready(connection: socket.socket, event: int, within_s: float) -> bool:
    poller = select.poll()
    poller.register(connection, event)
    return bool(poller.poll(within_s * 1000))


def _error(number: int | None) -> str:
    return errno.errorcode.get(number or 0, f"error {number}")


def run(plan: Plan, count: int | None, duration_s: float | None, interval_s: float) -> int:
    """Make `count` probes, or all that begin within `duration_s`; returns the exit status."""
    tally = Tally()
    began = time.monotonic()
    interrupted = False
    _say(_ROW.format("probe", "port", "connect ms", "heard", "end"))
    try:
        while True:
            starts = time.monotonic()
            done = probe(plan)
            tally.add(done)
            _say(_row(tally.probes, done))
            next_s = max(starts + interval_s, time.monotonic())
            if tally.probes == count or (duration_s is not None and next_s - began >= duration_s):
                break
            time.sleep(max(0.0, next_s - time.monotonic()))  # no connection is open now
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends it silently
        interrupted = True
    _say("")
    for line in tally.summary(time.monotonic() - began):
        _say(line)
    return 130 if interrupted else int(bool(tally.failures))


def _row(number: int, done: Probe) -> str:
    connected = done.end if done.connected_ms is None else f"{done.connected_ms:.3f}"
    end = "not connected" if done.connected_ms is None else done.end
    return _ROW.format(number, done.port or "-", connected, done.received, end)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _seconds(least: float, most: float, why: str = "") -> Callable[[str], float]:
    def convert(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not least <= seconds <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is refused. Hint: use {least:g} to {most:g} seconds{why}")
        return seconds

    return convert


def _whole(most: int, why: str = "") -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is refused. Hint: use a number from 1 to {most}{why}")
        return int(text)

    return convert


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m harness.prober", description=(__doc__ or "").splitlines()[0], epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    no_load = "; this is not a load generator"
    wait = _seconds(0, _LONGEST_WAIT_S)
    parser.add_argument("address", metavar="ADDRESS", help="a host name (resolved once), an IPv4 or an IPv6 address")
    parser.add_argument("port", metavar="PORT", type=_whole(65535), help="its TCP port")
    parser.add_argument("-R", "--reset", action="store_true", help="end with RST (SO_LINGER 0) instead of FIN")
    parser.add_argument(
        "-i", "--interval", metavar="S", type=_seconds(SHORTEST_INTERVAL_S, LONGEST_DURATION_S, no_load), default=0.1,
        help="minimum seconds between the beginnings of two probes (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "-D", "--delay", metavar="S", type=wait, default=0.01,
        help="seconds from connect() to the end; what the peer sends meanwhile is read (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", metavar="S", type=_seconds(0.001, _LONGEST_WAIT_S), default=3.0,
        help="how long one connect() may take (%(default)s)",
    )  # fmt: skip
    end = parser.add_mutually_exclusive_group()
    end.add_argument("-c", "--count", metavar="N", type=_whole(MOST_PROBES, no_load), help="number of probes")
    end.add_argument(
        "--duration", metavar="S", type=_seconds(SHORTEST_INTERVAL_S, LONGEST_DURATION_S, no_load),
        help="begin new probes for this many seconds",
    )  # fmt: skip
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the program; returns its exit status. SystemExit(2) for bad usage, from argparse."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.count is None and asked.duration is None:
        parser.error("one of --count and --duration is required. Hint: use --count N, or --duration S")
    host = asked.address.removeprefix("[").removesuffix("]")
    try:
        found: tuple[Any, ...] = socket.getaddrinfo(host, asked.port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        parser.error(f"the address {asked.address!r} does not resolve ({error}). Hint: name a host, or its IP address")
    family, target = found[0], found[4]
    ending = "RST" if asked.reset else "FIN"
    _say(f"probing {target[0]} port {target[1]}: {ending} after {asked.delay:g} s, every {asked.interval:g} s")
    plan = Plan(family, target, asked.reset, asked.delay, asked.timeout)
    return run(plan, asked.count, asked.duration, asked.interval)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # like ping, even if a shell's `&` makes it ignored
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it like any program; it sends nothing on sockets
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before the first probe
        sys.exit(130)
    except OSError as error:  # /dev/full
        sys.stderr.write(f"prober: the output cannot be written: {error.strerror}\n")
        sys.exit(74)  # EX_IOERR of sysexits.h
