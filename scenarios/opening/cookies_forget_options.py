"""A SYN cookie, sent when the SYN queue is full, forgets the options if there are no timestamps.

A server that answers a SYN with a cookie keeps nothing: what it must know when the ACK comes is in
the sequence number of its SYN-ACK, a hash and 2 bits for the MSS: one of four, at most 1460 over
IPv4 and 8940 over IPv6. The window scale, SACK and ECN fit only into the lowest 6 bits of the
SYN-ACK's timestamp, which the ACK echoes. Without timestamps, neither end uses them: windows stay
below 64 KiB, and a lost segment costs more. The connection works, and is slow for all its life.

The queue holds backlog + 1 requests. With cookies on, tcp_max_syn_backlog changes nothing.

    client                                     server, its SYN queue full
    SYN_SENT     ── S ────────────────────▶    sackOK, wscale 7, mss 65495
    ESTABLISHED  ◀─────────────────── SA ──    a cookie, mss: the server keeps nothing
                 ── A ────────────────────▶    ESTABLISHED: the cookie is right

Sources: RFC 4987, section 3.6; RFC 7323; RFC 2018. Kernel: tcp_conn_request, tcp_syn_flood_action;
cookie_init_timestamp, cookie_timestamp_decode, __cookie_v4_init_sequence, cookie_v4_check (and v6).
"""

import socket
import struct

PORT = 40001
FLOOD_PORTS = range(10001, 10009)
SMALL, LARGE = 4, 128  # backlogs
TIMESTAMPS, SACK, SCALING = 1, 2, 4  # include/uapi/linux/tcp.h, TCPI_OPT_…
ALL_OPTIONS = TIMESTAMPS | SACK | SCALING
COOKIE_MSS = {4: 1460, 6: 8940}  # by family: the largest of msstab in net/ipv*/syncookies.c


def report(connection):
    """Print the options in use, as bits, and the size of the largest segment that it sends."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 20)
    print(info[5], struct.unpack_from("16xI", info)[0])


def serve(address, backlog):
    listener = socket.create_server(address, backlog=backlog)
    yield "listening"
    connection, _ = listener.accept()
    yield "accepted"
    report(connection)


def flood(address, ports):
    """SYNs that no ACK follows, as from addresses that are not the sender's."""
    for port in ports:
        client = socket.socket()
        client.bind(("", port))
        client.setblocking(False)
        client.connect_ex(address)
        client.close()
    yield "SYNs sent"


def call(address):
    connection = socket.create_connection(address, source_address=("", PORT))
    yield "connected"
    connection.sendall(b"hello")
    yield "sent"
    report(connection)


def play(lab, backlog=SMALL, timestamps=0, syncookies=1):
    """Until the flood has filled a small queue; the server."""
    lab.set_sysctl("net.ipv4.tcp_timestamps", timestamps)
    lab.set_sysctl("net.ipv4.tcp_syncookies", syncookies)
    lab.set_sysctl("net.core.somaxconn", 4096)
    lab.set_sysctl("net.ipv4.tcp_max_syn_backlog", 4096)  # this alone does not help
    lab.set_sysctl("net.ipv4.tcp_synack_retries", 5)  # for as long the queue stays full
    server = lab.start(serve, lab.server_address, backlog, to="listening")
    lab.drop(f"tcp dport {FLOOD_PORTS[0]}-{FLOOD_PORTS[-1]}")
    lab.start(flood, lab.server_address, FLOOD_PORTS).finish()
    return server


def connect(lab, server):
    """The next client; how many cookies it was sent, and what each end uses."""
    before = lab.counter("TcpExtSyncookiesSent")
    client = lab.start(call, lab.server_address, to="connected")
    server.run_to("accepted")
    assert lab.wire(port=PORT) == ["client S", "server SA", "client A"]
    cookies = lab.counter("TcpExtSyncookiesSent") - before
    client.finish()
    server.finish()
    return cookies, reported(client), reported(server)


def reported(actor):
    options, mss = actor.output().split()
    return {"options": int(options), "mss": int(mss)}


def test_without_timestamps_a_cookie_forgets_the_options(lab):
    """Neither end scales windows or sends SACK, and the server's segments are small."""
    cookies, client, server = connect(lab, play(lab))
    assert cookies == 1
    assert lab.counter("TcpExtSyncookiesRecv") == 1
    assert lab.counter("TcpExtTCPReqQFullDoCookies") == lab.counter("TcpExtSyncookiesSent")
    assert client["options"] == server["options"] == 0
    assert server["mss"] == COOKIE_MSS[lab.family] < client["mss"]


def test_the_server_keeps_nothing_until_the_ack_comes(lab):
    """So it retransmits nothing. Any later segment is enough: its ACK number has the cookie."""
    play(lab)
    lab.drop(f"tcp sport {PORT} tcp flags == ack")
    client = lab.start(call, lab.server_address, to="connected")
    lab.expect_states(client="ESTABLISHED", server="CLOSED", port=PORT)
    assert lab.counter("TcpExtSyncookiesRecv") == 0
    client.run_to("sent")
    assert lab.wire(since="connected", port=PORT) == ["client PA", "server A"]
    lab.expect_socket("server", port=PORT, state="ESTABLISHED", inode=0, recv_q=5)
    assert lab.counter("TcpExtSyncookiesRecv") == 1


def test_without_cookies_the_syn_is_dropped(lab):
    """tcp_syncookies = 0: connect() waits for a retransmission of the SYN, and for room."""
    play(lab, syncookies=0)
    dropped = lab.counter("TcpExtTCPReqQFullDrop")
    client = lab.start(call, lab.server_address)
    client.stay_blocked(in_="connect")
    lab.expect_states(client="SYN_SENT", server="CLOSED", port=PORT)
    client.kill()  # or it might retransmit its SYN while the next lines count
    syns = lab.wire(port=PORT)
    assert set(syns) == {"client S"}
    assert lab.counter("TcpExtTCPReqQFullDrop") - dropped == len(syns)
    assert lab.counter("TcpExtSyncookiesSent") == 0


def test_control_timestamps_carry_the_options(lab):
    """Also a cookie, but the SYN-ACK's timestamp has room for all except the MSS."""
    cookies, client, server = connect(lab, play(lab, timestamps=1))
    assert cookies == 1
    assert client["options"] & ALL_OPTIONS == server["options"] & ALL_OPTIONS == ALL_OPTIONS
    assert server["mss"] < COOKIE_MSS[lab.family] < client["mss"]  # less the timestamps


def test_control_a_larger_queue_needs_no_cookie(lab):
    """The server remembers the SYN, with all that it offers."""
    cookies, client, server = connect(lab, play(lab, backlog=LARGE))
    assert cookies == lab.counter("TcpExtSyncookiesRecv") == 0
    assert client["options"] & ALL_OPTIONS == server["options"] & ALL_OPTIONS == SACK | SCALING
    assert server["mss"] == client["mss"] > COOKIE_MSS[lab.family]
