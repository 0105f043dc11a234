"""Predictions against the kernel's own short timers: each state ends inside its interval."""

import re
import socket
import time

import pytest

from harness.lab import expect
from harness.predict import timers


def listen(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.recv(1)


def leave(address, source):
    connection = socket.create_connection(address, source_address=source)
    yield "connected"
    connection.close()
    yield "closed"


def connect(lab):
    server = lab.start(listen, lab.server_address)
    client = lab.start(leave, lab.server_address, lab.client_address(40001))
    server.run_to("listening")
    client.run_to("connected")
    return server, client


def rto_s(lab):
    """The client's retransmission timeout, as `ss` shows it."""
    witness = lab.run_program(["ss", "-tinOH", "sport = :40001"])
    assert witness.finish() == 0
    return int(re.search(r" rto:(\d+) ", witness.output())[1]) / 1000


def rto_max_s(lab):
    return int(lab.sysctl("net.ipv4.tcp_rto_max_ms", default="120000")) / 1000


def expect_life(lab, end, state, interval, since):
    """Two claims that hold however late the looks are: the state is not gone too early, and not seen too late.

    An allowance of half a second for a busy machine is strict enough: another round would take at least 0.8 s.
    """
    alive_s = gone_s = 0.0
    while not gone_s:
        looked_ns = time.monotonic_ns()
        if lab.state(end) == state:
            alive_s = (looked_ns - since.time_ns) / 1e9
        else:
            gone_s = (time.monotonic_ns() - since.time_ns) / 1e9
        assert alive_s <= interval.at_most_s + 0.5
        time.sleep(expect.POLL_S)
    assert gone_s >= interval.at_least_s


@pytest.mark.parametrize("fin_timeout", [1, 0, 61])
def test_an_orphans_fin_wait2_lives_as_predicted(lab, fin_timeout):
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", fin_timeout)
    server, client = connect(lab)
    server.run_to("accepted")
    rto = rto_s(lab)
    client.run_to("closed")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    acknowledgement = lab.segments()[-1]
    assert (acknowledgement.source, acknowledgement.flags) == (lab.server_address, "A")
    expect_life(lab, "client", "FIN_WAIT2", timers.fin_wait2(fin_timeout, timers.tick_s(), rto), acknowledgement)


def test_an_unanswered_syn_recv_lasts_as_predicted(lab):
    lab.set_sysctl("net.ipv4.tcp_synack_retries", 0)
    lab.drop(f"ip daddr {lab.server_address[0]} tcp flags != syn")
    connect(lab)
    assert lab.wire() == ["client S", "server SA", "client A"]
    assert (lab.state("client"), lab.state("server")) == ("ESTABLISHED", "SYN_RECV")
    expect_life(lab, "server", "SYN_RECV", timers.syn_recv(0, rto_max_s(lab), timers.tick_s()), lab.segments()[0])
    assert lab.wire() == ["client S", "server SA", "client A"]


@pytest.mark.parametrize(
    ("settings", "loss_probe", "repeated", "nominal_s"),
    [
        # At an RTO of 204 ms: the probe and the RTO after it, then 2, 4, … times the RTO.
        ({"tcp_orphan_retries": 1}, True, 3, 0.204 * (1 + 1 + 2 + 4)),
        ({"tcp_orphan_retries": 1, "tcp_early_retrans": 0}, False, 2, 0.204 * (1 + 2 + 4)),
        ({"tcp_orphan_retries": 1, "tcp_sack": 0}, False, 2, 0.204 * (1 + 2 + 4)),
        ({"tcp_orphan_retries": 0}, True, 4, 0.204 * (1 + 1 + 2 + 4) + 1.0),
    ],
    ids=["loss probe", "no loss probe", "no SACK", "default retries, until the RTO is at its maximum"],
)
def test_an_orphans_fin_wait1_lives_as_predicted(lab, settings, loss_probe, repeated, nominal_s):
    for name, value in settings.items():
        lab.set_sysctl(f"net.ipv4.{name}", value)
    if settings["tcp_orphan_retries"] == 0 and rto_max_s(lab) > 1:
        pytest.skip("without tcp_rto_max_ms this takes 107 s")
    server, client = connect(lab)
    server.run_to("accepted")
    rto = rto_s(lab)
    lab.drop(f"ip saddr {lab.server_address[0]} tcp dport 40001")
    client.run_to("closed")
    fin, *_ = [segment for segment in lab.segments() if segment.flags == "FA"]
    interval = timers.fin_wait1_orphan(
        settings["tcp_orphan_retries"], rto, rto_max_s(lab), timers.tick_s(), loss_probe=loss_probe
    )
    if rto == 0.204:  # HZ=250; other kernels round it to another whole tick
        assert nominal_s in interval
    expect_life(lab, "client", "FIN_WAIT1", interval, fin)
    assert lab.wire(since="accepted").count("client FA") == 1 + repeated
    assert lab.counter("TcpExtTCPLossProbes") == loss_probe
    assert lab.counter("TcpExtTCPTimeouts") == repeated + 1 - loss_probe
