"""A probe that does not wait for MariaDB's greeting costs the server only a line in its log.

MariaDB's main thread only calls accept(); each connection has a thread of its own that sends the
greeting, and an error ends that thread alone. If a connection is reset first, accept() returns it
without a peer: getpeername() fails with ENOTCONN, the log knows only a "connecting host", and the
thread closes it.

After a FIN the server has a CLOSE_WAIT, sees nothing wrong, and sends the greeting. No process
holds the client's socket any more, so the client's kernel answers with RST, as data was lost. No
program learns of it: the server's send() succeeds, and its recv() returns end of stream.

    prober                                  server (mariadbd, stopped, then continued)
    SYN_SENT     ── S, SA, A ────────────▶  ESTABLISHED, no owner, accept queue 1
    CLOSED       ── RA ──────────────────▶  CLOSED, accept queue still 1
                                            accept(), getpeername() ENOTCONN,
                                            send() ECONNRESET, close()
    or
    FIN_WAIT2    ── FA, A ───────────────▶  CLOSE_WAIT, accept queue 1
                 ◀────── PA (greeting) ──   accept(), getpeername(), send()
                 ── R ───────────────────▶  CLOSED

Sources: article 003; RFC 1122, section 4.2.2.13; net/ipv4/tcp_minisocks.c,
tcp_timewait_state_process ("New data or FIN"). MariaDB: handle_connections_sockets
(sql/mysqld.cc), check_connection (sql/sql_connect.cc). The greeting is a packet: its length (3
bytes), its number (1 byte), the protocol version (10), and the server's version, ended by 0.
"""

import re
import socket
import sys

import pytest

from harness import prober
from harness.inside.installed import find_program

AT_ONCE = ["--delay", "0", "--interval", "0.01"]
HANDSHAKE = ["client S", "server SA", "client A"]


def await_greeting(address):
    connection = socket.create_connection(address)
    yield "connected"
    return connection.recv(1000)


def start_mariadb(lab):
    """A server without tables, all files in the lab's folder; root must say --user=root."""
    folder = lab.folder()
    host, port = lab.server_address
    options = [
        "--no-defaults",
        "--user=root",
        f"--bind-address={host}",
        f"--port={port}",
        f"--datadir={folder}",
        f"--tmpdir={folder}",
        f"--socket={folder}/socket",
        f"--pid-file={folder}/pid",
        "--innodb=OFF",
        "--default-storage-engine=Aria",
        "--skip-grant-tables",
        "--skip-name-resolve",
    ]
    mariadb = lab.run_program([find_program("mariadbd", "mariadb-server-core"), *options])
    mariadb.expect_output("ready for connections")
    return mariadb


def probe(lab, *options):
    """Run the prober to its end, and return how many bytes it received."""
    address = map(str, lab.server_address)
    program = lab.run_program([sys.executable, prober.__file__, *address, *options])
    assert program.finish(within_s=lab.allowance_s + lab.deadline_s) == 0
    return int(re.search(r"(\d+) bytes heard", program.output())[1])


def play(lab, *options):
    """MariaDB is stopped while the prober runs, so the probes are over before its accept()."""
    mariadb = start_mariadb(lab)
    mariadb.stop()
    assert probe(lab, *AT_ONCE, *options) == 0
    return mariadb


def assert_an_ordinary_client_is_greeted(lab):
    greeting = lab.start(await_greeting, lab.server_address).finish()
    assert int.from_bytes(greeting[:3], "little") == len(greeting) - 4
    assert greeting[4] == 10
    assert "MariaDB" in greeting[5:].partition(b"\0")[0].decode()
    assert lab.accept_queue() == 0


def test_mariadb_survives_probes_that_reset_before_accept(lab):
    """Proves: 003-9, for RST. accept() returns the dead connections first, then the client's."""
    mariadb = play(lab, "--reset", "--count", "3")
    assert [(row.state, row.recv_q) for row in lab.sockets()] == [("LISTEN", 3)]
    assert lab.wire() == [*HANDSHAKE, "client RA"] * 3
    mariadb.resume_process()
    assert_an_ordinary_client_is_greeted(lab)
    assert lab.wire().count("server PA") == 1
    mariadb.expect_output("host: 'connecting host'")


def test_a_fast_fin_loses_the_greeting_and_no_call_fails(lab):
    """Proves: 003-9, for FIN."""
    # With 1 s, FIN_WAIT2 might end before a slow host looks.
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)
    mariadb = play(lab, "--count", "1")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    lab.expect_socket("server", inode=0, recv_q=1)
    assert lab.accept_queue() == 1
    mariadb.resume_process()
    lab.expect_wire([*HANDSHAKE, "client FA", "server A", "server PA", "client R"])
    lab.expect_states(client="CLOSED", server="CLOSED")
    mariadb.expect_output("(This connection closed normally without authentication)")
    assert "host: '{}'".format(*lab.client_address(0)) in mariadb.output()
    assert_an_ordinary_client_is_greeted(lab)
    assert "connecting host" not in mariadb.output()


def test_control_a_client_that_waits_gets_the_greeting(lab):
    """Proves: 003-9, by the cure."""
    start_mariadb(lab)
    assert_an_ordinary_client_is_greeted(lab)


@pytest.mark.parametrize(
    ("options", "end"),
    [(["--reset"], "client RA"), ([], "client FA")],
    ids=["RST", "FIN"],
)
def test_control_a_probe_that_waits_gets_the_greeting(lab, options, end):
    """Proves: 003-9, by the cure. It waits for as long as a busy host may take to run MariaDB."""
    mariadb = start_mariadb(lab)
    assert probe(lab, "--count", "1", "--delay", str(lab.allowance_s), *options) > 0
    assert end in lab.wire()
    assert_an_ordinary_client_is_greeted(lab)
    assert "connecting host" not in mariadb.output()
