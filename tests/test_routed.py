"""A network with a router: what each host has of its own, what is seen of the path, and the proof that it is quiet."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess

import psutil
import pytest

from harness.errors import LabError
from harness.lab.lab import Lab
from harness.lab.nursery import Nursery
from harness.network import kinds
from harness.story.shape import shape
from harness.views.ladder import ladder
from harness.views.lines import printed
from harness.views.mermaid import mermaid
from harness.views.pcapng import pcapng
from harness.views.transcript import transcript
from tests.playing import GENEROUS_S, clean_environment, pytest_command, run_pytest, scenario_file

RETRIES = "net.ipv4.tcp_retries2"


@pytest.fixture(scope="module", params=[4, 6], ids=["IPv4", "IPv6"])
def nursery(request):
    with contextlib.closing(Nursery([], family=request.param)) as made:
        yield made


@pytest.fixture
def routed(nursery):
    with contextlib.closing(Lab(nursery, __file__, 5, kinds.ROUTED)) as lab:
        yield lab


def echo(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    yield "accepted"
    while data := connection.recv(1):
        connection.sendall(data)


def ask(address, bursts=1, size=1):
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    yield "connected"
    for number in range(bursts):
        for _ in range(size):
            connection.sendall(b"?")
        connection.recv(size, socket.MSG_WAITALL)
        yield f"burst {number}"


def connect(lab, *arguments):
    server = lab.start(echo, lab.server_address, on="server", to="listening")
    client = lab.start(ask, lab.server_address, *arguments, on="client", to="connected")
    server.run_to("accepted")
    server.resume()
    return server, client


def test_the_set_up_sends_nothing(routed):
    assert routed.evidence() == (0, 0)


def test_a_connection_is_seen_on_both_links(routed):
    """What the router passes on is what was sent; the states are those of the two ends."""
    connect(routed)
    assert routed.wire() == routed.wire(arrived=True) == ["client S", "server SA", "client A"]
    routed.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert routed.path("client") == ["SYN_SENT", "ESTABLISHED"]
    assert routed.timeline.lost() == set()


def test_each_host_has_its_own_sysctls_and_counters(routed):
    before = routed.sysctl(RETRIES, on="client")
    routed.set_sysctl(RETRIES, 7, on="server")
    assert [routed.sysctl(RETRIES, on=on) for on in ("client", "server", "other server")] == [before, "7", "7"]
    routed.set_sysctl(RETRIES, 8)
    assert {routed.sysctl(RETRIES, on=on) for on in ("client", "router", "server")} == {"8"}
    connect(routed)
    assert [routed.counter("TcpActiveOpens", on=on) for on in ("client", "router", "server")] == [1, 0, 0]
    assert [routed.counter("TcpPassiveOpens", on=on) for on in ("client", "router", "server")] == [0, 0, 1]
    assert routed.counter("TcpActiveOpens") == routed.counter("TcpPassiveOpens") == 1


def test_a_host_must_be_named_and_known(routed):
    with pytest.raises(LabError, match=r"on which host\? Hint: on= one of router, client, server, other server"):
        routed.start(echo, routed.server_address)
    for use in (
        lambda: routed.start(echo, routed.server_address, on="sever"),
        lambda: routed.sysctl(RETRIES, on="sever"),
        lambda: routed.counter("TcpActiveOpens", on="sever"),
        lambda: routed.set_mtu("sever", 1400),
    ):
        with pytest.raises(LabError, match=r"no host 'sever'. Hint: .*router, client, server, other server"):
            use()


def test_a_segment_that_is_lost_on_the_way_is_drawn_so(routed):
    """In each picture; and it changes no state at its receiver."""
    server, client = connect(routed)
    routed.drop(f"tcp sport {routed.server_address[1]} tcp flags & fin == fin")
    server.kill()
    assert routed.wire()[-1] == "server FA"
    assert "server FA" not in routed.wire(arrived=True)
    assert routed.path("client") == ["SYN_SENT", "ESTABLISHED"]
    routed.expect_states(client="ESTABLISHED", server="FIN_WAIT1")
    [arrow] = [line for line in printed(ladder(routed.timeline, 80), 80, color=False).splitlines() if " FA " in line]
    assert "✗" in arrow
    assert "◀" not in arrow
    [said] = [line for line in transcript(routed.timeline).splitlines() if "── FA ──" in line]
    assert said.endswith("lost on the way")
    assert "server-xclient" in mermaid(routed.timeline)
    routed.restore()
    routed.expect_states(client="CLOSE_WAIT", server="FIN_WAIT2")
    client.kill()


def test_a_retransmission_that_arrives_is_not_lost_but_the_first_try_is(routed):
    server, client = connect(routed)
    routed.drop(f"tcp dport {routed.server_address[1]} tcp flags & psh == psh limit rate 1/hour burst 1 packets")
    client.run_to("burst 0")
    data = [
        segment
        for segment in routed.segments()
        if segment.length and segment.destination[1] == routed.server_address[1]
    ]
    assert [id(segment) in routed.timeline.lost() for segment in data] == [True, False]
    del server


def test_dnat_offers_a_service_at_the_routers_own_address(routed):
    """The client and the server each see one address of the other, and restore() leaves the NAT alone."""
    service = routed.dnat(routed.server_address)
    host, port = service
    routed.restore()
    server = routed.start(echo, routed.server_address, on="server", to="listening")
    routed.start(ask, service, on="client", to="connected")
    server.run_to("accepted")
    assert routed.wire() == ["client S", "server SA", "client A"]
    assert routed.wire(arrived=True) == ["client S", "router SA", "client A"]
    assert routed.lost() == []
    assert (routed.socket("client").remote, routed.socket("server").local) == (service, routed.server_address)
    assert host not in routed.server_address
    assert port == routed.server_address[1]


def test_it_is_quiet_when_it_says_so(routed):
    """After each of 200 bursts, the capture has every segment that the hosts' own counters have, sent and passed on.

    A delayed ACK may come between two looks, so the counters are read before and after.
    """
    _, client = connect(routed, 200, 5)
    for number in range(200):
        client.run_to(f"burst {number}")
        before = out_segs(routed)
        sent, arrived = len(routed.segments()), len(routed.segments(arrived=True))
        assert before <= sent <= arrived <= out_segs(routed)


@pytest.mark.parametrize(("host", "on"), [(host, on) for host in ("client", "server") for on in (host, "router")])
def test_a_link_that_was_down_carries_again(routed, host, on):
    """Either end of either link: addresses, routes and neighbours are back, and being down and up sends nothing."""
    _, client = connect(routed, 2)
    client.run_to("burst 0")
    before = routed.evidence()
    routed.link_down(host, on=on)
    routed.link_up(host, on=on)
    assert routed.evidence() == before
    client.run_to("burst 1")
    assert routed.lost() == []


def test_the_end_that_is_set_down_loses_its_route_and_the_other_its_carrier(routed):
    """What the router sends towards either is lost; only the end without a route knows."""
    _, client = connect(routed)
    routed.link_down("client", on="router")
    client.resume()
    routed.expect("a retransmission", True, lambda: routed.counter("TcpRetransSegs", on="client") > 0)
    assert routed.wire(since="accepted") == []
    routed.link_up("client", on="router")
    client.run_to("burst 0")


def test_a_link_has_two_ends(routed):
    for host, on, ends in (
        ("server", "client", "router or server"),
        ("other server", "client", "router or server"),
        ("router", "router", "router"),
    ):
        with pytest.raises(LabError, match=rf"the {on} is at no end of a link to the {host}. Hint: .*on= {ends}$"):
            routed.link_down(host, on=on)


def test_the_standby_has_the_address_and_not_the_connection(routed):
    """Its link is seen as the others are, and is quiet when it says so; an actor on it is reached at that address."""
    with pytest.raises(LabError, match="no host 'standby'"):
        routed.start(echo, routed.server_address, on="standby")
    server, _ = connect(routed)
    before = routed.evidence()
    routed.fail_over()
    assert routed.evidence() == before
    with pytest.raises(LabError, match="Hint: fail over once"):
        routed.fail_over()
    again = routed.start(ask, routed.server_address, name="refused", on="client")
    again.fail_with("ECONNREFUSED")
    assert routed.wire(since="accepted") == routed.wire(since="accepted", arrived=True) == ["client S", "server RA"]
    standby = routed.start(echo, routed.server_address, name="standby", on="standby", to="listening")
    once_more = routed.start(ask, routed.server_address, name="served", on="client", to="connected")
    standby.run_to("accepted")
    standby.resume()
    once_more.run_to("burst 0")
    assert routed.lost() == []
    del server


def test_a_router_without_a_neighbour_says_so(routed):
    _, client = connect(routed)
    routed.lose_neighbour("server")
    client.resume()
    routed.expect("a lost segment", True, lambda: bool(routed.lost()))
    routed.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    assert routed.counter("TcpOutRsts") == 0


def out_segs(lab):
    """What both hosts' TCP has sent; TcpOutSegs is without retransmissions, such as a loss probe's (RFC 4022)."""
    return sum(lab.counter(name, on=on) for name in ("TcpOutSegs", "TcpRetransSegs") for on in ("client", "server"))


MASQUERADE, INVALID = "masquerade", "ct state invalid"


def test_nat_hides_the_client_from_the_server(routed):
    """Each end has its own view; the states are those of the two ends."""
    routed.nat("srcnat", f"{routed.from_host('client')} {MASQUERADE}")
    server, client = connect(routed)
    assert routed.wire() == ["client S", "server SA", "client A"]
    assert routed.wire(arrived=True) == ["router S", "server SA", "router A"]
    assert [routed.path(end) for end in ("client", "server")] == [
        ["SYN_SENT", "ESTABLISHED"],
        ["SYN_RECV", "ESTABLISHED"],
    ]
    assert routed.lost() == []
    [tracked] = routed.conntrack()
    assert tracked.state == "ESTABLISHED"
    assert (tracked.source, tracked.destination) == (routed.socket("client").local, routed.server_address)
    assert (tracked.answers_from, tracked.answers_to) == (routed.server_address, routed.socket("server").remote)
    client.run_to("burst 0")
    client.kill()
    assert routed.wire()[-2:] == ["server FA", "client A"]
    assert routed.path("client")[-2:] == ["FIN_WAIT2", "TIME_WAIT"]
    assert routed.path("server")[-1] == "CLOSED"
    del server


def test_what_nat_changes_is_one_connection_in_every_picture(routed):
    routed.nat("srcnat", f"{routed.from_host('client')} {MASQUERADE}")
    connect(routed)
    lines = printed(ladder(routed.timeline, 100), 100, color=False).splitlines()
    [answer] = [line for line in lines if " SA " in line]
    assert answer.endswith("SYN_RECV")
    assert "server->>client" in mermaid(routed.timeline)
    *_, line = shape(routed.timeline)
    assert "→S ←SA →A" in line


def test_restore_leaves_nat_alone(routed):
    routed.nat("srcnat", f"{routed.from_host('client')} {MASQUERADE}")
    routed.drop("tcp flags & fin == fin")
    routed.restore()
    connect(routed)
    assert routed.wire(arrived=True)[0] == "router S"


def test_what_the_router_sends_itself_is_drawn_so(routed):
    """A RST in the server's name: the server has not sent it, and the client is CLOSED."""
    routed.set_sysctl("net.netfilter.nf_conntrack_tcp_loose", 0, on="router")
    server, client = connect(routed)
    routed.reject(INVALID, with_="tcp reset")  # from here on connections are tracked
    client.resume()
    routed.expect_wire(["client PA", "server R"], since=routed.timeline.find("accepted"))
    assert routed.counter("TcpOutRsts", on="server") == 0
    assert routed.path("client")[-1] == "CLOSED"
    assert routed.path("server")[-1] == "ESTABLISHED"
    lines = printed(ladder(routed.timeline, 100), 100, color=False).splitlines()
    [arrow] = [line for line in lines if "R, by the router" in line]
    assert "◀" in arrow
    assert "sent by the router" in transcript(routed.timeline)
    client.fail_with("ECONNRESET")
    del server


def test_a_wrong_nat_rule_is_an_error(routed):
    with pytest.raises(LabError, match="nft refuses 'masquerad'"):
        routed.nat("srcnat", "masquerad")
    with pytest.raises(LabError, match=r"no NAT chain 'postrouting'\. Hint: use one of srcnat, dstnat"):
        routed.nat("postrouting", "masquerade")


@pytest.mark.skipif(not shutil.which("tshark"), reason="no tshark here. Hint: install it (apt install tshark)")
def test_wireshark_shows_the_links(routed, tmp_path):
    connect(routed)
    file = tmp_path / "story.pcapng"
    file.write_bytes(pcapng(routed.timeline))
    fields = ["frame.interface_name", "frame.packet_flags_direction", "tcp.flags.str"]
    asked = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-n", "-r", file, "-T", "fields", *asked], capture_output=True, text=True, check=True
    )
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    links = [(name, "in" if int(direction, 16) == 1 else "out") for name, direction, _ in rows]
    assert links[:4] == [("client", "in"), ("server", "out"), ("server", "in"), ("client", "out")]


def test_nothing_is_left_when_its_keeper_is_killed(nursery):
    """A network namespace ends with its last process: nothing else keeps these (ip-netns(8) would mount them)."""
    keeper = nursery.open_lab(__file__, spare=False, network=kinds.ROUTED)
    with contextlib.closing(keeper):
        itself = psutil.Process(keeper.pid)
        every = [itself, *itself.children(recursive=True)]
        networks = {os.stat(f"/proc/{process.pid}/ns/net").st_ino for process in every}
        assert len(networks) == len(keeper.places) == 3
        os.kill(keeper.pid, signal.SIGKILL)
        assert psutil.wait_procs(every, timeout=GENEROUS_S)[1] == []


def of_the_host():
    """Links, addresses, routes, rules, permanent neighbours and firewall of the host, without what moves by itself."""
    shown = []
    for asked in ("link", "address", "-4 route show table all", "-6 route show table all", "-4 rule", "-6 rule",
                  "neigh show nud permanent"):  # fmt: skip
        shown.append(subprocess.run(["ip", *asked.split()], capture_output=True, text=True).stdout)
    if nft := shutil.which("nft", path="/usr/sbin:/usr/bin"):
        shown.append(subprocess.run([nft, "list", "ruleset"], capture_output=True, text=True).stdout)
    return [re.sub(r"(valid_lft|preferred_lft|expires) \S+", "", text) for text in shown]


@pytest.mark.skipif(not shutil.which("ip"), reason="no ip here. Hint: install it (apt install iproute2)")
def test_the_hosts_network_is_as_it_was_even_after_sigkill():
    before = of_the_host()
    path = scenario_file("mtu_black_hole")
    assert run_pytest(path, "-k", "lowers or message").returncode == 0
    assert of_the_host() == before
    command = pytest_command(path, "-v", "-p", "no:cacheprovider")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment()) as playing:
        while "PASSED" not in playing.stdout.readline():
            assert playing.poll() is None
        inside = psutil.Process(playing.pid).children(recursive=True)
        playing.kill()
        assert inside
        assert psutil.wait_procs(inside, timeout=GENEROUS_S)[1] == []
    assert of_the_host() == before


def test_an_unknown_network_is_an_error(tmp_path):
    story = tmp_path / "test_story.py"
    story.write_text("import pytest\n\n@pytest.mark.network('bridged')\ndef test_it(lab):\n    pass\n")
    done = run_pytest(story)
    assert done.returncode == 1
    assert "no such network: ('bridged',). Hint: name one of loopback, routed" in done.stdout
