"""The counters compared with `nstat` inside the lab; and texts that are not tables of counters."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import LabError
from harness.evidence import counters, memory

ONLY_NSTAT = ("Ip6", "Icmp6", "Udp6", "UdpLite6")
"""From /proc/net/snmp6, which the lab does not read."""

NO_COUNTERS = {"IpForwarding", "IpDefaultTTL", "TcpRtoAlgorithm", "TcpRtoMin", "TcpRtoMax", "TcpMaxConn",
               "TcpCurrEstab"}  # fmt: skip
"""Settings and a gauge in the same table, which `nstat` leaves out."""


def make_traffic(server, client):
    listener = socket.create_server(server)
    connection = socket.create_connection(server, source_address=client)
    listener.accept()[0].close()
    connection.recv(1)
    connection.close()
    yield "closed"


def test_the_counters_are_those_that_nstat_shows(lab):
    actor = lab.start(make_traffic, lab.server_address, lab.client_address(40001))
    actor.run_to("closed")
    lab.expect_states(server="TIME_WAIT", client="CLOSED")
    witness = lab.run_program(["nstat", "-asz"])  # absolute values, zeros too, and no history file
    assert witness.finish() == 0
    lines = [line.split() for line in witness.output().splitlines() if not line.startswith("#")]
    told = {name: int(value) for name, value, _ in lines if not name.startswith(ONLY_NSTAT)}
    seen = counters.numbers(counters.texts(actor.pid))
    assert {name: seen.get(name) for name in told} == told
    assert seen.keys() - told.keys() <= NO_COUNTERS
    assert told["TcpActiveOpens"] == 1
    assert told["TcpExtTW"] == lab.counter("TcpExtTW")


def test_a_counter_grows_from_the_moment_when_the_lab_is_ready(lab):
    assert lab.counter("TcpActiveOpens") == 0
    assert lab.counter("IpDefaultTTL") == 0  # a setting, 64 from the start
    lab.start(make_traffic, lab.server_address, lab.client_address(40001)).run_to("closed")
    assert lab.counter("TcpActiveOpens") == 1
    assert lab.counter("TcpPassiveOpens") == 1


def test_an_unknown_counter_is_refused(lab):
    with pytest.raises(LabError, match="no counter TcpExtNoSuchThing"):
        lab.counter("TcpExtNoSuchThing")


def test_a_pair_of_lines_is_a_group():
    text = "Tcp: ActiveOpens MaxConn\nTcp: 12 -1\nTcpExt: TW\nTcpExt: 3\n"
    assert counters.parse(text) == {"TcpActiveOpens": 12, "TcpMaxConn": -1, "TcpExtTW": 3}


@pytest.mark.parametrize(
    "text",
    ["Tcp: A B\nTcp: 1\n", "Tcp: A\nTcp: 1 2\n", "Tcp: A\nUdp: 1\n", "Tcp: A\n", "Tcp: A\nTcp: many\n", "\n\n"],
)
def test_a_pair_that_does_not_match_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011
        counters.parse(text)


name = st.text("ABCxyz012", min_size=1, max_size=8)


@given(st.dictionaries(name, st.dictionaries(name, st.integers()), max_size=4))
def test_what_is_written_is_what_is_parsed(groups):
    lines = []
    for group, values in groups.items():
        lines += [f"{group}: {' '.join(values)}", f"{group}: {' '.join(map(str, values.values()))}"]
    wanted = {group + key: value for group, values in groups.items() for key, value in values.items()}
    assert counters.parse("\n".join(lines)) == wanted


def test_a_table_that_cannot_be_read_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(counters.Path, "read_text", lambda _: "Tcp: A B\nTcp: 1\n")
    with pytest.raises(LabError, match=r"/proc/7/net/netstat has an unknown form: .* Hint: "):
        counters.numbers(counters.texts(7))
    with pytest.raises(LabError, match=r"/proc/7/net/sockstat has an unknown form: .* Hint: "):
        memory.sockstat(7)


def be_told_that_a_port_is_unreachable(address):
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.connect(address)
        sender.send(b"to nobody")
    yield "sent"


def test_a_counter_that_was_not_there_at_first_counts_from_0(lab):
    """The kernel lists a type of ICMP message only once it has seen one (net/ipv4/proc.c, icmpmsg_put)."""
    lab.start(be_told_that_a_port_is_unreachable, lab.server_address, to="sent")
    assert lab.counter("IcmpMsgInType3") == 1
    lab.count()


@given(st.text() | st.lists(st.sampled_from(["Tcp:", "Udp:", "A", "B", "1", "-2", "\n"])).map(" ".join))
def test_any_text_is_a_table_or_a_value_error(text):
    try:
        table = counters.parse(text)
    except ValueError:
        return
    assert all(isinstance(value, int) for value in table.values())
