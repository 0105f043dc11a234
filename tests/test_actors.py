"""What actors and programs hold: the time limits of their verbs, what a role sees, what is counted, who is stopped."""

import socket
import time

import pytest

from harness.errors import ExpectationFailed


def wait_for_a_call(address):
    listener = socket.create_server(address)
    yield "listening"
    listener.accept()


@pytest.fixture
def patient(lab):
    """A lab that waits long by default; `within_s` must not fall back on that."""
    lab.deadline_s = 20.0
    begun = time.monotonic()
    yield lab
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize("verb", ["run_to", "finish", "fail_with"])
def test_a_role_that_may_take_no_time_is_not_waited_for(patient, verb):
    actor = patient.start(wait_for_a_call, patient.server_address, to="listening")
    arguments = {"run_to": ["accepted"], "finish": [], "fail_with": ["ECONNRESET"]}[verb]
    with pytest.raises(ExpectationFailed, match=r"expected: +in time"):
        getattr(actor, verb)(*arguments, within_s=0)


def test_a_program_that_may_take_no_time_is_not_waited_for(patient):
    program = patient.run_program(["sleep", "600"])
    with pytest.raises(ExpectationFailed, match="sleep writes"):
        program.expect_output("done", within_s=0)
    with pytest.raises(ExpectationFailed, match="sleep ends"):
        program.finish(within_s=0)


def test_a_look_that_may_take_no_time_is_one_look(patient, monkeypatch):
    patient.start(wait_for_a_call, patient.server_address, to="listening")
    looks = []
    see = patient.sockets
    monkeypatch.setattr(patient, "sockets", lambda: looks.append(1) or see())
    for expect in (
        lambda: patient.expect_states(client="ESTABLISHED", within_s=0),
        lambda: patient.expect_socket("server", state="ESTABLISHED", within_s=0),
        lambda: patient.expect_table(within_s=0, LISTEN=2),
    ):
        with pytest.raises(ExpectationFailed):
            expect()
    assert len(looks) == 3


def test_what_is_there_already_is_seen_within_no_time(patient):
    actor = patient.start(wait_for_a_call, patient.server_address, to="listening")
    patient.expect_table(within_s=0, LISTEN=1)
    patient.expect_states(client="CLOSED", within_s=0)
    program = patient.run_program(["echo", "done"])
    assert program._has_ended(15)
    program.expect_output("done", within_s=0)
    assert program.finish(within_s=0) == 0
    actor.kill()
