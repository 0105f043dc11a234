"""Ctrl-C at any moment: no error message, the right exit status, and nothing left running.

The moments do not depend on sleeping: the process under test counts its own function calls (sys.setprofile), or its
imports, and interrupts itself at the Nth.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.playing import ROOT, clean_environment, pytest_command

NAME = "close_with_unread_data"
pytestmark = pytest.mark.timeout(600)  # a busy machine is no failure

STORY = """
import socket

def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    raise ConnectionResetError(104, "on purpose")

def talk(address):
    client = socket.create_connection(address)
    yield "connected"
    client.recv(1)

def test_it(lab):
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(talk, lab.server_address, to="connected")
    server.run_to("accepted")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    client.stay_blocked(in_="recv")
    server.fail_with("ECONNRESET")
    client.finish()
"""

OPTIONS = ("-p", "no:xdist", "-p", "no:cacheprovider")
STORY_MOMENTS, END_MOMENTS = 18, 13

PLAYED = """
import os, signal, sys
import pytest, harness
from tests import warm

warm.prepare()
phase, folder, moments = sys.argv[1], sys.argv[2], int(sys.argv[3])
ours = os.path.dirname(harness.__file__) if phase == "story" else ""

class Counting:
    def __init__(self, at):
        self.left = at

    def count(self, frame, event, argument):
        if event in ("call", "return") and frame.f_code.co_filename.startswith(ours):
            self.left -= 1
            if self.left == 0:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

    def pytest_runtest_protocol(self):
        if phase == "story":
            sys.setprofile(self.count)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self):
        try:
            return (yield)
        finally:
            sys.setprofile(self.count if phase == "end" else None)

def run(at):
    # Interrupted at call number `at`, and at none if that is 0. Returns how many calls it had, and its status.
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        out = os.open(f"{folder}/{at}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        sys.argv[0] = pytest.__file__  # as if it were pytest's own process
        counting = Counting(at)
        status = pytest.main(sys.argv[4:], plugins=[counting])
        sys.setprofile(None)
        os.write(writer, f"{at - counting.left}".encode())
        sys.exit(status if counting.left <= 0 else 99)
    os.close(writer)
    calls = os.read(reader, 100)
    os.close(reader)
    return calls, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

calls = min(int(run(0)[0]) for _ in range(2)) * 8 // 10  # less: it may wait in fewer turns next time
os.unlink(f"{folder}/0")
for number in range(moments):
    at = 1 + calls * number // moments
    print(at, run(at)[1], flush=True)
"""


@pytest.mark.parametrize(("phase", "moments"), [("story", STORY_MOMENTS), ("end", END_MOMENTS)], ids=["story", "end"])
def test_an_interrupt_ends_a_run_without_an_error_message(tmp_path: Path, phase: str, moments: int) -> None:
    """A run that does not reach its moment exits with 99, because it would show nothing."""
    (tmp_path / "story.py").write_text(STORY)
    (out := tmp_path / "out").mkdir()
    options = pytest_command(tmp_path / "story.py", *OPTIONS, f"--basetemp={tmp_path}/t")[3:]
    command = [sys.executable, "-c", PLAYED, phase, str(out), str(moments), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), cwd=ROOT)
    assert done.stderr == ""
    told = {path.name: path.read_text() for path in out.iterdir()}
    statuses = dict(line.split() for line in done.stdout.splitlines())
    assert len(statuses) == moments
    # Python ignores an exception in a generator that it is closing, so such an interrupt is lost.
    swallowed = {at for at, text in told.items() if "Exception ignored in: <generator" in text}
    assert len(swallowed) <= 2
    seen = {at: (status, told[at]) for at, status in statuses.items() if at not in swallowed}
    assert {at: each for at, each in seen.items() if each[0] != "2"} == {}
    complaints = re.compile("Traceback|INTERNALERROR|ignored in|died")
    assert {at: text for at, (_, text) in seen.items() if complaints.search(text)} == {}


IMPORTS = """
import os, runpy, signal, sys

class Counting:
    left = 0

    def find_spec(self, name, path=None, target=None):
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # the command has begun
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)

counting = Counting()
sys.meta_path.insert(0, counting)
folder, moments = sys.argv[1], [int(each) for each in sys.argv[2].split(",")]
for at in moments:
    if (pid := os.fork()) == 0:
        out = os.open(f"{folder}/{at}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1), os.dup2(out, 2)
        counting.left = at
        sys.argv[1:] = sys.argv[3:]
        runpy.run_module("harness", run_name="__main__", alter_sys=True)
    print(at, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.mark.parametrize("command", [["list"], ["explain", "--before", "kernel", "/dev/null"], ["--help"]])
def test_a_command_interrupted_at_its_start_is_silent(tmp_path: Path, command: list[str]) -> None:
    moments = (1, 2, 3, 5, 8, 13, 21, 30)
    run = [sys.executable, "-c", IMPORTS, str(tmp_path), ",".join(map(str, moments)), *command]
    done = subprocess.run(run, capture_output=True, text=True, env=clean_environment(), cwd=ROOT)
    assert done.stderr == ""
    assert done.stdout == "".join(f"{at} 130\n" for at in moments)
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.read_text()} == {}


def is_a_lab_there(process: psutil.Process) -> bool:
    try:
        return any("-I" in each.cmdline() and each.children(recursive=True)[1:] for each in family(process))
    except psutil.NoSuchProcess:
        return False


def family(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


COMMANDS = {
    "lesson": ["-m", "harness", "lesson", "waits_as_configured"],
    "lesson as a page": ["-m", "harness", "lesson", "waits_as_configured", "--html", "{page}"],
    "quiz": ["-m", "harness", "quiz", "waits_as_configured"],
    "whatif": ["-m", "harness", "whatif", "--before", "reference", "--plays", "30", "{conf}"],
    "pytest": ["-m", "pytest", "-p", "no:xdist", "-q", "scenarios/sysctls/waits_as_configured.py"],
    "pytest with workers": ["-m", "pytest", "-n", "2", "-q", "scenarios/sysctls/waits_as_configured.py"],
}


@pytest.mark.parametrize("whom", ["all", "alone"])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupt_while_stories_are_played(tmp_path: Path, name: str, whom: str) -> None:
    """To all processes of the terminal's group, like Ctrl-C, or only to the command (kill -INT)."""
    (tmp_path / "a.conf").write_text("net.ipv4.tcp_fin_timeout = 9\n")
    (temporary := tmp_path / "temporary").mkdir()
    names = {"page": str(tmp_path / "page.html"), "conf": str(tmp_path / "a.conf")}
    (tmp_path / "in").write_text("1\n")
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err, (tmp_path / "in").open() as answer:
        run = psutil.Popen(
            [sys.executable, *(each.format(**names) for each in COMMANDS[name])], stdin=answer, stdout=out, stderr=err,
            cwd=ROOT, env=clean_environment() | {"TMPDIR": str(temporary)}, start_new_session=True,
        )  # fmt: skip
        while not is_a_lab_there(run):
            assert run.poll() is None, (tmp_path / "err").read_text()
        started = family(run)
        os.killpg(run.pid, signal.SIGINT) if whom == "all" else run.send_signal(signal.SIGINT)
        status = run.wait(300)
    told = (tmp_path / "out").read_text() + (tmp_path / "err").read_text()
    assert status == (2 if "pytest" in name else 130), told
    progress = r"whatif: .*\n|\d+ of \d+ plays after \d+ s\n" if name == "whatif" else ""
    assert re.sub(progress, "", (tmp_path / "err").read_text()) == ""
    assert not re.search("Traceback|INTERNALERROR|ignored in|died", told), told
    assert [each for each in psutil.wait_procs(started, 60)[1] if each.status() != psutil.STATUS_ZOMBIE] == []
    assert "pytest" in name or not any(temporary.glob("tmp*"))


def test_an_interrupt_at_a_question(tmp_path: Path) -> None:
    with psutil.Popen(
        [sys.executable, "-m", "harness", "quiz", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=ROOT, env=clean_environment(),
    ) as run:  # fmt: skip
        seen = b""
        while not seen.endswith(b"1 to 3: "):
            seen += run.stdout.read1()
        run.send_signal(signal.SIGINT)
        assert (run.wait(300), run.stderr.read()) == (130, b"")
