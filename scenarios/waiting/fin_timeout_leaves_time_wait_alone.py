"""tcp_fin_timeout does not shorten TIME_WAIT: it limits FIN_WAIT2 of an orphan, the state before.

TIME_WAIT lasts 60 s, a constant of the kernel (TCP_TIMEWAIT_LEN), and no sysctl shortens it. With a
short tcp_fin_timeout, `ss` shows fewer FIN_WAIT2 but never fewer TIME_WAIT. It is easy to confuse
the two, because `ss` shows the same kind of timer for both: "timewait". Above 60 s, the excess
counts twice: with 61, FIN_WAIT2 ends after 2 s (tcp_keepalive_timer takes the excess a second
time). tcp_tw_recycle, the other advice of that time, was removed in Linux 4.12 (commit
4396e46187ca, "tcp: remove tcp_tw_recycle"). For tcp_tw_reuse, which still exists, see
time_wait_port_exhaustion.py.

    client                                     server
    FIN_WAIT1    ── FA ───────────────────▶    CLOSE_WAIT
    FIN_WAIT2    ◀──────────────────── A ──
        :        close(): CLOSED after tcp_fin_timeout, unless the server's FIN comes first:
    TIME_WAIT    ◀─────────────────── FA ──    LAST_ACK
        :        ── A ────────────────────▶    CLOSED
        :        60 s
    CLOSED

Sources: article 004; RFC 9293, sections 3.6 and 3.10.8. Kernel: __tcp_close, tcp_fin_time,
tcp_keepalive_timer (FIN_WAIT2); tcp_time_wait, tcp_timewait_state_process (TIME_WAIT);
inet_twsk_diag_fill (what `ss` shows).
"""

import time

import pytest

from harness.errors import LabError
from harness.predict import timers
from harness.stock_roles import call, serve

RECYCLE = "net.ipv4.tcp_tw_recycle"
PORT = 40001
CLOSED_BY_BOTH = (40001, 40002, 40003)
CLOSED_BY_CLIENT = 40004


def start_server(lab, fin_timeout):
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", fin_timeout)
    return lab.start(serve, lab.server_address, to="listening")


def leave_an_orphan(lab, server, port=PORT):
    """A client closes first and is left in FIN_WAIT2; the moment just before its close()."""
    client = lab.start(call, lab.server_address, port, to="connected")
    server.run_to("accepted")
    half_closed = client.run_to("half closed")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT", port=port)
    client.finish()
    return half_closed


def expect_timer_set_for(seconds, timer, since):
    """What the timer was set for at some time after `since`, from one look: two exact claims.

    Its remaining time is at most what it was set for. Remaining and elapsed time together are less
    than that by one jiffy at most (sock_diag reports the jiffies from now to timer->expires, not
    the slot of the timer wheel).
    """
    elapsed_s = (time.monotonic_ns() - since.time_ns) / 1e9
    assert timer.expires_s <= seconds <= timer.expires_s + elapsed_s + timers.tick_s()


@pytest.mark.parametrize(
    ("fin_timeout", "fin_wait2_s"),
    [(2, 2), (30, 30), (61, 1)],
    ids=["2", "30", "61"],
)
def test_time_wait_takes_60_s_whatever_the_timeout(lab, fin_timeout, fin_wait2_s):
    """Proves: 004-10. The timer of FIN_WAIT2 shows that the sysctl itself works."""
    server = start_server(lab, fin_timeout)
    half_closed = leave_an_orphan(lab, server)
    fin_wait2 = lab.expect_socket("client", state="FIN_WAIT2", inode=0)
    expect_timer_set_for(fin_wait2_s, fin_wait2.timer, since=half_closed)

    server.run_to("closed")
    time_wait = lab.expect_socket("client", state="TIME_WAIT")
    fin, *_ = lab.segments(since="call: finished")
    assert fin.flags == "FA"
    assert time_wait.timer.name == "time_wait"
    expect_timer_set_for(60, time_wait.timer, since=fin)


@pytest.mark.parametrize(
    ("fin_timeout", "timer", "seconds"),
    [(2, "time_wait", 2), (30, "time_wait", 30), (61, "keepalive", 1)],
)
def test_control_an_orphans_fin_wait2_is_what_it_limits(lab, fin_timeout, timer, seconds):
    """Proves: 004-10"""
    half_closed = leave_an_orphan(lab, start_server(lab, fin_timeout))
    fin_wait2 = lab.expect_socket("client", state="FIN_WAIT2", inode=0)
    assert fin_wait2.timer.name == timer
    expect_timer_set_for(seconds, fin_wait2.timer, since=half_closed)


@pytest.mark.waits(2)
def test_control_above_60_s_fin_wait2_takes_twice_the_excess(lab):
    """Proves: 004-10. 61 s become 2 s: one by the socket's timer, one by the minisock's."""
    half_closed = leave_an_orphan(lab, start_server(lab, 61))
    interval = timers.fin_wait2(61, timers.tick_s())
    closed = lab.timeline.find("call: finished")
    lab.expect_lifetime("client", "FIN_WAIT2", interval, since=half_closed, begun_by=closed)


@pytest.mark.waits(1)
def test_a_short_timeout_ends_fin_wait2_but_no_time_wait(lab):
    """Proves: 004-10. The TIME_WAITs began before the FIN_WAIT2 and outlast it."""
    server = start_server(lab, 1)
    for port in CLOSED_BY_BOTH:
        leave_an_orphan(lab, server, port)
        server.run_to("closed")
    leave_an_orphan(lab, server, CLOSED_BY_CLIENT)
    lab.expect_table(LISTEN=1, TIME_WAIT=3, FIN_WAIT2=1, CLOSE_WAIT=1)
    assert lab.sockstat("TCP tw") == 4  # it counts FIN_WAIT2 of an orphan, too
    lab.expect_table(LISTEN=1, TIME_WAIT=3, CLOSE_WAIT=1)
    assert lab.sockstat("TCP tw") == 3


def test_tcp_tw_recycle_is_gone(lab):
    """Proves: 004-10. On a kernel that still has it, this test fails."""
    assert lab.sysctl(RECYCLE, default="") == ""
    with pytest.raises(LabError, match=f"no sysctl {RECYCLE}"):
        lab.set_sysctl(RECYCLE, 1)
