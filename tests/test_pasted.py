"""`diagnose --from`: text of real programs read as sock_diag shows it, real examples of faults, and hostile text."""

import io
import os
import random
import socket
from pathlib import Path

import pytest

from harness.diagnose import signatures
from harness.diagnose.finding import Certainty
from harness.diagnose.pasted import files, formats, looks, text
from harness.diagnose.pasted.phrases import PHRASES
from harness.diagnose.pasted.reading import UNKNOWN_BACKLOG, Reading
from harness.errors import LabError
from harness.evidence import counters, sockets
from harness.evidence.sockets import State
from tests.pasted.make import FAULTS
from tests.playing import run_module

HERE = Path(__file__).parent / "pasted"
LISTENER = "LISTEN 3 2 192.0.2.2:80 0.0.0.0:*"


def read(printed):
    reading, unread = Reading(), text.Unread()
    data = printed if isinstance(printed, bytes) else printed.encode(errors="surrogatepass")
    formats.read(text.lines(io.BytesIO(data), unread, text.Budget()), "text", reading, unread)
    return reading, unread


def rows(printed):
    reading, unread = read(printed)
    assert unread.lines == []
    return [row for table in reading.tables for row in table.rows]


def taken(tmp_path, *texts):
    paths = [tmp_path / str(number) for number in range(len(texts))]
    for path, printed in zip(paths, texts, strict=True):
        path.write_text(printed)
    return looks.take([str(path) for path in paths])


# the real programs as witnesses

DUAL_STACK, ONLY_IPV6 = 7008, 7009
"""Ports of listeners; those of the lab's servers begin at 8000, one for each lab that is open on this machine."""


def be_in_many_states(server, other_server, client_host):
    listener = socket.create_server(server)

    def connect(port):
        ours = socket.create_connection(server, source_address=(client_host, port))
        return ours, listener.accept()[0]

    held = [connect(port) for port in (40001, 40002, 40003, 40004)]
    held[0][0].setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    held[0][0].sendall(b"hello")
    held[1][0].shutdown(socket.SHUT_WR)
    for end in held[2]:
        end.close()
    held[3][0].close()
    full = socket.create_server(other_server, backlog=0)
    queued = socket.create_connection(other_server, source_address=(client_host, 40005))
    dual = socket.create_server(("::", DUAL_STACK), family=socket.AF_INET6, dualstack_ipv6=True)
    mapped = socket.create_connection((server[0], DUAL_STACK), source_address=(client_host, 40006))
    only_ipv6 = socket.create_server(("::1", ONLY_IPV6), family=socket.AF_INET6)
    held += [(full, queued), (dual, mapped), (only_ipv6, dual.accept()[0])]  # or they would be closed
    yield "in many states"


@pytest.fixture
def busy(lab):
    """A lab with sockets in many states."""
    lab.set_sysctl("net.ipv4.tcp_fin_timeout", 30)
    lab.start(be_in_many_states, lab.server_address, lab.other_server_address, lab.client_address(0)[0]).run_to(
        "in many states"
    )
    for port in (40002, 40004):
        lab.expect_states(client="FIN_WAIT2", port=port)
    return lab


def printed_by(lab, *command):
    program = lab.run_program(list(command))
    assert program.finish() == 0
    return program.output()


def known(row, *, backlog=True, inode=True, timer=True):
    """What a format shows of a row, for a comparison."""
    send_q = row.send_q if backlog or row.state != State.LISTEN else UNKNOWN_BACKLOG
    shown = row.inode if inode or row.inode <= 0 else "made up"
    tries = (row.timer.name, row.timer.retransmits) if timer else ()
    return row.state, row.local, row.remote, row.recv_q, send_q, tries, shown


def table_of(lab):
    """The kernel's rows as they are: a lab shows IPv4-mapped addresses as IPv4."""
    lab.sockets()  # quiet
    return sockets.read(lab._keeper.table)


@pytest.mark.parametrize("options", ["-tanpeimo", "-tanpeimoO", "-tanpeimoOH", "-tanpeimoH", "-anpeimo"])
def test_ss_shows_what_sock_diag_shows(busy, options):
    read_rows = rows(printed_by(busy, "sh", "-c", f"ss {options} 2>/dev/null"))
    expected = table_of(busy)
    assert sorted(map(known, read_rows), key=str) == sorted(map(known, expected), key=str)
    for row in read_rows:
        assert (row.details is None) == (row.timer.name == "time_wait"), row


@pytest.mark.parametrize("options", ["-tan", "-tano", "-tane", "-tanp"])
def test_ss_with_fewer_options_shows_less(busy, options):
    reading, unread = read(printed_by(busy, "ss", options))
    [table] = reading.tables
    shows = {"inode": "e" in options, "timer": options[-1] in "oe"}  # main() of ss: -e includes -o
    expected = {known(row, **shows) for row in table_of(busy)}
    made_up = {known(row)[:5] for row in table.rows}
    assert unread.count == 0
    assert {row[:5] for row in expected} == made_up
    assert all(
        (row.inode >= 0) == shows["inode"] for row in table.rows if row.state in (State.LISTEN, State.ESTABLISHED)
    )
    assert any("ss -e" in each for each in table.lacks) != shows["inode"]
    assert any("ss -o" in each for each in table.lacks) != shows["timer"]


def test_details_are_those_of_tcp_info(busy):
    by_ends = {(row.state, row.local, row.remote): row.details for row in rows(printed_by(busy, "ss", "-tanim"))}

    stable = ("mss", "unacked", "retrans", "total_retrans", "cwnd", "rtt_ms", "bytes_acked", "bytes_received",
              "notsent", "busy_ms", "rwnd_limited_ms", "rcvbuf", "sndbuf", "drops")  # fmt: skip
    compared = 0
    for row in sockets.read(busy._keeper.table, detailed=True):
        ours = by_ends[row.state, row.local, row.remote]
        if row.details and row.state != State.SYN_SENT:  # whose timer may expire in between
            for name in stable:
                expected = getattr(row.details, name)
                assert getattr(ours, name) == pytest.approx(expected, abs=1 if name.endswith("_ms") else 0), name
            compared += 1
    assert compared >= 7


def test_a_filtered_table_has_a_state_only_if_its_command_is_there(busy):
    printed = printed_by(busy, "ss", "-tan", "state", "fin-wait-2")
    reading, unread = read(printed)
    assert reading.tables == []
    assert "no State column" in unread.lines[0]
    with_command = rows("$ ss -tan state fin-wait-2\n" + printed)
    assert [row.state for row in with_command] == [State.FIN_WAIT2] * 2


@pytest.mark.parametrize("name", ["tcp", "tcp6"])
def test_proc_net_tcp_shows_the_same_but_no_backlog(busy, name):
    read_rows = rows(Path(f"/proc/{busy._keeper.pid}/net/{name}").read_text())
    expected = [row for row in table_of(busy) if (":" in row.local[0]) == (name == "tcp6")]
    told = [known(row, backlog=False) for row in expected]
    assert sorted(map(known, read_rows), key=str) == sorted(told, key=str)


def test_what_netstat_tells_an_ordinary_user_is_no_row():
    told = (
        "(Not all processes could be identified, non-owned process info\n will not be shown, you would have to be root"
    )
    row = "tcp        0      0 192.0.2.2:80            0.0.0.0:*               LISTEN"
    assert len(rows(f"{told}\nActive Internet connections (servers and established)\n{row}\n")) == 1


def test_netstat_shows_the_same_but_no_backlog(busy):
    read_rows = rows(printed_by(busy, "netstat", "-tanpeoW"))
    told = [known(row, backlog=False) for row in table_of(busy)]
    assert sorted(map(known, read_rows), key=str) == sorted(told, key=str)


def test_counters_are_the_same_in_every_format(busy):
    pid = busy._keeper.pid
    expected = counters.numbers(counters.texts(pid))
    files_of_proc = "".join(Path(f"/proc/{pid}/net/{name}").read_text() for name in ("netstat", "snmp"))
    from_proc = looks._counters(read(files_of_proc)[0].counters, [])
    [nstat] = read(printed_by(busy, "nstat", "-asz"))[0].counters
    [netstat] = read(printed_by(busy, "netstat", "-s"))[0].counters
    assert from_proc == expected
    assert {name: nstat.numbers[name] for name in expected if name.startswith("TcpExt")} == {
        name: value for name, value in expected.items() if name.startswith("TcpExt")
    }
    grown = {name: value for name, value in expected.items() if value and name.startswith(("Tcp", "TcpExt"))}
    grown = {name: value for name, value in grown.items() if name[:7] not in ("TcpRtoA", "TcpRtoM", "TcpMaxC")}
    assert len(grown) > 5
    assert {name: netstat.numbers.get(name) for name in grown} == grown
    assert netstat.omits_zeros_of >= {"Tcp", "TcpExt"}


@pytest.mark.parametrize("phrase", PHRASES)
def test_each_phrase_is_read_with_any_white_space(phrase):
    title = "TcpExt" if PHRASES[phrase].startswith("TcpExt") else "Tcp"
    printed = f"{title}:\n  {phrase.replace('#', '17').replace(' ', '   ')}\nIpExt:\n"
    reading, unread = read(printed)
    assert unread.count == 0
    assert reading.counters[0].numbers == {PHRASES[phrase]: 17}


# rows by hand: what no lab here prints


@pytest.mark.parametrize(
    ("line", "local", "remote"),
    [
        ("ESTAB 0 0 [::ffff:192.0.2.1]:80 [::ffff:192.0.2.2]:4", ("::ffff:192.0.2.1", 80), ("::ffff:192.0.2.2", 4)),
        ("ESTAB 0 0 [fe80::1]%eth0:80 [fe80::2]:4000", ("fe80::1", 80), ("fe80::2", 4000)),
        ("ESTAB 0 0 fe80::1%eth0:80 fe80::2:4000", ("fe80::1", 80), ("fe80::2", 4000)),
        ("LISTEN 0 9 *:80 *:*", ("::", 80), ("::", 0)),
        ("LISTEN 0 9 *:80 *:*\nLISTEN 0 9 :::80 :::*", ("0.0.0.0", 80), ("0.0.0.0", 0)),
        ("LISTEN 0 9 0.0.0.0%lo:80 0.0.0.0:*", ("0.0.0.0", 80), ("0.0.0.0", 0)),
    ],
)  # fmt: skip
def test_addresses(line, local, remote):
    assert (rows(line)[0].local, rows(line)[0].remote) == (local, remote)


@pytest.mark.parametrize(
    ("printed", "seconds"),
    [("1min59sec", 119), ("12sec", 12), ("1.200ms", 1.2), ("1.200sec", 1.2), ("040ms", 0.04), ("", 0), ("9min", 540)],
)
def test_timers_of_old_and_new_versions(printed, seconds):
    [row] = rows(f"ESTAB 0 5 192.0.2.1:80 192.0.2.2:4000 timer:(persist,{printed},3)")
    assert (row.timer.name, row.timer.expires_s, row.timer.retransmits) == ("zero_window_probe", seconds, 3)


@pytest.mark.parametrize("users", ['(("a b",1234,3),("c",99,4))', '(("a b",pid=1234,fd=3),("c",pid=99,tid=99,fd=4))'])
def test_programs_of_old_and_new_versions(users):
    [table] = read(f"{LISTENER} users:{users} ino:7")[0].tables
    assert [(owner.pid, owner.program) for owner in table.owners[7]] == [(1234, "a b"), (99, "c")]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ESTAB 0 0 192.0.2.1:http 192.0.2.2:4000", "a port that is not a number. Hint: use -n"),
        ("ESTAB 0 0 web:80 192.0.2.2:4000", "a host that is not an address"),
        ("ESTAB 0 0 192.0.2.1:80", "a row of ss that is cut off"),
        ("ESTAB 0 x 192.0.2.1:80 192.0.2.2:1", "not a row of ss"),
        ("tcp6 0 0 2001:db8:111:2222:33:80 :::* LISTEN", "an address that may be cut off. Hint: use netstat -W"),
    ],
)
def test_a_line_that_is_not_read_has_a_number_and_a_reason_but_no_text(line, why):
    reading, unread = read(f"{LISTENER}\n{line}\n")
    assert unread.count == 1
    assert unread.lines[0].startswith(f"line 2: {why}")
    assert "192.0.2" not in unread.lines[0]
    assert len(reading.tables[0].rows) == 1


# looks


@pytest.mark.parametrize("name", FAULTS)
def test_a_pasted_example_has_its_fault_and_no_other(name):
    before, after = looks.take([str(HERE / name / "first.txt"), str(HERE / name / "second.txt")])
    found = signatures.findings(before, after)
    # No text shows the limit of file descriptors that makes CLOSE_WAITs a certain fault.
    certainty = Certainty.POSSIBLE if name == "close_wait_piles_up" else Certainty.FOUND
    assert [(finding.lesson, finding.certainty) for finding in found] == [(name, certainty)]


@pytest.mark.parametrize("name", FAULTS)
def test_with_one_look_nothing_is_certain(name):
    before, after = looks.take([str(HERE / name / "second.txt")])
    found = signatures.findings(before, after)
    assert name in [finding.lesson for finding in found]
    assert {finding.certainty for finding in found} == {Certainty.POSSIBLE}
    assert all("take a second look" in finding.missing for finding in found)


def test_a_counter_that_netstat_omits_was_0(tmp_path):
    overflow = "TcpExt:\n    5 times the listen queue of a socket overflowed\nIpExt:\n"
    before, after = taken(tmp_path, "TcpExt:\n    1 SYN cookies sent\nIpExt:\n", overflow)
    assert (before.counters["TcpExtListenOverflows"], after.counters["TcpExtListenOverflows"]) == (0, 5)


@pytest.mark.parametrize("first", ["TcpExt:\n    1 SYN cookies sent\n", "TcpExt:\n    5 mal etwas\nIpExt:\n"])
def test_a_counter_is_not_0_because_the_text_is_cut_off_or_foreign(tmp_path, first):
    overflow = "TcpExt:\n    5 times the listen queue of a socket overflowed\nIpExt:\n"
    before, after = taken(tmp_path, f"{LISTENER}\nTcp:\n    1 resets sent\n{first}", overflow)
    assert "TcpExtListenOverflows" not in before.counters
    assert any("growth of 1 counters" in each for each in after.unseen)


def test_without_inodes_no_queue_has_dead_connections_and_no_program_is_blamed(tmp_path):
    rows = "".join(f"CLOSE-WAIT 1 0 192.0.2.2:80 192.0.2.1:{port}\n" for port in (1, 2, 3))
    found = signatures.findings(*taken(tmp_path, *[f"{LISTENER}\n{rows}"] * 2))
    assert {finding.lesson for finding in found} == {"full_accept_queue"}
    assert {finding.certainty for finding in found} == {Certainty.POSSIBLE}


CONNECTION = "ESTAB 0 0 192.0.2.2:81 192.0.2.1:40000\n"
PORTS = "net.ipv4.ip_local_port_range = 32768 60999\n"


@pytest.mark.parametrize(
    ("table", "note"),
    [
        (f"{LISTENER}\n{CONNECTION}", None),
        (LISTENER, "connections, if there are any: the table has only listeners. Hint: use ss -tan"),
        (CONNECTION, "listeners, if there are any: the table has only connections. Hint: use ss -tan"),
    ],
    ids=["ss -tan", "ss -ltn", "ss -tn"],
)
def test_what_a_table_leaves_out_does_not_seem_to_be_gone(tmp_path, table, note):
    """With `ss -ltn` no connection in a queue has a row; with `ss -tn` no connection has a listener."""
    before, after = taken(tmp_path, *[f"{table}\nTcpPassiveOpens 7 0.0\n{PORTS}"] * 2)
    found = {finding.lesson for finding in signatures.findings(before, after)}
    absent = {"reset_before_accept", "address_in_use_at_restart"}
    assert (found & absent, [each for each in after.unseen if "the table has only" in each]) == (
        (absent, []) if note is None else (set(), [note])
    )


def test_a_listener_without_a_backlog_is_not_full(tmp_path):
    row = (
        "  0: 020200C0:1F41 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 7 1 0 100 0 0 10 0\n"
    )
    found = signatures.findings(*taken(tmp_path, row, row))
    assert "full_accept_queue" not in [finding.lesson for finding in found]


def test_a_sosreport(tmp_path):
    root = tmp_path / "sosreport-host"
    (root / "sos_commands/networking").mkdir(parents=True)
    (root / "sos_commands/networking/ss_-peaonmi").write_text(
        f"Netid State Recv-Q Send-Q Local Address:Port\ntcp {LISTENER}"
    )
    (root / "sos_commands/networking/nstat_-zas").write_text("#kernel\nTcpExtListenOverflows 4 0.0\n")
    (root / "proc/1/net").mkdir(parents=True)
    (root / "proc/1/net/sockstat").write_text("TCP: inuse 5 orphan 0 tw 2 alloc 3 mem 1\n")
    (root / "proc/net").symlink_to("1/net")
    (root / "proc/sys/net/ipv4").mkdir(parents=True)
    (root / "proc/sys/net/ipv4/ip_local_port_range").write_text("32768\t60999\n")
    (root / "etc").mkdir()
    (root / "etc/shadow").write_text("root:secret")
    look, _ = looks.take([str(tmp_path)])
    assert [row.recv_q for row in look.sockets] == [3]
    assert look.counters == {"TcpExtListenOverflows": 4}
    assert look.sockstat["TCP tw"] == 2
    assert look.sysctls == {"net.ipv4.ip_local_port_range": "32768 60999"}
    assert not any("secret" in each for each in look.unseen)


# hostile text and files


def test_only_regular_files_of_the_directory_are_opened(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "ss").write_text(LISTENER)
    (tmp_path / "outside").write_text(LISTENER.replace(":80", ":81"))
    (inside / "link").symlink_to(tmp_path / "outside")
    (inside / "device").symlink_to("/dev/zero")
    os.mkfifo(inside / "fifo")
    (inside / "notes").write_text("password: hunter2\n")
    look, _ = looks.take([str(inside)])
    assert [row.local[1] for row in look.sockets] == [80]
    for name in ("link: a link that leaves", "device: a link that leaves", "fifo: not a regular", "notes: no known"):
        assert any(each.startswith(name) for each in look.unseen), name
    assert "hunter2" not in str(look.unseen)


@pytest.mark.parametrize(
    ("source", "error"),
    [("/dev/zero", LabError), ("/nowhere", LabError), ("/dev/null", LabError), ("a\0b", LabError)],
)
def test_what_is_not_a_file_is_refused(source, error):
    with pytest.raises(error, match="Hint: "):
        files.read(source)


@pytest.mark.parametrize(
    ("printed", "status"),
    [("hello\n", 2), ("", 2), ("\0\0\0\n", 2), ("net.core.somaxconn = 4096\n", 3), (f"{LISTENER}\n", 3)],
)
def test_exit_statuses(printed, status):
    done = run_module("harness", "diagnose", "--from", "-", answer=printed)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--from", "-"], "once"),
        (["--pid", "1"], "--from reads"),
        (["--netns", ""], "--from reads"),
        (["--interval", "5"], "--from reads"),
        (["--from", ""], "--from names no file"),
    ],
)
def test_bad_combinations(options, says):
    done = run_module("harness", "diagnose", "--from", "-", *options)
    assert (done.returncode, says in done.stderr) == (2, True)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_has_a_remedy(tmp_path, encoding):
    (tmp_path / "ss.txt").write_text(f"\ufeff{LISTENER}\n", encoding=encoding)
    with pytest.raises(LabError, match=r"ss\.txt: UTF-16\. Hint: save it as UTF-8"):
        looks.take([str(tmp_path / "ss.txt")])


def test_files_that_were_not_read_are_mentioned_if_the_others_are_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_FILES", 2)
    for name in "abc":
        (tmp_path / name).write_text(LISTENER if name == "c" else "hello\n")
    with pytest.raises(LabError, match=r"a: no known format; files after the first 2"):
        looks.take([str(tmp_path)])


def test_the_report_names_its_sources(tmp_path):
    (tmp_path / "first").write_text(LISTENER)
    done = run_module("harness", "diagnose", "--from", str(tmp_path / "first"), "--from", "-", answer=LISTENER)
    assert f"1 TCP socket and 0 counters of {tmp_path / 'first'} and the standard input." in done.stdout


def test_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "MOST_LINES", 10)
    monkeypatch.setattr(text.Budget.__init__, "__defaults__", (text.MOST_BYTES, 10))
    reading, unread = read(f"{LISTENER}\n" * 20)
    assert unread.lines[-1].startswith("line 11: from here on: only ")
    assert len(reading.tables[0].rows) == 10
    _, unread = read(LISTENER + " " * text.LONGEST_LINE + "\n" + LISTENER)
    assert unread.lines == [f"line 1: longer than {text.LONGEST_LINE} bytes"]


@pytest.mark.parametrize("value", ["1 99999", "x y", "1 2 3", "0 " + "9" * 30])
def test_a_sysctl_that_the_kernel_would_not_print_reaches_no_signature(tmp_path, value):
    look, _ = taken(tmp_path, f"{LISTENER}\nnet.ipv4.ip_local_port_range = {value}\n")
    assert look.sysctls == {}
    assert any("cannot have" in each for each in look.unseen)


def test_a_programs_name_cannot_move_the_cursor():
    [table] = read(f'{LISTENER} users:(("\x1b[2Ja",pid=1,fd=3)) ino:7')[0].tables
    assert table.owners[7][0].program.isprintable()


PIECES = [
    "\ntcp 0 0 192.0.2.1:80 192.0.2.2:1 ESTABLISHED 0 5 1/a on (1.00/2/3)", "\nTcpExt: SyncookiesSent A\nTcpExt: 1 2\n",
    "State", "Recv-Q", "Send-Q", "Local Address:Port", "LISTEN", "ESTAB", "TIME-WAIT", "tcp", "udp", "u_str", " ", "  ",
    "\n", "\n\t", "0", "17", "99999999999999999999999", "-1", "192.0.2.1:80", "[::1]:80", "[::ffff:1.2.3.4]%x:1", "*:*",
    "*:80", ":::80", "users:((\"a\",pid=1,fd=2))", "users:((", "timer:(on,1.2sec,3)", "timer:(,,)", "ino:5", "cwnd:10",
    "rto:2e+06", "rtt:1/2", "skmem:(r0,rb1,t0,tb2,f0,w0,o0,bl0,d1)", "busy:5ms", "TcpExt:", "Tcp:", "Ip:", "IpExt:",
    "resets sent", "SYN cookies sent", "TCPTimeouts: 5", "#kernel", "TcpExtListenDrops", "0.0", "TCP: inuse 1",
    "sl  local_address",
    "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 5 1", "FFFFFFFF", "tcp6",
    "Proto Recv-Q",
    "off (0.00/0/0)", "1/a", "-", "CLOSE_WAIT", "net.ipv4.tcp_mem = 1 2 3", "net.core.somaxconn", " = ",
    "$ ss -tan state listening",
    "\0", "\r", "\x85", "\u2028", "\ud800", "\ufeff", "٣", "²", "é", "\x1b[2J", "(", ")", "\"", ":", ",", "%", "=",
]  # fmt: skip
ANY = [*map(chr, range(0x250)), "\u2028", "\u3000", "\ud800", "\U0010ffff", "\n", "\n", " "]


def random_texts(number):
    """The same each time: pieces of the formats, characters, and real text with a few bytes changed or cut off."""
    chance = random.Random(15)
    real = [path.read_text().split("\n") for path in sorted(HERE.glob("*/*.txt"))]
    for count in range(number):
        if count % 3 == 0:
            yield "".join(chance.choices(ANY, k=chance.randrange(40)))
        elif count % 3 == 1:
            yield "".join(each + chance.choice(["", " "]) for each in chance.choices(PIECES, k=chance.randrange(30)))
        else:
            lines = chance.choice(real)
            at = chance.randrange(len(lines))
            some = list("\n".join(lines[at : at + 5])[: chance.randrange(1, 800)]) or [""]
            for _ in range(chance.randrange(4)):
                some[chance.randrange(len(some))] = chance.choice(PIECES)
            yield "".join(some)


def test_any_text_is_read_or_noted():
    chance, seen = random.Random(16), set()
    for printed in random_texts(int(os.environ.get("FUZZ_CASES", "10000"))):
        data = printed.encode(errors="surrogatepass")
        reading, unread = read(data)
        lines = [
            line
            for line in data.decode(errors="replace").split("\n")
            if line.rstrip("\r").removeprefix("\ufeff").strip()
        ]
        assert reading.understood + unread.count == len(lines), (printed, unread)
        assert all(note.isprintable() for note in unread.lines)
        seen |= {each.format for each in (*reading.tables, *reading.counters)}
        look = looks._snapshot(reading)
        if chance.random() < 0.2:
            signatures.findings(look, look)
    assert seen == {*looks._TABLES, *looks._COUNTERS}
