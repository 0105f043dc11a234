"""connect()'s error depends on what answers its SYN; once connected, only RST ends a connection.

RST ends connect() at once with ECONNREFUSED, whether no process listens or a firewall has sent it.
ICMP ends it with the errno of its type and code, which may differ between IPv4 and IPv6: "No route
to host" may come from a firewall in front of a host that is up. Silence ends it only after
tcp_syn_retries. On an established connection the kernel only notes ICMP's error (sk_err_soft), and
retransmits all the same: the connection goes on, or its timeout ends with the noted error.

    client                                     server
    SYN_SENT     ── S ────────────────────▶    no listener, or reject with tcp reset
    CLOSED       ◀─────────────────── RA ──    ECONNREFUSED, at once
    SYN_SENT     ── S ────────────────────▶    reject with icmpx type admin-prohibited
    CLOSED       ◀─────── ICMP or ICMPv6 ──    EHOSTUNREACH over IPv4, EACCES over IPv6
    SYN_SENT     ── S ───────────▶ dropped
                 ── S ───────────▶ dropped     ETIMEDOUT, after tcp_syn_retries

    ESTABLISHED  ── PA ───────────────────▶    reject with icmpx type port-unreachable
    ESTABLISHED  ◀─────── ICMP or ICMPv6 ──    SO_ERROR is ECONNREFUSED, recv() waits
                 ── PA ───────────────────▶    retransmitted: arrives if the rule is gone

On one machine the answer comes back while connect() still holds its socket. RST waits in the
backlog. ICMP's error is only noted, and connect() fails 1 s later, by the answer to its next SYN.

Sources: RFC 1122, 4.2.3.9; RFC 5461; RFC 5927, section 4. Kernel: tcp_v4_err, tcp_v6_err,
icmp_err_convert, icmpv6_err_convert; tcp_write_err (sk_err_soft), sk_getsockopt (SO_ERROR).
"""

import errno
import socket

import pytest

from harness.predict import timers
from harness.stock_roles import rto_us

PORT, FIRST_PORT = 40001, 9001
FROM_CLIENT = f"tcp sport {PORT}"
SYN = "tcp flags & (syn | ack) == syn"
AT_ONCE, SECOND_SYN = timers.Interval(0.0, 0.0), timers.one_timer(1.0, timers.tick_s())
DATA = b"data"

NO_LISTENER, DROP = "no listener", "drop"
ERRORS = {  # of connect(), by the answer to its SYN (in nft's words), and over which IP
    NO_LISTENER: {4: "ECONNREFUSED", 6: "ECONNREFUSED"},
    "tcp reset": {4: "ECONNREFUSED", 6: "ECONNREFUSED"},
    "icmpx type port-unreachable": {4: "ECONNREFUSED", 6: "ECONNREFUSED"},
    "icmpx type host-unreachable": {4: "EHOSTUNREACH", 6: "EHOSTUNREACH"},
    "icmpx type no-route": {4: "ENETUNREACH", 6: "ENETUNREACH"},
    "icmpx type admin-prohibited": {4: "EHOSTUNREACH", 6: "EACCES"},
    "icmp type prot-unreachable": {4: "ENOPROTOOPT"},
    "icmpv6 type reject-route": {6: "EACCES"},
    DROP: {4: "ETIMEDOUT", 6: "ETIMEDOUT"},
}

ADMINISTRATIVELY_PROHIBITED = {  # in Wireshark's words
    4: "Destination unreachable (Communication administratively filtered)",
    6: "Destination unreachable (Administratively prohibited)",
}
RETRANSMISSION = {
    "retries2": 15,
    "sack": 1,
    "early_retrans": 3,
    "thin_linear_timeouts": 0,
    "rto_min_us": 200_000,
}
USER_TIMEOUT_MS = 100
USER_TIMEOUT = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
RECVERR = {  # IP_RECVERR in linux/in.h, IPV6_RECVERR in linux/in6.h
    4: (socket.IPPROTO_IP, 11, 1),
    6: (socket.IPPROTO_IPV6, 25, 1),
}


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    connection.sendall(connection.recv(100))
    yield "answered"


def call(address):
    """It returns the name of connect()'s error."""
    yield "calling"
    try:
        connection = socket.create_connection(address)
    except OSError as error:
        return errno.errorcode[error.errno]
    yield "connected"
    connection.close()


def send(address, options=(), tries_again=False):
    """It returns SO_ERROR, as read after the data was sent, and what it received."""
    connection = socket.create_connection(address, source_address=("", PORT))
    for option in options:
        connection.setsockopt(*option)
    print(rto_us(connection))
    yield "connected"
    connection.sendall(DATA)
    yield "sent"
    number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    so_error = errno.errorcode.get(number, number)
    yield "SO_ERROR is read"
    while tries_again:
        try:
            return so_error, connection.recv(100)
        except OSError as error:
            yield f"recv() failed with {errno.errorcode[error.errno]}"
    return so_error, connection.recv(100)


def answer_with(lab, answer, match):
    if answer == DROP:
        lab.drop(match)
    elif answer != NO_LISTENER:
        lab.reject(match, with_=answer)


def set_syn_retries(lab):
    """One SYN more, 1 s after the first; returns how long an unanswered connect() takes."""
    lab.set_sysctl("net.ipv4.tcp_syn_retries", 1)
    lab.set_sysctl("net.ipv4.tcp_syn_linear_timeouts", 0, optional=True)
    return lab.connect_timeout()


@pytest.mark.waits(1)
def test_icmp_ends_a_sleeping_connect_with_its_own_error(lab):
    """As over a network, where the answer arrives after connect() has fallen asleep.

    For that, the first SYN is lost here: a timer sends the one that is answered.
    """
    set_syn_retries(lab)
    lab.start(serve, lab.server_address, to="listening")
    lab.drop(f"{SYN} limit rate 1/hour burst 1 packets")
    lab.reject(SYN, with_="icmpx type admin-prohibited")
    client = lab.start(call, lab.server_address, to="calling")
    client.stay_blocked(in_="connect")
    assert client.finish() == {4: "EHOSTUNREACH", 6: "EACCES"}[lab.family]
    lab.expect_duration("connect()", client.elapsed_s("calling", "finished"), SECOND_SYN)
    assert lab.wire() == ["client S", "client S"]
    messages = [error.kind for error in lab.icmp_errors()]
    assert messages == [ADMINISTRATIVELY_PROHIBITED[lab.family]]
    assert lab.counter("TcpExtLockDroppedIcmps") == lab.counter("TcpOutRsts") == 0
    assert lab.counter("TcpPassiveOpens") == 0


def test_control_with_a_listener_and_no_rule_it_connects(lab):
    """The same call to the same server; nothing answers but its SYN-ACK."""
    lab.start(serve, lab.server_address, to="listening")
    lab.start(call, lab.server_address, to="connected")
    assert lab.wire() == ["client S", "server SA", "client A"]
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert lab.counter("TcpAttemptFails") == 0
    assert lab.counter("TcpPassiveOpens") == 1


@pytest.mark.parametrize(("answer", "counted"), [(NO_LISTENER, 1), ("tcp reset", 0)])
def test_a_reset_ends_connect_at_once_with_econnrefused(lab, answer, counted):
    """The client cannot tell which it was. The server's TCP counts its own resets only."""
    if answer != NO_LISTENER:
        lab.start(serve, lab.server_address, to="listening")
    answer_with(lab, answer, SYN)
    assert lab.start(call, lab.server_address).finish() == "ECONNREFUSED"
    assert lab.wire() == ["client S", "server RA"]
    assert lab.counter("TcpOutRsts") == counted
    assert lab.counter("TcpAttemptFails") == 1


@pytest.mark.waits(2)
def test_each_answer_has_its_error_in_each_family(lab):
    """All at once. If ICMP finds the socket held, as it does here, the next SYN's answer counts."""
    silence = set_syn_retries(lab)
    calls = [(answer, *each) for answer, errors in ERRORS.items() for each in errors.items()]
    clients = []
    for port, (answer, family, _) in enumerate(calls, FIRST_PORT):
        answer_with(lab, answer, f"tcp dport {port}")
        host, _ = lab.server_address_over(family)
        clients.append(lab.start(call, (host, port), name=f"{answer}, IPv{family}", to="calling"))
    for client in clients:
        client.resume()
    repeated = 0
    for port, client in enumerate(clients, FIRST_PORT):
        answer, _, error = calls[port - FIRST_PORT]
        assert client.finish(within_s=silence.at_most_s + lab.deadline_s) == error, client.name
        wire = lab.wire(port=port)
        repeated += wire.count("client S") - 1
        by_syn = {1: AT_ONCE, 2: SECOND_SYN}[wire.count("client S")]
        expected = silence if answer == DROP else by_syn
        lab.expect_duration(client.name, client.elapsed_s("calling", "finished"), expected)
        assert (wire == ["client S", "server RA"]) == (answer in (NO_LISTENER, "tcp reset"))
    assert repeated == lab.counter("TcpExtLockDroppedIcmps") + len(ERRORS[DROP])


def connect(lab, *arguments):
    for key, value in RETRANSMISSION.items():
        lab.set_sysctl(f"net.ipv4.tcp_{key}", value, optional=True)
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(send, lab.server_address, *arguments, to="connected")
    server.run_to("accepted")
    return server, client


def test_established_icmp_is_only_noted_and_it_goes_on(lab):
    """SO_ERROR shows "Connection refused" on a connection that is alive."""
    server, client = connect(lab)
    lab.reject(FROM_CLIENT, with_="icmpx type port-unreachable")
    client.run_to("sent")
    client.run_to("SO_ERROR is read")
    client.stay_blocked(in_="recv")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    lab.restore()
    server.run_to("answered")
    assert client.finish() == ("ECONNREFUSED", DATA)
    assert not [each for each in lab.wire(until="answered") if "R" in each]


@pytest.mark.parametrize(
    "answer", [DROP, "icmpx type port-unreachable", "icmpx type admin-prohibited"]
)
def test_established_the_timeout_ends_with_the_noted_error(lab, answer):
    """With or without ICMP, TCP_USER_TIMEOUT ends it after the same time: the error differs.

    But "no-route", and over IPv4 "host-unreachable", also undo the RTO's backoff (RFC 6069).
    """
    _, client = connect(lab, [USER_TIMEOUT])
    answer_with(lab, answer, FROM_CLIENT)
    client.fail_with(ERRORS[answer][lab.family])
    rto_s = int(client.output()) / 1e6
    interval = timers.user_timeout(USER_TIMEOUT_MS / 1000, rto_s, timers.tick_s())
    lab.expect_duration("until recv() fails", client.elapsed_s("connected", "failed"), interval)
    lab.expect_states(client="CLOSED", server="ESTABLISHED")


def test_established_with_recverr_recv_fails_and_may_be_repeated(lab):
    """IP_RECVERR or IPV6_RECVERR: no timeout is needed to see the error, and the data arrives."""
    server, client = connect(lab, [RECVERR[lab.family]], True)
    lab.reject(FROM_CLIENT, with_="icmpx type host-unreachable")
    client.run_to("recv() failed with EHOSTUNREACH")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    lab.restore()
    server.run_to("answered")
    _, received = client.finish()
    assert received == DATA


def test_established_a_reset_ends_it(lab):
    """The server has sent none, and keeps its half."""
    _, client = connect(lab)
    lab.reject(FROM_CLIENT, with_="tcp reset")
    client.run_to("sent")
    assert lab.wire(since="connected") == ["client PA", "server R"]
    lab.expect_states(client="CLOSED", server="ESTABLISHED")
    assert client.finish() == ("ECONNRESET", b"")


def test_control_established_without_a_rule(lab):
    """The data is answered, and there is no error to see."""
    server, client = connect(lab)
    client.run_to("sent")
    server.run_to("answered")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert client.finish() == (0, DATA)
