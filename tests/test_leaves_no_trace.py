"""However a run ends, nothing of it remains, and the host's settings are unchanged."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.inside.channel import Channel
from harness.lab import nursery
from tests.playing import AS_ROOT_OF_A_USER_NAMESPACE, GENEROUS_S, ROOT, Play, clean_environment, pytest_command

BUSY_STORY = """
import os, socket, subprocess
from pathlib import Path

def serve(address):
    listener = socket.create_server(address)
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield "listening"
    listener.accept()

def call(address):
    connection = socket.create_connection(address)
    connection.send(b"unread")
    yield "connected"
    connection.recv(1)

def test_busy(lab):
    server = lab.start(serve, lab.server_address)
    client = lab.start(call, lab.server_address)
    server.run_to("listening")
    lab.run_program(["sleep", "601"])
    client.run_to("connected")
    client.stay_blocked(in_="recv")
    Path(__file__).with_name("ready").write_text(str(os.getpid()))
    client.finish(within_s=600)
"""


LIMIT = 8
"""The limit on a user namespace's network namespaces in a test; a run needs fewer."""

COUNTED = f"""{AS_ROOT_OF_A_USER_NAMESPACE}
Path("/proc/sys/user/max_net_namespaces").write_text("{LIMIT}")
ready = Path(sys.argv[1])
run = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL)
while not ready.exists():
    time.sleep(0.01)
run.kill()
deadline = time.monotonic() + {GENEROUS_S}

have, having = os.pipe()
released, release = os.pipe()
for _ in range({LIMIT}):
    if os.fork() == 0:
        os.close(have)
        os.close(release)
        while time.monotonic() < deadline:
            try:
                namespace.unshare(namespace.CLONE_NEWNET)
            except OSError:
                time.sleep(0.01)
            else:
                os.write(having, b"1")
                os.read(released, 1)  # it holds its own while the others try
                break
        os._exit(0)
os.close(having)
count = 0
while count < {LIMIT} and os.read(have, 1):
    count += 1
print(count)
"""


@pytest.fixture
def busy(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A pytest in the middle of a story: a blocked client, a server with a child of its own, a program."""
    story = tmp_path / "story.py"
    story.write_text(BUSY_STORY)
    command = pytest_command(story, "--timeout=0", *request.param)  # a timeout would end the story by itself
    run = subprocess.Popen(command, env=clean_environment(), stdout=subprocess.DEVNULL)
    while not (tmp_path / "ready").exists():
        assert run.poll() is None
        time.sleep(0.01)
    yield run
    run.kill()
    run.wait()


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def expect_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=GENEROUS_S)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize("busy", [["-p", "no:xdist"], ["-n", "1"]], indirect=True, ids=["alone", "xdist"])
def test_sigkill_of_pytest_ends_everything(busy: subprocess.Popen[bytes]) -> None:
    started = family(busy.pid)
    lab = [process for process in started if "xdist" not in " ".join(process.cmdline())]
    assert {"sleep", "serve", "call"} <= {process.name() for process in lab}
    busy.kill()
    expect_gone(started)  # xdist's own workers as well


def test_after_sigkill_every_network_namespace_is_freed(tmp_path: Path) -> None:
    """In a user namespace with this limit, all of them can be made again at the same time."""
    story = tmp_path / "story.py"
    story.write_text(BUSY_STORY)
    command = [sys.executable, "-c", COUNTED, str(tmp_path / "ready"), *pytest_command(story, "-p", "no:xdist")]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    assert done.stdout == f"{LIMIT}\n", done.stderr


@pytest.mark.parametrize("busy", [["-p", "no:xdist"]], indirect=True)
@pytest.mark.parametrize("victim", ["nursery", "guard", "keeper"])
def test_sigkill_of_any_helper_ends_its_lab(busy: subprocess.Popen[bytes], victim: str) -> None:
    sleeper = next(process for process in family(busy.pid) if process.name() == "serve")
    keeper = sleeper.parent()
    victims = {"keeper": keeper, "guard": keeper.parent(), "nursery": keeper.parent().parent()}
    actors = [process for process in family(busy.pid) if process.name() in {"sleep", "serve", "call"}]
    assert len(actors) == 4
    busy.send_signal(signal.SIGSTOP)  # so that it cannot clean up, and the helpers must end by themselves
    victims[victim].kill()
    expect_gone(actors)


def test_a_dead_helper_fails_its_test_and_is_replaced(play: Play) -> None:
    done = play(
        "import psutil\n"
        "def test_first(lab):\n"
        "    helpers = psutil.Process().children(recursive=True)\n"
        "    helpers[0].kill()\n"
        "    assert psutil.wait_procs(helpers, 50)[1] == []\n"
        "    lab.sockets()\n"
        "def test_second(lab):\n"
        "    assert lab.sockets() == []\n",
        "-p",
        "no:xdist",
        "--lab-slow",
    )
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "the helper process died (asked to keep the lab). Hint:" in done.stdout
    assert "1 as expected, 1 not" in done.stdout


def test_a_helper_whose_pytest_is_already_gone_ends_silently() -> None:
    ours, theirs = Channel.pair()
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    boot = json.dumps([theirs.fileno(), [gone.pid], sys.path])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", nursery._BOOT, boot], capture_output=True, text=True, cwd=ROOT,
        pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
    )  # fmt: skip
    ours.close()
    theirs.close()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("busy", [["-p", "no:xdist"]], indirect=True)
def test_interrupt_ends_everything_and_pytest_reports(busy: subprocess.Popen[bytes]) -> None:
    started = family(busy.pid)
    busy.send_signal(signal.SIGINT)
    assert busy.wait() == 2
    expect_gone(started)


def settings() -> dict[str, str]:
    """Every readable sysctl of the host's network, except those that change by themselves."""
    found = {}
    for path in Path("/proc/sys/net").rglob("*"):
        if path.is_file() and "conntrack_count" not in path.name:
            try:
                found[str(path)] = path.read_text()
            except OSError:
                continue
    return found


def host_network() -> str:
    commands = [["ip", "address"], ["ip", "route", "show", "table", "all"], ["ip", "rule"], ["ip", "netns"]]
    if os.geteuid() == 0:
        commands.append(["nft", "list", "ruleset"])
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return "".join(
        subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": path}).stdout
        for command in commands
    )


def test_the_host_is_as_it_was() -> None:
    before, network = settings(), host_network()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "scenarios/closing/close_with_unread_data.py", "-q"], cwd=ROOT,
        env=clean_environment(), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert settings() == before
    assert host_network() == network
