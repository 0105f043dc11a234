"""Deliberate failures: each message has what was expected, what was seen, and a remedy."""

import re
from xml.etree import ElementTree

import pytest

from tests.playing import Play, run_pytest

STORIES = """
import os, signal, socket
import pytest

def listen(address):
    listener = socket.create_server(address)
    yield "listening"
    listener.accept()
    yield "accepted"

def talk(address):
    client = socket.create_connection(address)
    yield "connected"

def crash():
    yield "calm"
    raise ValueError("a role of bad temper")

def die():
    yield "alive"
    os.kill(os.getpid(), signal.SIGKILL)

def yield_a_number():
    yield 7

def return_too_much():
    yield "ready"
    return b"x" * 100_000

def print_and_fail():
    print("words on stdout", flush=True)
    yield "printed"
    raise ConnectionResetError(104, "on purpose")

def no_generator(address):
    return 1

def test_wire(lab):
    server = lab.start(listen, lab.server_address)
    client = lab.start(talk, lab.server_address)
    server.run_to("listening")
    client.run_to("connected")
    assert lab.wire(since="listening") == ["client S", "server RA"]

def test_states(lab):
    server = lab.start(listen, lab.server_address)
    client = lab.start(talk, lab.server_address)
    server.run_to("listening")
    client.run_to("connected")
    lab.deadline_s = 0.3  # from here on it waits in vain
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")

def test_hang(lab):
    actor = lab.start(listen, lab.server_address)
    actor.run_to("listening")
    actor.stay_blocked(in_="accept")
    lab.deadline_s = 0.3
    actor.run_to("accepted")

def test_not_blocked(lab):
    lab.start(crash).stay_blocked(in_="recv")

def test_blocked_too_late(lab):
    actor = lab.start(crash)
    actor.run_to("calm")
    actor.stay_blocked(in_="recv")

def test_blocked_elsewhere(lab):
    actor = lab.start(listen, lab.server_address)
    actor.run_to("listening")
    actor.stay_blocked(in_="accept")
    lab.deadline_s = 0.3
    actor.stay_blocked(in_="recv")

def test_ended_instead_of_blocking(lab):
    lab.start(listen, lab.server_address).run_to("listening")
    actor = lab.start(talk, lab.server_address)
    actor.run_to("connected")
    actor.stay_blocked(in_="recv")

def test_unknown_way_of_blocking(lab):
    lab.start(crash).stay_blocked(in_="nanosleep")

def test_step_that_never_comes(lab):
    lab.start(talk, lab.other_server_address).fail_with("ECONNREFUSED")
    lab.start(crash).run_to("clam")

def test_end_before_the_step(lab):
    server = lab.start(listen, lab.server_address)
    server.run_to("listening")
    lab.start(talk, lab.server_address).run_to("disconnected")

def test_died_unnoticed(lab):
    lab.start(print_and_fail).resume()
    actor = lab.start(print_and_fail)
    actor.run_to("printed")
    actor.resume()
    actor._wait_for_end(50)

def test_killed(lab):
    lab.start(die).finish()

def test_wrong_error(lab):
    lab.start(print_and_fail).fail_with("EPIPE")

def test_success_instead_of_an_expected_failure(lab):
    server = lab.start(listen, lab.server_address)
    server.run_to("listening")
    lab.start(talk, lab.server_address).fail_with("ECONNREFUSED")

def test_number_for_a_step(lab):
    lab.start(yield_a_number).run_to("7")

def test_too_long_a_result(lab):
    lab.start(return_too_much).finish()

def test_no_generator(lab):
    lab.start(no_generator, lab.server_address)

def test_nested_role(lab):
    def nested():
        yield "hidden"
    lab.start(nested)

def test_foreign_role(lab):
    lab.start(socket.create_server, lab.server_address)

def test_unknown_sysctl(lab):
    lab.set_sysctl("net.ipv4.tcp_fin_timeuot", 1)

def test_refused_value(lab):
    lab.set_sysctl("net.ipv4.tcp_syn_retries", 1000)

def test_host_sysctl(lab):
    lab.set_sysctl("kernel.hostname", "mine")

def test_unknown_step(lab):
    lab.start(crash).run_to("calm")
    lab.wire(since="clam")

def test_unknown_counter(lab):
    lab.counter("TcpExtTCPAbortOnClosure")

def test_unknown_host(lab):
    lab.socket("sever")

def test_unknown_state(lab):
    lab.expect_states(client="FIN_WAIT_2")

def test_two_connections(lab):
    server = lab.start(listen, lab.server_address)
    server.run_to("listening")
    lab.start(talk, lab.server_address).run_to("connected")
    lab.start(talk, lab.server_address).run_to("connected")
    lab.state("client")

def test_missing_rule_syntax(lab):
    lab.drop("tcp flogs rst")

def test_unknown_port_in_a_rule(lab):
    lab.drop("tcp dport 70000")

def test_unknown_answer(lab):
    lab.reject("tcp dport 9", with_="icmp type nobody-home")

def test_unknown_errno(lab):
    lab.start(crash).fail_with("ECONRESET")

def test_unknown_field(lab):
    lab.expect_socket("server", recvq=3)

def test_unsendable_argument(lab):
    lab.start(listen, lambda: 1)

def test_too_long_an_argument(lab):
    lab.start(listen, b"x" * 70_000)

def test_kill_after_the_end(lab):
    program = lab.run_program(["true"])
    program.finish()
    program.kill()
    assert program.output() == "", "killing an ended program is not an error"
    raise AssertionError("as wanted")

def test_duration(lab):
    from harness.predict import timers
    lab.expect_duration("a nap", 2.0, timers.Interval(1.0, 1.1))
"""

WANTED = {
    "test_wire": ["'server SA'", "lab: what happened", "listen: listening", "client:5", "── S ──▶ server:"],
    "test_states": ["the states of the connection", "expected:  {'client': <State.FIN_WAIT2", "last seen: {'client': ",
                    "for:       0."],
    "test_hang": ["listen reaches step 'accepted'", "it sleeps in accept", "after step 'listening'", "in listen"],
    "test_not_blocked": ["crash stays blocked", "asleep in recv()", "last seen: step 'calm'"],
    "test_blocked_too_late": ["crash died", "asleep in recv()", "ValueError", "after step 'calm'"],
    "test_ended_instead_of_blocking": ["talk stays blocked", "last seen: the role's end, after step 'connected'"],
    "test_blocked_elsewhere": ["listen stays blocked", "it sleeps in accept", "after step 'listening'"],
    "test_unknown_way_of_blocking": ["'nanosleep'", "Hint: use one of accept"],
    "test_step_that_never_comes": ["expected:  step 'clam'", "bad temper, after step 'calm'", "raise ValueError"],
    "test_end_before_the_step": ["talk reaches step 'disconnected'", "the role's end; its steps were 'connected'"],
    "test_died_unnoticed": ["print_and_fail 2 died", "ECONNRESET", "words on stdout", "lab: what happened"],
    "test_killed": ["die died", "signal SIGKILL", "after step 'alive'"],
    "test_wrong_error": ["expected:  EPIPE", "last seen: ECONNRESET: [Errno 104] on purpose", "words on stdout"],
    "test_success_instead_of_an_expected_failure": ["talk fails", "ECONNREFUSED", "success: it returned None"],
    "test_number_for_a_step": ["not 7", "Hint: yield a string"],
    "test_too_long_a_result": ["the role's result cannot be sent", "too many for one message"],
    "test_no_generator": ["no_generator is not a role", "Hint: `yield` the name of a step"],
    "test_nested_role": ["another process cannot import test_nested_role.<locals>.nested. Hint: define it at the top"],
    "test_foreign_role": ["create_server is not a role"],
    "test_unknown_sysctl": ["no sysctl net.ipv4.tcp_fin_timeuot", "did you mean net.ipv4.tcp_fin_timeout?"],
    "test_refused_value": ["refuses net.ipv4.tcp_syn_retries = '1000' (EINVAL)", "current value: 2"],
    "test_host_sysctl": ["'kernel.hostname' is not a sysctl of a network namespace", "the lab never changes"],
    "test_unknown_step": ["no step is called 'clam'", "'crash: calm'"],
    "test_unknown_counter": ["no counter TcpExtTCPAbortOnClosure", "nstat -azs"],
    "test_unknown_host": ["no host is called 'sever'", "client, server, other server"],
    "test_unknown_state": ["no state is called 'FIN_WAIT_2'", "FIN_WAIT2"],
    "test_two_connections": ["2 sockets at the client", "Hint: select one with port="],
    "test_missing_rule_syntax": ["nft refuses 'tcp flogs rst'", "syntax error"],
    "test_unknown_port_in_a_rule": ["nft refuses 'tcp dport 70000'", "Hint: correct the rule"],
    "test_unknown_answer": ["nft refuses 'tcp dport 9' (reject with icmp type nobody-home)", "Hint: correct the rule"],
    "test_unknown_errno": ["no error is called 'ECONRESET'", "Hint: name an errno"],
    "test_unknown_field": ["a socket has no recvq", "recv_q"],
    "test_unsendable_argument": ["the role's arguments cannot be sent", "Hint: pass plain values"],
    "test_too_long_an_argument": ["the role's arguments are 70", "Hint: create large data"],
    "test_kill_after_the_end": ["as wanted"],
    "test_duration": ["a nap", "expected:  1.000 to 1.350 s", "last seen: 2.000 s"],
}  # fmt: skip


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """pytest's output on each story, from one run of all of them."""
    folder = tmp_path_factory.mktemp("failures")
    (folder / "stories.py").write_text(STORIES)
    result = folder / "result.xml"
    done = run_pytest(
        folder / "stories.py", f"--junitxml={result}", "-o", "junit_logging=all", "-o", "junit_family=xunit1"
    )
    assert done.returncode == 1, done.stdout
    texts: dict[str, str] = {}
    for case in ElementTree.parse(result).iter("testcase"):
        texts.setdefault(case.get("name", ""), "")
        texts[case.get("name", "")] += "".join(case.itertext())
    return texts | {"": done.stdout}


@pytest.mark.parametrize("story", WANTED)
def test_message(reports: dict[str, str], story: str) -> None:
    section = next(part for part in reports[""].split("\n____") if re.match(rf"[_\w ]* {story} _", part))
    for wanted in WANTED[story]:
        assert wanted in reports[story] + section


def test_no_traceback_of_the_harness(reports: dict[str, str]) -> None:
    shown = re.findall(r"^\S*harness/\S+\.py:\d+", reports[""], re.M)
    assert shown == []


def test_every_story_is_looked_at(reports: dict[str, str]) -> None:
    assert set(reports) - {""} == set(WANTED)


def test_a_role_file_that_cannot_be_imported(play: Play) -> None:
    done = play(
        "import sys\ndef role():\n    yield 'x'\ndef test_it(lab):\n    lab.start(role)\n"
        "if '_pytest' not in sys.modules:\n    raise RuntimeError('not here')\n"
    )
    assert done.returncode == 1
    assert "cannot be imported. Hint: correct" in done.stdout
    assert "RuntimeError: not here" in done.stdout
