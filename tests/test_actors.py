"""Actors and programs: the time limits of their verbs, the fds of a role, elapsed times, and stopping."""

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from harness.errors import ExpectationFailed
from harness.lab import expect
from tests.playing import GENEROUS_S


def wait_for_a_call(address):
    listener = socket.create_server(address)
    yield "listening"
    listener.accept()


@pytest.fixture
def patient(lab):
    """A lab with a long default deadline, which `within_s` must override."""
    lab.deadline_s = 10 * GENEROUS_S
    begun = time.monotonic()
    yield lab
    assert time.monotonic() - begun < 5 * GENEROUS_S


@pytest.mark.parametrize("verb", ["run_to", "finish", "fail_with"])
def test_with_a_deadline_of_0_a_role_is_not_waited_for(patient, verb):
    actor = patient.start(wait_for_a_call, patient.server_address, to="listening")
    arguments = {"run_to": ["accepted"], "finish": [], "fail_with": ["ECONNRESET"]}[verb]
    with pytest.raises(ExpectationFailed, match=r"expected: +in time"):
        getattr(actor, verb)(*arguments, within_s=0)


def test_with_a_deadline_of_0_a_program_is_not_waited_for(patient):
    program = patient.run_program(["sleep", "600"])
    with pytest.raises(ExpectationFailed, match="sleep writes"):
        program.expect_output("done", within_s=0)
    with pytest.raises(ExpectationFailed, match="sleep ends"):
        program.finish(within_s=0)


def test_a_deadline_of_0_means_one_look(patient, monkeypatch):
    patient.start(wait_for_a_call, patient.server_address, to="listening")
    looks = []
    see = patient.sockets
    monkeypatch.setattr(patient, "sockets", lambda: looks.append(1) or see())
    for expect_in_no_time in (
        lambda: patient.expect_states(client="ESTABLISHED", within_s=0),
        lambda: patient.expect_socket("server", state="ESTABLISHED", within_s=0),
        lambda: patient.expect_table(within_s=0, LISTEN=2),
    ):
        with pytest.raises(ExpectationFailed):
            expect_in_no_time()
    assert len(looks) == 3


def test_with_a_deadline_of_0_existing_states_are_seen(patient):
    actor = patient.start(wait_for_a_call, patient.server_address, to="listening")
    patient.expect_table(within_s=0, LISTEN=1)
    patient.expect_states(client="CLOSED", within_s=0)
    program = patient.run_program(["echo", "done"])
    assert program._has_ended(GENEROUS_S)
    program.expect_output("done", within_s=0)
    assert program.finish(within_s=0) == 0
    actor.kill()


def pass_three_steps():
    yield "first"
    yield "second"
    yield "third"


def test_the_time_that_an_actor_waits_at_a_step_does_not_count(lab):
    """All time was spent in this test or in the role: if a part counts twice, the sum is too large."""
    actor = lab.start(pass_three_steps, to="first")
    begun = time.monotonic()
    time.sleep(0.5)  # longer than the harness takes to run an actor; on a busier machine, smaller errors go unnoticed
    first_s = time.monotonic() - begun
    actor.run_to("second")
    parked_at_second = time.monotonic()
    time.sleep(0.5)
    second_s = time.monotonic() - parked_at_second
    actor.run_to("third")
    all_s = time.monotonic() - begun
    for since, until in (("first", "second"), ("second", "third")):
        assert 0.0 <= actor.elapsed_s(since, until) <= all_s - first_s - second_s


def test_an_actor_s_time_begins_with_its_first_move(lab):
    actor = lab.start(pass_three_steps)
    begun = time.monotonic()
    time.sleep(0.5)
    waited_s = time.monotonic() - begun
    actor.run_to("first")
    assert 0.0 <= actor.elapsed_s("(not started)", "first") <= time.monotonic() - begun - waited_s


def list_descriptors():
    """Each open fd and its target, except the fd that lists them."""
    yield "ready"
    open_ones = {}
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            open_ones[int(fd)] = os.readlink(f"/proc/self/fd/{fd}").partition(":")[0]
    return open_ones


@pytest.mark.parametrize("others", [0, 3])
def test_an_actor_has_four_descriptors(lab, others):
    """Stdin, stdout, stderr and its channel: no fd of the keeper or of another actor, which would stay open."""
    for _ in range(others):
        lab.start(wait_for_a_call, lab.client_address(0), to="listening")
    lab.folder()
    descriptors = lab.start(list_descriptors, to="ready").finish()
    channel = [fd for fd, what in descriptors.items() if what == "socket"]
    assert descriptors == {0: "/dev/null", 1: "/memfd", 2: "/memfd", channel[0]: "socket"}


def test_a_program_has_three_descriptors(lab):
    lab.start(wait_for_a_call, lab.server_address, to="listening")
    program = lab.run_program(["ls", "/proc/self/fd"])
    assert program.finish() == 0
    assert program.output().split() == ["0", "1", "2", "3"], "the last one is ls's own"


def start_a_program_that_never_begins(fifo):
    """posix_spawn() opens the FIFO in the child, before exec; until then the parent's thread cannot be stopped."""

    def spawn():
        os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 5, fifo, os.O_RDONLY, 0)])

    yield "ready"
    thread = threading.Thread(target=spawn)
    thread.start()
    thread.join()


def test_stop_waits_until_every_thread_is_stopped(lab, tmp_path):
    """kernel/fork.c, wait_for_vfork_done: while a parent waits for its child, SIGSTOP does not reach it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    fifo.chmod(0o666)
    tmp_path.chmod(0o755)
    actor = lab.start(start_a_program_that_never_begins, str(fifo), to="ready")
    actor.resume()
    expect.poll("a thread waits for its child", True, lambda: "D" in states_of_threads(actor.pid), within_s=GENEROUS_S)
    lab.deadline_s = 0.3
    with pytest.raises(ExpectationFailed, match="is stopped"):
        actor.stop()
    expect.poll(
        "one of two stands still", ["D", "T"], lambda: sorted(states_of_threads(actor.pid)), within_s=GENEROUS_S
    )
    with fifo.open("w"):
        lab.deadline_s = 20.0
        actor.stop()
        assert states_of_threads(actor.pid) == ["T", "T"]
    actor.resume_process()
    assert actor.finish() is None


def states_of_threads(pid):
    stats = [Path(f"/proc/{pid}/task/{task}/stat").read_text() for task in os.listdir(f"/proc/{pid}/task")]
    return [stat.rpartition(")")[2].split()[0] for stat in stats]
