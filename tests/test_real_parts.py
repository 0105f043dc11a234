"""What real programs need from a lab: being found, their own files, being stopped, and the end of a drop()."""

import os
import socket
from pathlib import Path

import pytest

from harness.errors import ExpectationFailed, LabError, LabUnavailable
from harness.inside import keeper
from harness.inside.installed import find_program


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"hi")
        yield "greeted"


def call(address, port=0):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    return connection.recv(2)


def read_file(path):
    yield "ready"
    return Path(path).read_text()


def test_a_program_is_found_in_debians_sbin_folders(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_program("nft") in ("/usr/sbin/nft", "/sbin/nft")


def test_the_hint_for_a_missing_program_names_its_package():
    with pytest.raises(
        LabUnavailable, match=r"the program nosuchd is not installed. Hint: install it: apt install nosuch"
    ):
        find_program("nosuchd", "nosuch")


def test_a_folder_belongs_only_to_its_lab(lab):
    outside = sorted(os.listdir("/mnt"))
    path = lab.write_file("settings.conf", "one = 1\n")
    assert path == f"{lab.folder()}/settings.conf"
    program = lab.run_program(["cat", path])
    assert (program.finish(), program.output()) == (0, "one = 1\n")
    assert lab.start(read_file, path).finish() == "one = 1\n"
    program = lab.run_program(["ls", "-A", lab.folder()])
    assert (program.finish(), program.output()) == (0, "settings.conf\n"), "contains only the written file"
    assert sorted(os.listdir("/mnt")) == outside
    assert not Path(path).exists()


def test_the_next_lab_has_a_folder_of_its_own(lab):
    program = lab.run_program(["ls", "-A", lab.folder()])
    assert (program.finish(), program.output()) == (0, "")


@pytest.mark.parametrize("name", ["../escaped", "/etc/escaped", "a/b", "", ".."])
def test_a_file_stays_in_the_folder(lab, name):
    with pytest.raises(LabError, match="is not a file name"):
        lab.write_file(name, "")


def test_the_kernel_answers_for_a_stopped_process(lab):
    server = lab.start(serve, lab.server_address, to="listening")
    server.stay_blocked(in_="accept")
    assert server.doing() == "sleeps in accept4()"
    server.stop()
    assert server.doing() == "is stopped"
    client = lab.start(call, lab.server_address, to="connected")
    client.stay_blocked(in_="recv")
    assert lab.accept_queue() == 1
    server.resume_process()
    assert client.finish() == b"hi"
    assert server.doing() != "is stopped"


def test_stopping_an_ended_program_is_an_error(lab):
    program = lab.run_program(["true"])
    program.finish()
    lab.deadline_s = 0.05
    with pytest.raises(LabError, match="true has ended"):
        program.stop()


def test_what_was_dropped_comes_through_after_restore(lab):
    lab.start(serve, lab.server_address, to="listening").resume()
    lab.drop("tcp flags & (syn | ack) == syn")
    client = lab.start(call, lab.server_address, 40001)
    client.stay_blocked(in_="connect")
    lab.expect_states(client="SYN_SENT", server="CLOSED")
    lab.restore()
    assert client.finish() == b"hi"
    assert lab.wire()[:3] == ["client S", "client S", "server SA"]


def test_restore_without_a_drop_harms_nothing(lab):
    lab.restore()
    lab.restore()
    lab.start(serve, lab.server_address, to="listening").resume()
    assert lab.start(call, lab.server_address).finish() == b"hi"


def test_a_kernel_without_a_kind_of_rule_is_reported(monkeypatch):
    """It is simulated: nft fails on each script that needs it."""
    inside = object.__new__(keeper.Keeper)
    monkeypatch.setattr(keeper, "run_nft", lambda script: "No such file" if "reject" in script else "")
    assert inside.drop("tcp dport 1") == (None, ())
    with pytest.raises(LabUnavailable, match=r"nft fails here: No such file. Hint: load nft_reject_inet, or run on"):
        inside.reject("tcp dport 1", "tcp reset")
    monkeypatch.setattr(keeper, "run_nft", lambda script: "No such file")
    with pytest.raises(LabUnavailable, match=r"nft fails here: No such file. Hint: load nf_tables, or run on"):
        inside.drop("tcp dport 1")


def test_a_role_can_be_started_to_a_step(lab):
    lab.start(serve, lab.server_address, to="listening")
    assert [row.state for row in lab.sockets()] == ["LISTEN"]
    with pytest.raises(ExpectationFailed, match="call died"):
        lab.start(call, ("192.0.2.2", 9), to="connected")


def test_the_table_is_counted_by_state(lab):
    lab.start(serve, lab.server_address, to="listening")
    lab.start(call, lab.server_address, to="connected")
    lab.expect_table(LISTEN=1, ESTABLISHED=2)
    with pytest.raises(ExpectationFailed, match=r"expected: +\{'LISTEN': 1\}\n +last seen: \{.*'ESTABLISHED': 2"):
        lab.expect_table(LISTEN=1, within_s=0.01)
    with pytest.raises(LabError, match="no state is called 'LISTENING'"):
        lab.expect_table(LISTENING=1)


def test_a_finding_is_in_the_transcript(lab):
    from harness.views.transcript import transcript

    lab.finding("the first that fails", "EADDRNOTAVAIL")
    assert "found: the first that fails: EADDRNOTAVAIL" in transcript(lab.timeline)


def test_a_story_about_a_missing_sysctl_is_skipped(lab):
    lab.require_sysctl("net.ipv4.tcp_fin_timeout", since="Linux 2.2")
    with pytest.raises(LabUnavailable, match=r"no net.ipv4.no_such_key. Hint: use Linux 99 or later"):
        lab.require_sysctl("net.ipv4.no_such_key", since="Linux 99")
