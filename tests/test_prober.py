"""The prober, run as a user would, against real servers inside the lab: what it prints, refuses, and sends."""

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import prober
from tests.playing import ROOT

PROBER = [sys.executable, "-I", "-S", prober.__file__]  # only Python: no packages, not even the project's
HOSTILE = b"\x1b]0;gotcha\x07\r\n%s{}\xff\x00" * 10_000
HAS_IPV6 = Path("/proc/net/if_inet6").exists()


def listen(address):
    listener = socket.create_server(address)
    yield "listening"
    listener.accept()


def say_hostile_things(address):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.sendall(HOSTILE)
        connection.recv(1)


def say_by_ipv6(port):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"220\r\n")


def never_stop_talking(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    with contextlib.suppress(ConnectionError):
        while True:
            connection.sendall(bytes(1 << 10))
            time.sleep(0.001)  # a second of it is to fit into the capture


def end_at_once(address, linger):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", *linger))
    connection.close()
    yield "ended"


def probe(lab, *arguments, host=None):
    return lab.run_program([*PROBER, host or lab.server_address[0], str(lab.server_address[1]), *arguments])


def serve(lab, role, *arguments):
    lab.start(role, lab.server_address, *arguments, to="listening").resume()


def table(program):
    """The rows as (connected, bytes heard, end)."""
    rows = re.findall(r"^ +\d+ +(?:\d+|-) +(\S+) +(\d+)  (.+)$", program.output(), re.M)
    return [(re.sub(r"^\d+\.\d{3}$", "in ms", connected), int(heard), end) for connected, heard, end in rows]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "use --count N, or --duration S"),
        (["-c", "0"], "use a number from 1 to 10000; this is not a load generator"),
        (["-c", "10001"], "use a number from 1 to 10000"),
        (["-c", "9" * 5000], "use a number from 1 to 10000"),
        (["-c", "1", "--duration", "1"], "not allowed with argument"),
        (["--duration", "3601"], "use 0.01 to 3600 seconds; this is not a load generator"),
        (["--duration", "inf"], "use 0.01 to 3600 seconds"),
        (["-c", "1", "-i", "0.009"], "use 0.01 to 3600 seconds; this is not a load generator"),
        (["-c", "1", "-i", "nan"], "use 0.01 to 3600 seconds"),
        (["-c", "1", "-D", "-1"], "use 0 to 300 seconds"),
        (["-c", "1", "--timeout", "0"], "use 0.001 to 300 seconds"),
    ],
)
def test_its_refusals_have_hints(arguments, hint):
    done = subprocess.run([*PROBER, "192.0.2.2", "8000", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert hint in done.stderr


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "８０"])
def test_a_port_is_a_number(port):
    done = subprocess.run([*PROBER, "-c", "1", "--", "192.0.2.2", port], capture_output=True, text=True)
    assert done.returncode == 2
    assert "use a number from 1 to 65535" in done.stderr


@pytest.mark.parametrize("host", ["nobody.invalid", "a" * 64, "", "192.0.2.2:80"])
def test_an_address_that_does_not_resolve_is_bad_usage(lab, host):
    program = lab.run_program([*PROBER, host, "8000", "-c", "1"])
    assert program.finish() == 2
    assert "does not resolve" in program.output()
    assert "Traceback" not in program.output()


def test_it_is_a_module_with_a_help_text_too():
    done = subprocess.run([sys.executable, "-m", "harness.prober", "-h"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    for words in ("--reset", "--interval", "--delay", "--count", "--duration", "--timeout", "not a load generator"):
        assert words in done.stdout


def test_reset_ends_with_rst_on_the_wire(lab):
    lab.start(listen, lab.server_address, to="listening")
    program = probe(lab, "-R", "-D", "0", "-c", "1")
    assert program.finish() == 0
    assert table(program) == [("in ms", 0, "RST sent")]
    assert lab.wire() == ["client S", "server SA", "client A", "client RA"]


def test_without_reset_it_ends_with_fin_on_the_wire(lab):
    lab.start(listen, lab.server_address, to="listening")
    program = probe(lab, "-D", "0", "-c", "1")
    assert program.finish() == 0
    assert table(program) == [("in ms", 0, "FIN sent")]
    lab.expect_wire(["client S", "server SA", "client A", "client FA", "server A"])
    assert lab.counter("TcpExtTCPAbortOnClose") == 0


def test_fin_stays_fin_even_while_the_peer_sends(lab):
    serve(lab, never_stop_talking)
    program = probe(lab, "-D", "1", "-c", "1")
    assert program.finish() == 0
    [(connected, heard, end)] = table(program)
    assert (connected, end) == ("in ms", "FIN sent")
    assert heard > 0
    assert [segment for segment in lab.wire() if segment.startswith("client") and segment != "client A"][:2] == [
        "client S",
        "client FA",
    ]


def test_a_hostile_peers_data_is_counted_and_never_shown(lab):
    serve(lab, say_hostile_things)
    program = probe(lab, "-i", "0.01", "-D", "1", "-c", "2")
    assert program.finish() == 0
    assert table(program) == [("in ms", len(HOSTILE), "FIN sent")] * 2
    assert f"2 probes, 2 connected, 0 failed (0.0%), {2 * len(HOSTILE)} bytes heard" in program.output()
    assert program.output().replace("\n", "").isprintable()
    assert "gotcha" not in program.output()


@pytest.mark.parametrize(("linger", "end"), [((1, 0), "ECONNRESET"), ((0, 0), "peer closed")])
def test_a_peer_that_ends_the_connection_ends_the_wait(lab, linger, end):
    server = lab.start(end_at_once, lab.server_address, linger, to="listening")
    program = probe(lab, "-D", "300", "-c", "1")
    server.run_to("ended")
    assert program.finish() == 0
    assert table(program) == [("in ms", 0, end)]


def test_a_refusal_is_shown_by_name_and_exit_status(lab):
    program = probe(lab, "-i", "0.01", "-c", "3")
    assert program.finish() == 1
    assert table(program) == [("ECONNREFUSED", 0, "not connected")] * 3
    assert "3 probes, 0 connected, 3 failed (100.0%), 0 bytes heard" in program.output()
    assert "failed: ECONNREFUSED 3\n" in program.output()


def test_one_failure_among_many_is_a_failure(lab):
    lab.set_sysctl("net.ipv4.ip_local_port_range", "50000 50000")
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    lab.start(listen, lab.server_address, to="listening")
    program = probe(lab, "-i", "0.01", "-c", "2")
    assert program.finish() == 1
    assert table(program) == [("in ms", 0, "FIN sent"), ("EADDRNOTAVAIL", 0, "not connected")]
    assert "2 probes, 1 connected, 1 failed (50.0%), 0 bytes heard" in program.output()
    assert "connect min/avg/max = " in program.output()


@pytest.mark.parametrize(("patience", "name"), [("0.05", "timeout"), ("10", "ETIMEDOUT")])
def test_silence_ends_by_the_probers_or_the_kernels_timeout(lab, patience, name):
    lab.set_sysctl("net.ipv4.tcp_syn_retries", 1)
    lab.drop(f"tcp dport {lab.server_address[1]}")
    program = probe(lab, "--timeout", patience, "-c", "1")
    assert program.finish() == 1
    assert table(program) == [(name, 0, "not connected")]


def test_no_route_is_an_error_of_the_probe(lab):
    program = probe(lab, "-c", "1", host="203.0.113.1")
    assert program.finish() == 1
    assert table(program) == [("ENETUNREACH", 0, "not connected")]


@pytest.mark.skipif(not HAS_IPV6, reason="this kernel has no IPv6")
@pytest.mark.parametrize(("host", "shown"), [("::1", "::1"), ("[::1]", "::1"), ("127.0.0.1", "127.0.0.1")])
def test_it_probes_ipv6_as_it_does_ipv4(lab, host, shown):
    lab.start(say_by_ipv6, lab.server_address[1], to="listening").resume()
    program = probe(lab, "-R", "-D", "1", "-c", "1", host=host)
    assert program.finish() == 0
    assert program.output().startswith(f"probing {shown} port {lab.server_address[1]}: RST after 1 s, every 0.1 s\n")
    assert table(program) == [("in ms", 5, "RST sent")]


def test_a_name_is_resolved(lab):
    program = probe(lab, "-c", "1", host="localhost")
    assert program.finish() == 1
    assert re.match(r"probing (127\.0\.0\.1|::1) port", program.output())


def test_interrupted_it_prints_its_summary_and_exits_with_130(lab):
    lab.start(listen, lab.server_address, to="listening")
    program = probe(lab, "-i", "60", "-c", "100")
    program.expect_output("FIN sent\n")  # before the end: lines are not buffered although this is not a terminal
    os.kill(program.pid, signal.SIGINT)
    assert program.finish() == 130
    assert "\n1 probes, 1 connected, 0 failed (0.0%)" in program.output()
    assert "Traceback" not in program.output()


def test_interrupted_during_a_probe_it_still_resets(lab):
    lab.start(listen, lab.server_address, to="listening")
    program = probe(lab, "-R", "-D", "300", "-c", "1")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    os.kill(program.pid, signal.SIGINT)
    assert program.finish() == 130
    assert lab.wire() == ["client S", "server SA", "client A", "client RA"]
    assert "\n0 probes, 0 connected, 0 failed (0.0%)" in program.output()


def test_a_closed_pipe_ends_it_without_a_traceback(lab):
    lab.start(listen, lab.server_address, to="listening")
    command = f"({' '.join(PROBER)} {lab.server_address[0]} {lab.server_address[1]} -R -D 0 -i 0.01 -c 10000; echo $?)"
    program = lab.run_program(["sh", "-c", f"({command} 1>&2) 2>&1 | head -n 2"])
    assert program.finish() == 0
    assert program.output().count("\n") == 2


def test_probes_are_an_interval_apart_at_the_least(lab):
    lab.start(listen, lab.server_address, to="listening")
    program = probe(lab, "-R", "-D", "0", "-i", "0.03", "-c", "4")
    assert program.finish() == 0
    assert len(table(program)) == 4
    assert float(re.search(r"time ([\d.]+) s", program.output())[1]) >= 3 * 0.03


def test_no_probe_begins_after_the_duration(lab):
    lab.start(listen, lab.server_address, to="listening")
    program = probe(lab, "-R", "-D", "0", "-i", "0.02", "--duration", "0.05")
    assert program.finish() == 0
    assert 1 <= len(table(program)) <= 3
