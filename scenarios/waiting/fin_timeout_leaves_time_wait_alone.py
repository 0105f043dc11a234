"""tcp_fin_timeout does not shorten TIME_WAIT: what it limits is an orphan's FIN_WAIT2, the state before it.

TIME_WAIT takes 60 s, a constant of the kernel (TCP_TIMEWAIT_LEN), and no sysctl shortens it. With a short
tcp_fin_timeout `ss` shows fewer FIN_WAIT2, never fewer TIME_WAIT; it shows the same kind of timer for both, "timewait".
Above 60 s the sysctl counts twice what is above: at 61, FIN_WAIT2 is over after 2 s (tcp_keepalive_timer takes the
excess a second time). tcp_tw_recycle, the other advice of the time, is gone since Linux 4.12 (commit 4396e46187ca,
"tcp: remove tcp_tw_recycle"); what is left, tcp_tw_reuse, is in time_wait_port_exhaustion.

    client                                     server
    FIN_WAIT1    ── FA ───────────────────▶    CLOSE_WAIT
    FIN_WAIT2    ◀──────────────────── A ──
        :        close(): tcp_fin_timeout, and then CLOSED; or before that
    TIME_WAIT    ◀─────────────────── FA ──    LAST_ACK
        :        ── A ────────────────────▶    CLOSED
        :        60 s
    CLOSED

Sources: article 004; RFC 9293, sections 3.6 and 3.10.8. Kernel: __tcp_close, tcp_fin_time, tcp_keepalive_timer
(FIN_WAIT2); tcp_time_wait, tcp_timewait_state_process (TIME_WAIT); inet_twsk_diag_fill (what a look shows).
"""

import socket
import time

import pytest

from harness.errors import LabError
from harness.predict import timers

RECYCLE = "net.ipv4.tcp_tw_recycle"
CLOSED_BY_BOTH, CLOSED_BY_CLIENT = (40001, 40002, 40003), 40004


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    while True:
        connection, _ = listener.accept()
        yield "accepted"
        connection.recv(1)
        connection.close()
        yield "closed"


def call(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.shutdown(socket.SHUT_WR)
    yield "half closed"
    connection.close()


def start_server(lab, fin_timeout):
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", fin_timeout)
    return lab.start(serve, lab.server_address, to="listening")


def leave(lab, server, port=40001):
    """Until a client is an orphan in FIN_WAIT2; the moment before its close()."""
    client = lab.start(call, lab.server_address, port, to="connected")
    server.run_to("accepted")
    half_closed = client.run_to("half closed")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT", port=port)
    client.finish()
    return half_closed


def expect_set_for(seconds, timer, since):
    """Two exact claims on one look at a timer that was set after `since`.

    What is left is never more than it was set for; with the time that has passed, it is never less by more than the
    jiffy that has begun (sock_diag tells the jiffies between now and timer->expires, not the wheel's slot).
    """
    passed_s = (time.monotonic_ns() - since.time_ns) / 1e9
    assert timer.expires_s <= seconds <= timer.expires_s + passed_s + timers.tick_s()


@pytest.mark.parametrize(("fin_timeout", "seconds"), [(2, 2), (30, 30), (61, 1)], ids=["2", "30", "61"])
def test_time_wait_takes_60_s_whatever_the_timeout(lab, fin_timeout, seconds):
    """Proves: 004-10. The timeout is in force: FIN_WAIT2 is set for it, or for what is above 60 s."""
    server = start_server(lab, fin_timeout)
    half_closed = leave(lab, server)
    expect_set_for(seconds, lab.expect_socket("client", state="FIN_WAIT2", inode=0).timer, since=half_closed)
    server.run_to("closed")
    time_wait = lab.expect_socket("client", state="TIME_WAIT")
    fin, *_ = lab.segments(since="call: finished")
    assert (time_wait.timer.name, fin.flags) == ("time_wait", "FA")
    expect_set_for(60, time_wait.timer, since=fin)


@pytest.mark.parametrize(
    ("fin_timeout", "timer", "seconds"), [(2, "time_wait", 2), (30, "time_wait", 30), (61, "keepalive", 1)]
)
def test_control_an_orphans_fin_wait2_is_what_it_limits(lab, fin_timeout, timer, seconds):
    """Proves: 004-10"""
    half_closed = leave(lab, start_server(lab, fin_timeout))
    fin_wait2 = lab.expect_socket("client", state="FIN_WAIT2", inode=0)
    assert fin_wait2.timer.name == timer
    expect_set_for(seconds, fin_wait2.timer, since=half_closed)


@pytest.mark.waits(2)
def test_control_above_60_s_fin_wait2_takes_twice_the_excess(lab):
    """Proves: 004-10, of what it does limit: 61 s are 2 s, one of the socket's own timer and one of a minisock's."""
    half_closed = leave(lab, start_server(lab, 61))
    interval = timers.fin_wait2(61, timers.tick_s())
    closed = lab.timeline.find("call: finished")
    lab.expect_lifetime("client", "FIN_WAIT2", interval, since=half_closed, begun_by=closed)


@pytest.mark.waits(1)
def test_a_short_timeout_makes_fewer_fin_wait2_but_never_fewer_time_wait(lab):
    """Proves: 004-10. The TIME_WAITs are older than the FIN_WAIT2 that they outlive; sockstat's "tw" counts both."""
    server = start_server(lab, 1)
    for port in CLOSED_BY_BOTH:
        leave(lab, server, port)
        server.run_to("closed")
    leave(lab, server, CLOSED_BY_CLIENT)
    lab.expect_table(LISTEN=1, TIME_WAIT=3, FIN_WAIT2=1, CLOSE_WAIT=1)
    assert lab.sockstat("TCP tw") == 4
    lab.expect_table(LISTEN=1, TIME_WAIT=3, CLOSE_WAIT=1)
    assert lab.sockstat("TCP tw") == 3


def test_tcp_tw_recycle_is_gone(lab):
    """Proves: 004-10. On a kernel that still had it, this would say so."""
    assert lab.sysctl(RECYCLE, default="") == ""
    with pytest.raises(LabError, match=f"no sysctl {RECYCLE}"):
        lab.set_sysctl(RECYCLE, 1)
