"""How many connections may wait for a server, and what happens to the next one: sysctls decide.

listen() asks for a backlog, and gets at most net.core.somaxconn. That one number bounds both
queues: the accept queue holds backlog + 1 connections, and the SYN queue holds as many requests
whose last ACK is still to come. A SYN that finds the SYN queue full is dropped, or with
tcp_syncookies answered and not remembered; tcp_max_syn_backlog matters only without cookies.
tcp_abort_on_overflow is for a last ACK that finds the accept queue full, and for nothing else.

    client                                     server, listen(4)
    SYN_SENT     ── S ────────────────────▶    SYN_RECV, one of five
                 lost ◀────────────── SA ──
    the sixth    ── S ────────────────────▶    SYN queue full: dropped, or
                 ◀─────────────────── SA ──    a cookie, and no SYN_RECV
                 ── A ────────────────────▶    accept queue full: ignored, or R
    beforehand:  the backlog is min(4, net.core.somaxconn)

Sources: articles 001, 003; RFC 4987, sections 3.5 and 3.6 (cookies); RFC 9293, section 3.10.7.2.
Kernel: __sys_listen_socket, sk_acceptq_is_full, tcp_conn_request, inet_csk_reqsk_queue_is_full,
tcp_syn_flood_action, tcp_check_req.
"""

import socket

from harness.predict import limits
from harness.stock_roles import listen

ANY_BACKLOG = 2**31 - 1
BACKLOG, CLIENTS = 4, 12
LATE = 40001
OTHERS = (40002, 40003, 40004)
FIRST_PORT = 10001
MOST = 1000


def send_syns(address, count):
    """Many clients in one process; none waits for its answer."""
    clients = [socket.socket() for _ in range(count)]
    for port, client in enumerate(clients, FIRST_PORT):
        client.bind(("", port))  # the ephemeral ports in effect may be fewer
        client.setblocking(False)
        client.connect_ex(address)
    yield "SYNs sent"


def call(address, port):
    connection = socket.create_connection(address, source_address=("", port))
    yield "connected"
    connection.sendall(b"hello")
    yield "sent"


def backlog_of_listener(lab):
    """Its Send-Q, which `ss -ltn` shows."""
    return lab.listener().send_q


def half_open(lab):
    return sum(row.state == "SYN_RECV" for row in lab.sockets())


def what_became_of_the_rest(lab):
    """In words. The counters include retransmitted SYNs."""
    if lab.counter("TcpExtSyncookiesSent"):
        return "answered with a cookie"
    return "dropped" if lab.counter("TcpExtTCPReqQFullDrop") else "kept"


def play(lab, backlog=BACKLOG, clients=CLIENTS):
    lab.start(listen, lab.server_address, backlog, to="listening")
    lab.start(send_syns, lab.server_address, clients, to="SYNs sent")


def play_without_syn_acks(lab, **sizes):
    """No client receives its SYN-ACK, so every request stays half open."""
    lab.drop(f"tcp sport {lab.server_address[1]}")
    play(lab, **sizes)


def test_syncookies_decide_about_a_syn_that_finds_the_queue_full(lab):
    """Observes: net.ipv4.tcp_syncookies"""
    lab.set_sysctl("net.core.somaxconn", 4096)
    lab.set_sysctl("net.ipv4.tcp_max_syn_backlog", 4096)
    play_without_syn_acks(lab)
    kept = half_open(lab)
    cookies = int(lab.sysctl("net.ipv4.tcp_syncookies"))
    lab.finding(f"half-open requests of listen({BACKLOG})", kept)
    lab.finding("the SYN after them", what_became_of_the_rest(lab))
    places = limits.half_open_places(BACKLOG, cookies, 4096)
    assert kept in (places, max(places - 1, 0))  # older kernels: one less, see half_open_places
    assert what_became_of_the_rest(lab) == ("answered with a cookie" if cookies else "dropped")


def test_control_when_syn_acks_arrive_no_syn_queue_fills(lab):
    """The same clients; once their handshakes are complete, there is room for all of them."""
    lab.set_sysctl("net.core.somaxconn", 4096)
    lab.set_sysctl("net.ipv4.tcp_syncookies", 1)
    play(lab, backlog=CLIENTS)
    assert half_open(lab) == 0
    assert lab.accept_queue() == CLIENTS
    assert what_became_of_the_rest(lab) == "kept"


def test_listen_is_given_no_more_than_somaxconn(lab):
    """Observes: net.core.somaxconn"""
    lab.start(listen, lab.server_address, ANY_BACKLOG, to="listening")
    backlog = backlog_of_listener(lab)
    lab.finding(f"listen({ANY_BACKLOG}) is given a backlog of", backlog)
    assert backlog == limits.backlog(ANY_BACKLOG, int(lab.sysctl("net.core.somaxconn")))


def test_the_accept_queue_holds_one_more_than_the_backlog(lab):
    """Observes: net.core.somaxconn. A later client stays in SYN_SENT, unknown to the server."""
    play(lab)
    backlog = limits.backlog(BACKLOG, int(lab.sysctl("net.core.somaxconn")))
    waiting = lab.accept_queue()
    lab.finding(f"clients that listen({BACKLOG}) lets in", waiting)
    assert backlog_of_listener(lab) == backlog
    assert waiting == limits.accept_queue_places(backlog)


def test_without_cookies_max_syn_backlog_bounds_the_syn_queue(lab):
    """Observes: net.ipv4.tcp_max_syn_backlog. A quarter of it is reserved for known peers."""
    lab.set_sysctl("net.core.somaxconn", 2 * MOST)
    lab.set_sysctl("net.ipv4.tcp_syncookies", 0)
    name = "half-open requests without cookies"
    max_syn_backlog = int(lab.sysctl("net.ipv4.tcp_max_syn_backlog"))
    places = limits.half_open_places(2 * MOST, 0, max_syn_backlog)
    if places > MOST:
        lab.not_measured(name, places, f"more than {MOST} sockets")
    play_without_syn_acks(lab, backlog=2 * MOST, clients=places + 2)
    lab.finding(name, half_open(lab))
    assert half_open(lab) == places


def test_abort_on_overflow_decides_about_an_ack_at_a_full_queue(lab):
    """Observes: net.ipv4.tcp_abort_on_overflow. The client is ESTABLISHED already."""
    lab.set_sysctl("net.core.somaxconn", 4096)
    lab.set_sysctl("net.ipv4.tcp_syncookies", 1)
    lab.start(listen, lab.server_address, len(OTHERS) - 1, to="listening")
    lab.drop(f"tcp sport {LATE} tcp flags & (syn | ack) == ack")
    late = lab.start(call, lab.server_address, LATE, to="connected")
    for port in OTHERS:
        lab.start(call, lab.server_address, port, to="connected")
    lab.restore()
    late.run_to("sent")
    reset = "server R" in lab.wire(port=LATE)
    lab.finding("a last ACK that finds the accept queue full", "reset" if reset else "ignored")
    assert reset == (lab.sysctl("net.ipv4.tcp_abort_on_overflow") != "0")
    assert lab.state("client", LATE) == ("CLOSED" if reset else "ESTABLISHED")
    assert lab.state("server", LATE) == ("CLOSED" if reset else "SYN_RECV")
    assert lab.counter("TcpExtListenOverflows") > 0
