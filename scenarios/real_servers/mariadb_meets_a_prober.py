"""A real MariaDB greets first, and a probe that does not wait for the greeting costs it no more than a line in its log.

Its main thread does nothing but accept(); a thread for each connection greets, and is alone with its errors. So what
was reset before accept() is handed out, has no peer (getpeername() is ENOTCONN, and the log knows only a "connecting
host"), and is closed. Where the probe ends with FIN, the server has a CLOSE_WAIT, sees nothing wrong, and greets: but
that socket has no owner any more, so the client's kernel answers with RST, for bytes were lost. No program is told: the
server's send() succeeds, and its recv() finds the end of the stream.

    prober                                  server (mariadbd, stopped, then going on)
    SYN_SENT     ── S, SA, A ────────────▶  ESTABLISHED, no owner, accept queue 1
    CLOSED       ── RA ──────────────────▶  CLOSED, accept queue still 1
                                            accept(), getpeername() ENOTCONN, send() ECONNRESET, close()
    or
    FIN_WAIT2    ── FA, A ───────────────▶  CLOSE_WAIT, accept queue 1
                 ◀────── PA (greeting) ──   accept(), getpeername(), send()
                 ── R ───────────────────▶  CLOSED

Sources: article 003; RFC 1122, section 4.2.2.13; net/ipv4/tcp_minisocks.c, tcp_timewait_state_process ("New data or
FIN"). MariaDB: handle_connections_sockets (sql/mysqld.cc), check_connection (sql/sql_connect.cc). The greeting is a
packet: 3 bytes length, 1 byte number, then the protocol's version, 10, and the server's, ended by 0.
"""

import re
import socket
import sys

import pytest

from harness import prober
from harness.inside.installed import find_program

AT_ONCE = ["--delay", "0", "--interval", "0.01"]


def await_greeting(address):
    connection = socket.create_connection(address)
    yield "connected"
    return connection.recv(1000)


def start_mariadb(lab):
    """A server without a single table, whose files are the lab's own; as root it would not run unless told to."""
    folder, (host, port) = lab.folder(), lab.server_address
    options = [
        "--no-defaults", "--user=root", f"--bind-address={host}", f"--port={port}",
        f"--datadir={folder}", f"--tmpdir={folder}", f"--socket={folder}/socket", f"--pid-file={folder}/pid",
        "--innodb=OFF", "--default-storage-engine=Aria", "--skip-grant-tables", "--skip-name-resolve",
    ]  # fmt: skip
    mariadb = lab.run_program([find_program("mariadbd", "mariadb-server-core"), *options])
    mariadb.expect_output("ready for connections")
    return mariadb


def probe(lab, *how):
    """Run the prober to its end; how many bytes it heard."""
    program = lab.run_program([sys.executable, prober.__file__, *map(str, lab.server_address), *how])
    assert program.finish(within_s=lab.allowance_s + lab.deadline_s) == 0
    return int(re.search(r"(\d+) bytes heard", program.output())[1])


def play(lab, *how):
    """Whole probes lie before MariaDB's accept(), because it stands still meanwhile."""
    mariadb = start_mariadb(lab)
    mariadb.stop()
    assert probe(lab, *AT_ONCE, *how) == 0
    return mariadb


def assert_an_ordinary_client_is_greeted(lab):
    greeting = lab.start(await_greeting, lab.server_address).finish()
    assert int.from_bytes(greeting[:3], "little") == len(greeting) - 4
    assert greeting[4] == 10
    assert "MariaDB" in greeting[5:].partition(b"\0")[0].decode()
    assert lab.accept_queue() == 0


def test_mariadb_survives_probes_that_reset_before_accept(lab):
    """Proves: 003-9, of RST. The client stands behind the dead in the queue: accept() hands them out first."""
    mariadb = play(lab, "--reset", "--count", "3")
    assert [(row.state, row.recv_q) for row in lab.sockets()] == [("LISTEN", 3)]
    assert lab.wire() == ["client S", "server SA", "client A", "client RA"] * 3
    mariadb.go_on()
    assert_an_ordinary_client_is_greeted(lab)
    assert lab.wire().count("server PA") == 1
    mariadb.expect_output("host: 'connecting host'")


def test_a_fast_fin_loses_the_greeting_and_no_program_is_told(lab):
    """Proves: 003-9, of FIN."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 60)  # at 1 s the client's end might be gone before a slow host looks
    mariadb = play(lab, "--count", "1")
    lab.expect_states(client="FIN_WAIT2", server="CLOSE_WAIT")
    lab.expect_socket("server", inode=0, recv_q=1)
    assert lab.accept_queue() == 1
    mariadb.go_on()
    lab.expect_wire(["client S", "server SA", "client A", "client FA", "server A", "server PA", "client R"])
    lab.expect_states(client="CLOSED", server="CLOSED")
    mariadb.expect_output("(This connection closed normally without authentication)")
    assert "host: '{}'".format(*lab.client_address(0)) in mariadb.output()
    assert_an_ordinary_client_is_greeted(lab)
    assert "connecting host" not in mariadb.output()


def test_control_a_client_that_waits_gets_the_greeting(lab):
    """Proves: 003-9, by the cure."""
    start_mariadb(lab)
    assert_an_ordinary_client_is_greeted(lab)


@pytest.mark.parametrize(("how", "ending"), [(["--reset"], "client RA"), ([], "client FA")], ids=["RST", "FIN"])
def test_control_a_probe_that_waits_hears_the_greeting_however_it_ends(lab, how, ending):
    """Proves: 003-9, by the cure. The time is what the lab allows the scheduler of a busy host."""
    mariadb = start_mariadb(lab)
    assert probe(lab, "--count", "1", "--delay", str(lab.allowance_s), *how) > 0
    assert ending in lab.wire()
    assert_an_ordinary_client_is_greeted(lab)
    assert "connecting host" not in mariadb.output()
