"""The command `diagnose`: on a network namespace with a fault, on a healthy one under load, and its output."""

import errno
import io
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import diagnose as cli_diagnose
from harness.diagnose import live, report, signatures, snapshot
from harness.diagnose.finding import Certainty, Evidence, Finding
from harness.diagnose.report import Diagnosis
from harness.diagnose.snapshot import Snapshot
from harness.errors import LabError, LabUnavailable
from harness.evidence import holders, sockets
from harness.lessons import lessons
from harness.output import terminal
from harness.stock_roles import listen
from tests.playing import AS_ROOT_OF_A_USER_NAMESPACE, GENEROUS_S, ROOT, clean_environment, run_module
from tests.test_outcome import complaints

SCHEMA = json.loads((ROOT / "harness" / "diagnose" / "diagnosis.schema.json").read_text())
BACKLOG = 1


def connect(address, count):
    connections = [socket.create_connection(address) for _ in range(count)]
    yield "connected"
    [connection.close() for connection in connections]


def one_more(address):
    connection = socket.socket()
    connection.setblocking(False)
    yield "ready"
    connection.connect_ex(address)
    yield "SYN is sent"


@pytest.fixture
def full(lab):
    """A lab whose listener has a full accept queue, before another client comes."""
    lab.start(listen, lab.server_address, BACKLOG, to="listening")
    lab.start(connect, lab.server_address, BACKLOG + 1, to="connected")
    return lab


def diagnose(lab, *options):
    return run_module("harness", "diagnose", "--pid", str(lab.keeper_pid), *options)


def test_a_state_that_lasts_is_possible_until_its_counter_grows(full):
    done = diagnose(full, "--interval", "0.05")
    assert (done.returncode, done.stdout.splitlines()[0]) == (3, "Possible: full_accept_queue")
    assert "missing" in done.stdout


def test_a_fault_in_another_namespace_is_found_while_it_happens(full):
    """Between the two looks of one diagnosis, another client comes."""
    client = full.start(one_more, full.server_address, to="ready")
    with live.of_process(full.keeper_pid) as source:
        before = source.take()
        client.run_to("SYN is sent")
        after = source.take()
    [finding] = signatures.findings(before, after)
    assert (finding.lesson, finding.certainty) == ("full_accept_queue", Certainty.FOUND)
    assert [each.counter for each in finding.evidence] == ["", "TcpExtListenOverflows"]


def test_what_it_prints(full):
    lines = diagnose(full, "--interval", "0.05").stdout.splitlines()
    lesson = lessons.load("full_accept_queue")
    assert lines[2] == f"full_accept_queue (possible): {lesson.texts.symptom}"
    heads = [line.split("  ")[1].strip() for line in lines[3:] if line.startswith("  ")]
    assert [head for head in heads if head] == [
        "evidence", "missing", "look-alike", "cause", "cure", "look next", "lesson",
    ]  # fmt: skip
    assert lines[-1].startswith("Looked at 5 TCP sockets and ")
    assert f"of the network namespace of process {full.keeper_pid}, twice" in lines[-1]


def test_json_obeys_its_schema(full):
    found = json.loads(diagnose(full, "--interval", "0.05", "--json").stdout)
    assert list(complaints(found, SCHEMA)) == []
    assert (found["verdict"], [each["lesson"] for each in found["findings"]]) == ("possible", ["full_accept_queue"])
    assert found["findings"][0]["evidence"][0]["recv_q"] == BACKLOG + 1


def test_a_network_without_sockets_is_healthy(lab):
    done = diagnose(lab, "--interval", "0.05")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "Nothing found")
    assert "Looked at 0 TCP sockets" in done.stdout


def test_this_machine_is_looked_at_without_an_option(full):
    """It sees nothing of the lab's own namespaces: their addresses exist nowhere else."""
    done = run_module("harness", "diagnose", "--interval", "0.05", "--json")
    assert done.returncode in report_statuses()
    assert full.server_address[0] not in done.stdout


def report_statuses():
    from harness.cli.diagnose import STATUS

    return set(STATUS.values())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--pid", "1", "--netns", "a"], "--pid and --netns name two namespaces"),
        (["--netns", "../a"], "there is no network namespace '../a'"),
        (["--netns", "none-of-this-name"], "there is no network namespace"),
        (["--netns", ""], "there is no network namespace ''"),
        (["--netns", ".."], "there is no network namespace '..'"),
        (["--netns", "a" * 300], "there is no network namespace 'aaa"),
        (["--pid", str(2**22 + 1)], f"there is no process {2**22 + 1}"),
        (["--interval", "0"], "--interval 0 is out of range"),
        (["--interval", "nan"], "--interval nan is out of range"),
        (["--interval", "1e9"], "--interval 1e+09 is out of range"),
        (["extra"], "unknown option extra"),
        (["--prometheus-rules", "--pid", "1"], "--prometheus-rules looks at nothing"),
        (["--prometheus-rules", "--interval", "5"], "--prometheus-rules looks at nothing"),
        (["--prometheus-rules", "--from", "a"], "--prometheus-rules looks at nothing"),
    ],
)
def test_bad_input_ends_with_2_and_a_hint(options, says):
    done = run_module("harness", "diagnose", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Hint: " in done.stderr


def test_a_refusal_is_printed_as_json_too():
    done = run_module("harness", "diagnose", "--pid", "0", "--json")
    refused = json.loads(done.stdout)
    assert (done.returncode, refused["status"], refused["error"]) == (2, 2, done.stderr.strip())


def test_a_stale_file_of_ip_netns_is_no_namespace(tmp_path, monkeypatch):
    """As after a reboot, or an unmount by another program."""
    (tmp_path / "old").write_text("")
    monkeypatch.setattr(live, "_NAMED", tmp_path)
    with pytest.raises(LabError, match=r"old is only a file: .*Hint: see `ip netns list`"), live.named("old"):
        pass


def test_root_that_is_refused_is_not_advised_to_be_root(monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(live.os, "open", refuse)
    for user, says in ((0, "root also needs CAP_SYS_PTRACE"), (65534, "run as root")):
        monkeypatch.setattr(live.os, "geteuid", lambda user=user: user)
        with pytest.raises(LabUnavailable, match=says), live.of_process(os.getpid()):
            pass


def test_the_processes_of_another_pid_namespace_are_not_taken_for_ours():
    """After `unshare --pid` without --mount-proc, /proc/PID would be another process: its sockets, its counters."""
    script = f"""{AS_ROOT_OF_A_USER_NAMESPACE}
namespace.unshare(namespace.CLONE_NEWPID)
sys.exit(subprocess.run([sys.executable, "-m", "harness", "diagnose", "--interval", "0.01"]).returncode)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=clean_environment()
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("/proc is not that of this process's PID namespace. Hint: mount it")


def test_without_proc_it_is_unavailable(tmp_path):
    with pytest.raises(LabUnavailable):
        live.check_proc(tmp_path)


def test_a_socket_without_a_visible_owner_is_not_passed_over_in_silence():
    """In a container with a PID namespace of its own, all files of /proc can be read, and the owner is not there."""
    row = sockets.Socket(
        sockets.State.LISTEN, ("::", 80), ("::", 0), 0, 1, sockets.Timer("none", 0.0, 0), 2**60, 0, None
    )
    [unseen] = snapshot.take([row], os.getpid(), [os.getpid()], {}).unseen
    assert unseen.startswith("the processes of 1 socket: none that /proc shows")


@pytest.mark.parametrize(("term", "draws"), [("xterm", True), ("dumb", False)])
def test_a_dumb_terminal_gets_no_escape_sequences(monkeypatch, term, draws):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(terminal, "is_there", lambda: True)
    monkeypatch.setenv("TERM", term)
    cli_diagnose._wait(0.01, Snapshot(1.0, ()), "here")
    assert ("0 TCP sockets of here" in screen.getvalue(), "\x1b" in screen.getvalue()) == (draws, draws)


def test_watch_ends_once_its_reader_has_gone(lab):
    """Although nothing changes, so that it writes nothing more."""
    command = ["-m", "harness", "diagnose", "--watch", "--interval", "0.05", "--pid", str(lab.keeper_pid)]
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=clean_environment()
    ) as watching:
        try:
            assert watching.stdout.readline() == "Nothing found\n"
            watching.stdout.close()
            assert watching.wait(GENEROUS_S) == 128 + signal.SIGPIPE
        finally:
            watching.kill()


def test_watch_prints_changes_until_it_is_interrupted(full):
    """The second line comes once the queue is empty again."""
    command = [
        sys.executable,
        "-m",
        "harness",
        "diagnose",
        "--watch",
        "--interval",
        "0.05",
        "--pid",
        str(full.keeper_pid),
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=clean_environment()) as watching:
        try:
            assert watching.stdout.readline() == "Possible: full_accept_queue\n"
            full._actors[0].kill()
            while "no longer possible: full_accept_queue" not in (line := watching.stdout.readline()):
                assert line
            watching.send_signal(signal.SIGINT)
            assert watching.wait(GENEROUS_S) == 130
        finally:
            watching.kill()


# A healthy server under load -----------------------------------------------------------------------------------------

CONNECTIONS, A_BURST = 2000, 100


def serve_for_ever(address):
    listener = socket.create_server(address, backlog=4 * A_BURST)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        with connection:
            while request := connection.recv(100):
                connection.sendall(request)


def short_connections(address, count):
    for number in range(count):
        with socket.create_connection(address) as connection:
            connection.sendall(b"request")
            connection.recv(100)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
        if number % 100 == 99:
            yield f"{number + 1} connections"


def burst(address):
    connections = [socket.create_connection(address) for _ in range(A_BURST)]
    for connection in connections:
        connection.sendall(b"request")
    for connection in connections:
        connection.recv(100)
        connection.close()
    yield "answered"


def look(lab):
    rows = sockets.read(lab._keeper.table, detailed=True)
    sysctls = {key: lab.sysctl(key, default="") for key in snapshot.SYSCTLS}
    return snapshot.take(rows, lab.keeper_pid, holders.processes(lab.keeper_pid), sysctls)


def found_in(looks):
    pairs = [(looks[first], later) for first in range(len(looks)) for later in looks[first + 1 : first + 3]]
    return {finding for before, after in pairs for finding in signatures.findings(before, after)}


def test_a_busy_server_is_healthy(lab):
    """2,000 short connections, with looks between and during them: nothing is found, nor possible."""
    lab.start(serve_for_ever, lab.server_address, to="listening").resume()
    client = lab.start(short_connections, lab.server_address, CONNECTIONS)
    looks = [look(lab)]
    for number in range(100, CONNECTIONS + 1, 100):
        client.resume()
        looks.append(look(lab))  # while it runs
        client.run_to(f"{number} connections")
        looks.append(look(lab))
    assert found_in(looks) == set()
    assert sum(row.state == "TIME_WAIT" for row in looks[-1].sockets) == CONNECTIONS


def test_a_burst_and_a_restart_are_healthy(lab):
    """Clients come all at once; then the server ends and another one takes its port, while old connections linger."""
    lab.set_sysctl("net.core.somaxconn", 4 * A_BURST)
    server = lab.start(serve_for_ever, lab.server_address, to="listening")
    server.resume()
    clients = lab.start(burst, lab.server_address)
    looks = [look(lab)]
    clients.resume()
    looks.append(look(lab))
    clients.run_to("answered")
    looks.append(look(lab))
    server.kill()
    looks.append(look(lab))
    lab.start(serve_for_ever, lab.server_address, to="listening").resume()
    looks.append(look(lab))
    lab.start(short_connections, lab.server_address, 100).run_to("100 connections")
    looks.append(look(lab))
    assert found_in(looks) == set()


# What a snapshot needs -----------------------------------------------------------------------------------------------


def test_a_question_that_would_load_a_module_is_not_asked(tmp_path):
    release = tmp_path / "lib" / os.uname().release
    release.mkdir(parents=True)
    assert live.may_ask(tmp_path, tmp_path / "lib")  # no /proc/modules: this kernel has no modules
    (tmp_path / "modules").write_text("inet_diag 24576 0 - Live 0x0\n")
    assert not live.may_ask(tmp_path, tmp_path / "lib")
    (release / "modules.builtin").write_text("kernel/net/ipv4/tcp_diag.ko\n")
    assert live.may_ask(tmp_path, tmp_path / "lib")
    (release / "modules.builtin").write_text("kernel/net/ipv4/inet_diag.ko\n")
    (tmp_path / "modules").write_text("tcp_diag 12288 0 - Live 0x0\ninet_diag 24576 1 tcp_diag, Live 0x0\n")
    assert live.may_ask(tmp_path, tmp_path / "lib")


def test_without_sock_diag_it_reads_proc(full, monkeypatch):
    monkeypatch.setattr(live, "may_ask", lambda: False)
    with live.of_process(full.keeper_pid) as source:
        seen = source.take()
    assert sorted(row.state for row in seen.sockets) == ["ESTABLISHED"] * 4 + ["LISTEN"]
    assert any("tcp_diag is not loaded" in each for each in seen.unseen)


# The report ----------------------------------------------------------------------------------------------------------


def finding(lesson, *texts, because_of=()):
    evidence = tuple(Evidence(text) for text in texts or ("a row",))
    return Finding(lesson, evidence, "a look-alike", because_of=because_of)


NOTHING = Snapshot(1.0, ())
LATER = Snapshot(6.0, ())


def reported(*findings, width=0, after=LATER):
    return report.as_text(Diagnosis(findings, NOTHING, after, "here"), width)


def test_what_follows_from_another_fault_stands_below_it():
    below = finding("full_accept_queue", because_of=("too_many_open_files",))
    text = reported(below, finding("too_many_open_files"))
    assert text.splitlines()[0] == "Found: too_many_open_files, full_accept_queue"
    assert "\n  full_accept_queue (follows from the above): " in text


def test_faults_that_explain_each_other_are_both_printed():
    one = finding("full_accept_queue", because_of=("too_many_open_files",))
    other = finding("too_many_open_files", because_of=("full_accept_queue",))
    assert [(depth, each.lesson) for depth, each in report.ordered([one, other])] == [
        (0, "full_accept_queue"), (1, "too_many_open_files"),
    ]  # fmt: skip


def test_at_most_five_rows_are_printed_and_the_rest_counted():
    text = reported(finding("full_accept_queue", *(f"row {number}" for number in range(8))))
    assert "row 4\n" in text
    assert "row 5" not in text
    assert "and 3 more\n" in text


def test_a_name_cannot_move_the_cursor():
    text = reported(finding("full_accept_queue", "\x1b[2Jevil\r\n"))
    assert "?[2Jevil??" in text


def test_numbers_have_their_nouns_and_a_short_time_its_digits():
    def last_line(seconds, rows=(), **counters):
        return reported(after=Snapshot(LATER.time_s - 5 + seconds, rows, counters=counters)).splitlines()[-1]

    row = sockets.Socket(sockets.State.LISTEN, ("::", 80), ("::", 0), 0, 1, sockets.Timer("none", 0.0, 0), 0, 0, None)
    assert last_line(5, (row,), a=1).startswith("Looked at 1 TCP socket and 1 counter of here, twice, 5.0 s apart.")
    assert "0 TCP sockets and 0 counters of here, twice, 0.012 s" in last_line(0.012)


@pytest.mark.parametrize("width", [60, 80, 132])
def test_no_line_is_wider_than_the_terminal(width):
    text = reported(finding("too_many_open_files"), finding("full_accept_queue"), width=width)
    assert max(map(len, text.splitlines())) <= width


def test_what_could_not_be_seen_is_said():
    after = Snapshot(6.0, (), unseen=("the processes of 3 sockets",))
    assert reported(after=after).splitlines()[-1] == "Not seen: the processes of 3 sockets."


def test_the_command_runs_from_any_folder(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "harness"), "diagnose", "--interval", "0.01", "--json"],
        cwd=tmp_path, capture_output=True, text=True, env=clean_environment(),
    )  # fmt: skip
    assert done.stdout, done.stderr
    assert list(complaints(json.loads(done.stdout), SCHEMA)) == []
    assert list(Path(tmp_path).iterdir()) == []
