"""Stepping by hand, through a pseudo-terminal; the commands that it shows are run."""

import contextlib
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from harness.inside.installed import find_program
from tests.playing import ROOT, clean_environment

PROMPT = "Enter: "
STEPS = 8
STEP = [sys.executable, "-m", "harness", "step"]
COMMAND = [*STEP, "close_with_unread_data"]


class Terminal:
    """A program at a terminal, with a user who reads and types."""

    def __init__(self, scenario: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*STEP, scenario], cwd=ROOT, env=clean_environment(), stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)

    def read_to(self, text: str) -> str:
        """Everything up to `text`, or up to the program's end."""
        seen = ""
        while text not in seen:
            try:
                seen += os.read(self._ours, 4096).decode(errors="replace")
            except OSError:  # EIO: the terminal's last process is gone
                break
        return seen

    def enter(self) -> None:
        os.write(self._ours, b"\n")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    program = Terminal("close_with_unread_data")
    yield program
    program.close()


def test_it_waits_before_each_step_and_shows_how_to_look_inside(terminal: Terminal, lab) -> None:  # type: ignore[no-untyped-def]
    find_program("nsenter", "util-linux")
    greeting = terminal.read_to(PROMPT)
    ways_in = re.findall(r"^  (.* -.*?) +#", greeting.replace("\r", ""), re.M)
    assert [way.split()[-2:] for way in ways_in] == [["ss", "-tanpoe"], ["nstat", "-azs"], ["lo", "tcp"]]
    assert 'serve starts, and runs to "listening":' in greeting
    assert re.search(r"serve\(address=\('192.0.2.2', 80\d\d\), read_bytes=0\)", greeting)
    assert re.search(r"^ +\d+ +listener = socket.create_server\(address\)\r?$", greeting, re.M)
    terminal.enter()
    assert "server:" in terminal.read_to(PROMPT)
    inside = subprocess.run(shlex.split(ways_in[0]), capture_output=True, text=True, env=clean_environment())
    assert inside.returncode == 0, inside.stderr
    assert re.search(r"^LISTEN .*192\.0\.2\.2:80\d\d", inside.stdout, re.M)
    assert "ESTAB" not in inside.stdout
    assert "TcpExtListenOverflows " in subprocess.run(shlex.split(ways_in[1]), capture_output=True, text=True).stdout
    find_program("tcpdump")
    with subprocess.Popen(shlex.split(ways_in[2]), stderr=subprocess.PIPE, text=True) as capture:
        assert capture.stderr
        assert any("listening on lo" in line for line in capture.stderr), "tcpdump must be able to capture"
        capture.terminate()
    entered = 1
    while True:
        terminal.enter()
        entered += 1
        if " RA " in (seen := terminal.read_to(PROMPT)):
            break
        before = seen
        assert entered < STEPS, seen
    assert entered == STEPS
    assert 'request runs from "half closed" to its end:' in before
    assert re.search(r"^ +\d+ +connection.recv\(1\)\r?$", before, re.M)
    assert terminal.process.wait() == 0


def test_it_names_each_possible_next_step_and_shows_the_source(play) -> None:  # type: ignore[no-untyped-def]
    """Also for a role that delegates to another generator, which waits at a line of its own."""
    done = play(
        """
def hand_over(address, closes):
    yield "begun"
    return (yield from close(address, closes))

def close(address, closes):
    yield "in the other"
    if closes:
        yield "closed"
    yield "left"

def test_it(lab):
    lab.start(hand_over, lab.server_address, False).finish()
""",
        "--lab-step",
        "-s",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    moves = re.findall(r"^hand_over .*:$", done.stdout, re.M)
    assert moves == [
        'hand_over starts, and runs to "begun":',
        'hand_over runs from "begun" to a step of close(address, closes):',
        'hand_over runs from "in the other" to "closed" or "left":',
        'hand_over runs from "left" to the end of close():',
    ]


def test_in_chinese_it_prints_the_same() -> None:
    done = subprocess.run(
        [*COMMAND, "--lang", "zh"], cwd=ROOT, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "serve 启动，运行到“listening”：" in done.stdout
    assert "serve 从“ready to close”运行到“closed”：" in done.stdout
    assert "request 从“half closed”运行到结束：" in done.stdout


def stepped(play, *arguments: str) -> subprocess.CompletedProcess[str]:  # type: ignore[no-untyped-def]
    """Two moves in a story with a timeout of a tenth of a second."""
    done: subprocess.CompletedProcess[str] = play(
        """
import time
import pytest

def wait():
    time.sleep(0.2)
    yield "waited"

@pytest.mark.timeout(0.1)
def test_it(lab):
    lab.start(wait).run_to("waited")
""",
        "--lab-step",
        *arguments,
    )
    return done


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [([], "Hint: add -s"), (["--capture=tee-sys"], "Hint: add -s"), (["-s", "-n", "1"], "Hint: remove -n")],
)
def test_without_a_terminal_it_is_a_usage_error(play, arguments: list[str], hint: str) -> None:  # type: ignore[no-untyped-def]
    done = stepped(play, *arguments)
    assert done.returncode == 4, done.stdout
    assert "--lab-step waits for Enter" in done.stderr
    assert hint in done.stderr


@pytest.mark.parametrize("arguments", [["-s"], ["-s", "-n", "0"], ["-s", "-p", "no:xdist"]])
def test_a_reader_may_take_their_time(play, arguments: list[str]) -> None:  # type: ignore[no-untyped-def]
    done = stepped(play, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert PROMPT in done.stdout


def test_at_the_end_of_the_input_it_continues() -> None:
    done = subprocess.run(
        COMMAND, cwd=ROOT, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(PROMPT) == STEPS
    assert "FIN_WAIT2, Recv-Q 0" in done.stdout


def test_with_a_router_it_shows_the_way_into_each_network_namespace() -> None:
    find_program("nsenter", "util-linux")
    with contextlib.closing(Terminal("mtu_black_hole")) as terminal:
        greeting = terminal.read_to(PROMPT).replace("\r", "")
        assert re.findall(r"^  on the (\w+):$", greeting, re.M) == ["router", "client", "server"]
        ways_in = [way for way in re.findall(r"^  (.* -.*?) +#", greeting, re.M) if way.endswith("ss -tanpoe")]
        networks = [re.sub(r"ss -tanpoe$", "readlink /proc/self/ns/net", way) for way in ways_in]
        seen = {subprocess.run(shlex.split(way), capture_output=True, text=True).stdout for way in networks}
        assert len(seen) == 3
