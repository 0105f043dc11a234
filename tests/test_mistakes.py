"""Beginners' mistakes in a scenario: each ends in one error with the problem and the remedy."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.playing import run_pytest

STORIES = """
import ctypes, os, signal, socket, subprocess, sys, threading, time
from enum import StrEnum
from types import SimpleNamespace
from xmlrpc.client import ProtocolError

import pytest

kept = SimpleNamespace(lab=None, actor=None)

class Step(StrEnum):
    READY = "ready"

class Answer:
    pass

def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"

def talk(address):
    socket.create_connection(address)
    yield "connected"

def wait():
    yield "ready"
    signal.pause()

def two_steps():
    yield "first"
    yield "second"

def no_yield(address):
    return socket.create_server(address)

def yield_the_socket(address):
    yield socket.create_server(address)

def yield_nothing():
    yield

def yield_finished():
    yield "finished"

def say_twice():
    yield "ready"
    yield "ready"

def leave(how):
    yield "ready"
    how()

def leave_by_exit():
    yield "ready"
    sys.exit(3)

def leave_by_os_exit():
    yield "ready"
    os._exit(0)

def be_interrupted():
    yield "ready"
    raise KeyboardInterrupt

def reach_the_end_of_the_file():
    yield "ready"
    input()

def crash():
    yield "ready"
    ctypes.string_at(0)

def chatter():
    yield "ready"
    for _ in range(64):
        print("words " * 10000)
    raise ValueError("after many words")

def return_a_socket(address):
    yield "ready"
    return socket.create_server(address)

def return_an_own_class():
    yield "ready"
    return Answer()

def return_an_error_that_does_not_travel():
    yield "ready"
    return ProtocolError("localhost", 500, "broken", {})  # pickle cannot make it anew

def return_megabytes():
    yield "ready"
    return bytes(1 << 20)

def close_stdout():
    os.close(1)
    yield "ready"
    print("words", flush=True)

def close_all():
    os.closerange(3, 256)
    yield "ready"

def close_all_and_go_on(address):
    os.closerange(0, 256)
    listener = socket.create_server(address)
    listener.accept()
    yield "accepted"

def close_all_and_take_the_channels_number(address):
    os.closerange(3, 256)
    held = [socket.create_server((address[0], address[1] + n)) for n in range(40)]
    yield "ready"

def become_a_program():
    yield "ready"
    os.execvp("sleep", ["sleep", "600"])

def fork_and_go_on():
    if child := os.fork():
        os.waitpid(child, 0)  # the child comes to the step first, and the parent does not end before that
    yield "forked"

def fork_and_return():
    yield "ready"
    if os.fork() == 0:
        sys.exit(0)
    time.sleep(600)

def fork_and_let_the_child_speak_last():
    yield "ready"
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        os.read(reading, 1)  # it goes on once its parent has ended

def become_a_daemon():
    yield "ready"
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.pause()

def ask_for_pytest(address):
    yield "ready"
    pytest.fail("not here")

@pytest.fixture(autouse=True)
def impatient(lab):
    lab.deadline_s = 50.0

def test_start_with_a_lambda(lab):
    lab.start(lambda: (yield "ready"))

def test_start_with_a_called_role(lab):
    lab.start(serve(lab.server_address))

def test_start_with_a_name(lab):
    lab.start("serve", lab.server_address)

def test_start_without_yield(lab):
    lab.start(no_yield, lab.server_address)

def test_start_without_arguments(lab):
    lab.start(serve)

def test_start_with_too_many_arguments(lab):
    lab.start(serve, lab.server_address, 5)

def test_start_with_the_lab(lab):
    lab.start(serve, lab)

def test_yield_the_socket(lab):
    lab.start(yield_the_socket, lab.server_address).run_to("listening")

def test_yield_nothing(lab):
    lab.start(yield_nothing).finish()

def test_yield_finished(lab):
    lab.start(yield_finished).finish()

def test_a_step_of_two_names(lab):
    lab.start(say_twice).finish()
    lab.wire(since="ready")

def test_a_step_that_was_passed(lab):
    actor = lab.start(two_steps, to="second")
    actor.run_to("first")

def test_a_step_that_was_passed_and_the_role_blocks(lab):
    actor = lab.start(serve, lab.server_address, to="listening")
    actor.stay_blocked(in_="accept")
    lab.deadline_s = 0.2
    actor.run_to("listening")

def test_exit(lab):
    lab.start(leave_by_exit).finish()

def test_os_exit(lab):
    lab.start(leave_by_os_exit).finish()

def test_interrupt(lab):
    lab.start(be_interrupted).finish()

def test_end_of_the_file(lab):
    lab.start(reach_the_end_of_the_file).finish()

def test_crash(lab):
    lab.start(crash).finish()

def test_chatter(lab):
    lab.start(chatter).finish()

def test_return_a_socket(lab):
    lab.start(return_a_socket, lab.server_address).finish()

def test_return_an_own_class(lab):
    lab.start(return_an_own_class).finish()

def test_return_an_error_that_does_not_travel(lab):
    lab.start(return_an_error_that_does_not_travel).finish()

def test_return_megabytes(lab):
    lab.start(return_megabytes).finish()

def test_close_stdout(lab):
    lab.start(close_stdout).finish()

def test_close_all(lab):
    lab.start(close_all).run_to("ready")

def test_close_all_unseen(lab):
    lab.start(wait).run_to("ready")
    lab.start(close_all_and_go_on, lab.server_address).resume()
    lab.expect_table(LISTEN=1)

def test_close_all_and_go_on(lab):
    lab.start(close_all_and_go_on, lab.server_address).run_to("accepted")

def test_close_all_and_block(lab):
    lab.start(close_all_and_go_on, lab.server_address).stay_blocked(in_="accept", for_s=4)

def test_close_all_and_take_the_channels_number(lab):
    lab.start(close_all_and_take_the_channels_number, lab.server_address).run_to("ready")

def test_become_a_program(lab):
    lab.start(become_a_program).finish()

def test_fork_and_go_on(lab):
    lab.start(fork_and_go_on).finish()

def test_fork_and_return(lab):
    lab.start(fork_and_return).finish()

def test_fork_and_let_the_child_speak_last(lab):
    actor = lab.start(fork_and_let_the_child_speak_last)
    actor.finish()
    lab.deadline_s = 5.0
    from harness.lab.program import readable
    assert readable(actor._channel.fileno(), within_s=50.0)

def test_become_a_daemon(lab):
    lab.start(become_a_daemon).finish()

def test_ask_for_pytest(lab):
    lab.start(ask_for_pytest, lab.server_address).finish()

def test_killed_at_a_step(lab):
    actor = lab.start(two_steps, to="first")
    os.kill(actor.pid, signal.SIGKILL)
    assert actor._has_ended(50)
    actor.run_to("second")

def test_killed_at_a_step_and_resumed(lab):
    actor = lab.start(two_steps, to="first")
    os.kill(actor.pid, signal.SIGKILL)
    assert actor._has_ended(50)
    actor.resume()

def test_killed_at_a_step_and_left(lab):
    actor = lab.start(two_steps, to="first")
    os.kill(actor.pid, signal.SIGKILL)
    assert actor._has_ended(50)

def test_used_after_kill(lab):
    actor = lab.start(two_steps, to="first")
    actor.kill()
    actor.run_to("second")

def test_stopped_after_kill(lab):
    actor = lab.start(two_steps, to="first")
    actor.kill()
    actor.stop()

def test_used_after_its_end(lab):
    actor = lab.start(two_steps)
    actor.finish()
    actor.finish()

def test_nothing_was_run(lab):
    lab.start(serve, lab.server_address)
    lab.start(talk, lab.server_address)
    assert lab.wire() == []

def test_nothing_was_run_only_killed(lab):
    lab.start(serve, lab.server_address).kill()

def test_nothing_was_run_and_the_test_fails(lab):
    lab.start(serve, lab.server_address)
    assert lab.wire() == ["client S"]

def test_the_server_never_ran(lab):
    lab.start(serve, lab.server_address)
    lab.start(talk, lab.server_address, to="connected")

def test_the_server_never_ran_and_another_error_is_expected(lab):
    lab.start(serve, lab.server_address)
    lab.start(talk, lab.server_address).fail_with("ECONNRESET")

def test_kept_for_the_next_test(lab):
    kept.lab, kept.actor = lab, lab.start(two_steps, to="first")

def test_look_after_the_test(lab):
    kept.lab.wire()

def test_start_after_the_test(lab):
    kept.lab.start(two_steps)

def test_sockets_after_the_test(lab):
    kept.lab.sockets()

def test_counter_after_the_test(lab):
    kept.lab.counter("TcpExtTW")

def test_move_after_the_test(lab):
    kept.actor.run_to("second")

def test_of_two_labs(lab):
    lab.start(two_steps, to="first")
    assert lab is not kept.lab

def test_steps_of_a_str_enum(lab):
    assert lab.start(lambda_free_enum, to="ready")

def lambda_free_enum():
    os.chdir("/")
    yield Step.READY
"""

GREEN = {"test_kept_for_the_next_test", "test_of_two_labs", "test_steps_of_a_str_enum"}

WANTED = {
    "test_start_with_a_lambda": ["another process cannot import ", "<lambda>. Hint: define it"],
    "test_start_with_a_called_role": ["serve(...) was called", "Hint: ", "lab.start(serve, ...)"],
    "test_start_with_a_name": ["'serve' is not a role", "Hint: "],
    "test_start_without_yield": ["no_yield is not a role", "Hint: `yield` the name of a step"],
    "test_start_without_arguments": ["serve() does not take these arguments", "'address'", "Hint: "],
    "test_start_with_too_many_arguments": ["serve() does not take these arguments", "too many", "Hint: "],
    "test_start_with_the_lab": ["the role's arguments cannot be sent", "Hint: pass plain values"],
    "test_yield_the_socket": ["a role yields the name of a step, not <socket", "Hint: yield a string"],
    "test_yield_nothing": ["a role yields the name of a step, not None", "Hint: yield a string"],
    "test_yield_finished": ["'finished' is reserved for a role's end", "Hint: "],
    "test_a_step_of_two_names": ["2 steps are called 'ready'", "Hint: "],
    "test_a_step_that_was_passed": ["the role's end", "it had already passed 'first'", "Hint: "],
    "test_a_step_that_was_passed_and_the_role_blocks": ["sleeps in ", "it had already passed 'listening'", "Hint: "],
    "test_exit": ["SystemExit: 3", "sys.exit(3)", "Hint: return"],
    "test_os_exit": ["ended without a report (exit status 0)", "Hint: "],
    "test_interrupt": ["last seen: KeyboardInterrupt, after step 'ready'", "raise KeyboardInterrupt"],
    "test_end_of_the_file": ["EOFError", "input()"],
    "test_crash": ["ended without a report (signal SIGSEGV)", "Hint: ", "Segmentation fault", "in crash"],
    "test_chatter": ["ValueError: after many words", "words words"],
    "test_return_a_socket": ["the role's result cannot be sent", "Hint: return plain values"],
    "test_return_an_own_class": ["the role's result cannot be sent", "Hint: return plain values"],
    "test_return_an_error_that_does_not_travel": ["cannot be read outside", "Hint: return plain values"],
    "test_return_megabytes": ["the role's result cannot be sent", "too many for one message", "Hint: "],
    "test_close_stdout": ["EBADF", "print("],
    "test_close_all": ["closed the channel", "os.closerange", "Hint: "],
    "test_close_all_unseen": ["closed the channel", "Hint: "],
    "test_close_all_and_go_on": ["closed the channel", "Hint: "],
    "test_close_all_and_block": ["closed the channel", "Hint: "],
    "test_close_all_and_take_the_channels_number": ["closed the channel", "Hint: "],
    "test_become_a_program": ["closed the channel", "exec", "Hint: ", "lab.run_program"],
    "test_fork_and_go_on": ["forked, and both processes run on", "Hint: ", "os._exit"],
    "test_fork_and_return": ["forked, and both processes run on", "SystemExit", "Hint: ", "os._exit"],
    "test_fork_and_let_the_child_speak_last": ["forked, and both processes run on", "Hint: "],
    "test_become_a_daemon": ["ended without a report (exit status 0)", "Hint: "],
    "test_ask_for_pytest": ["a role cannot use pytest", "Hint: ", "pytest.fail("],
    "test_killed_at_a_step": ["ended without a report (signal SIGKILL)", "after step 'first'", "Hint: "],
    "test_killed_at_a_step_and_resumed": ["ended without a report (signal SIGKILL)", "Hint: "],
    "test_killed_at_a_step_and_left": ["ended without a report (signal SIGKILL)", "Hint: "],
    "test_used_after_kill": ["two_steps has ended", "Hint: start another actor"],
    "test_stopped_after_kill": ["two_steps has ended", "Hint: "],
    "test_used_after_its_end": ["two_steps has ended", "Hint: start another actor"],
    "test_nothing_was_run": ["serve, talk", "never run", "Hint: ", 'run_to("'],
    "test_nothing_was_run_only_killed": ["serve", "never run", "Hint: "],
    "test_nothing_was_run_and_the_test_fails": ["client S"],
    "test_the_server_never_ran": ["ECONNREFUSED", "serve: started but never run", "Hint: ", 'run_to("'],
    "test_the_server_never_ran_and_another_error_is_expected": ["ECONNREFUSED", "serve: started but never"],
    "test_look_after_the_test": ["this lab is closed", "Hint: "],
    "test_start_after_the_test": ["this lab is closed", "Hint: "],
    "test_sockets_after_the_test": ["this lab is closed", "Hint: "],
    "test_counter_after_the_test": ["this lab is closed", "Hint: "],
    "test_move_after_the_test": ["two_steps has ended", "Hint: start another actor"],
}  # fmt: skip


@pytest.fixture(scope="module")
def troubles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, str]]]:
    """By story: each failure or error that pytest reports for it, as a one-line message and as the whole text."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "stories.py").write_text(STORIES)
    result = folder / "result.xml"
    options = ("--lab-slow", f"--junitxml={result}", "-o", "junit_family=xunit1")
    run_pytest(folder / "stories.py", *options)
    told: dict[str, list[tuple[str, str]]] = {}
    for case in ElementTree.parse(result).iter("testcase"):
        texts = [(each.get("message") or "", each.text or "") for each in case if each.tag in ("failure", "error")]
        told.setdefault(case.get("name", ""), []).extend(texts)
    return told


@pytest.mark.parametrize("story", WANTED)
def test_a_mistake_is_one_clear_error(troubles: dict[str, list[tuple[str, str]]], story: str) -> None:
    [(message, text)] = troubles[story]
    for wanted in WANTED[story]:
        assert wanted in message + text, message
    assert not re.search(r"harness/(?!errors)\S+\.py:\d+", text), "a traceback of the harness"


def test_correct_scenarios_pass(troubles: dict[str, list[tuple[str, str]]]) -> None:
    assert {story for story, found in troubles.items() if not found} == GREEN
    assert set(troubles) == GREEN | set(WANTED)


STARTS_A_THREAD = """
import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()

def role():
    yield "ready"

def test_first(lab):
    lab.start(role, to="ready")

def test_second(lab):
    lab.start(role, to="ready")

def test_twice_in_one_lab(lab):
    import pytest
    from harness.errors import LabError
    for _ in range(2):
        with pytest.raises(LabError, match="starts a thread"):
            lab.start(role)
"""


def test_only_a_file_that_starts_a_thread_is_refused_each_time(tmp_path: Path) -> None:
    (tmp_path / "a_thread.py").write_text(STARTS_A_THREAD)
    (tmp_path / "b_none.py").write_text(
        'def role():\n    yield "ready"\n\ndef test_it(lab):\n    lab.start(role, to="ready")\n'
    )
    done = run_pytest(tmp_path / "a_thread.py", str(tmp_path / "b_none.py"), "--lab-slow")
    assert "2 failed, 2 passed" in done.stdout, done.stdout
    assert len(re.findall(r"^E .*importing a_thread.py starts a thread.* Hint: ", done.stdout, re.M)) == 2
