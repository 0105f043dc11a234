"""Both families: what a lab has of each, which one a story is played over, and that IPv4 alone is enough."""

import contextlib
import re
import socket
import subprocess
import sys

import pytest

from harness.errors import LabUnavailable
from harness.evidence.wire import Segment
from harness.inside.installed import find_program
from harness.lab.lab import Lab
from harness.lab.nursery import Nursery
from harness.network import addresses
from harness.story.timeline import Change
from tests.playing import AS_ROOT_OF_A_USER_NAMESPACE, ROOT, clean_environment, run_pytest

STORY = """
import socket

import pytest

from harness.stock_roles import reset_on_close


def serve(address):
    listener = socket.create_server(address)
    yield "listening"
    connection, (host, port, *_) = listener.accept()
    yield "accepted"
    return host, listener.family.name


def call(address):
    connection = socket.socket()
    connection.connect(address)
    yield "connected"


@pytest.mark.parametrize("unused", ["a"])
def test_it(lab, unused):
    server = lab.start(serve, lab.server_address, to="listening")
    client = lab.start(call, lab.server_address, to="connected")
    lab.expect_states(client="ESTABLISHED", server="ESTABLISHED")
    server.run_to("accepted")
    assert server.finish() == (lab.client_address(0)[0], "AF_INET" if lab.family == 4 else "AF_INET6")
    print("over", lab.family)
"""


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def family(request):
    return request.param


@pytest.fixture
def opened(family):
    """A lab of that family, without actors."""
    with (
        contextlib.closing(Nursery([], family=family)) as nursery,
        contextlib.closing(Lab(nursery, __file__, 5)) as lab,
    ):
        yield lab


@pytest.mark.parametrize(
    ("asked", "tests", "profile"),
    [
        ([], ["test_it[a]"], "reference;"),
        (["4"], ["test_it[a]"], "reference;"),
        (["6"], ["test_it[a]"], "reference over IPv6;"),
        (["both"], ["test_it[IPv4-a]", "test_it[IPv6-a]"], "reference over IPv4 and IPv6;"),
    ],
)
def test_a_story_is_played_over_the_family_that_is_asked_for(tmp_path, asked, tests, profile):
    """In both: an unbound client has the client's address, and sockets without a family have the lab's."""
    story = tmp_path / "test_story.py"
    story.write_text(STORY)
    options = [f"--lab-family={each}" for each in asked]
    done = run_pytest(story, "-v", "-rP", "--lab-strict", *options)
    assert done.returncode == 0, done.stdout
    assert re.findall(r"::(\S+) PASSED", done.stdout) == tests
    assert re.findall(r"^over (\d)", done.stdout, re.M) == {"both": ["4", "6"]}.get("".join(asked), asked or ["4"])
    assert f"profile {profile}" in done.stdout


def test_an_unknown_family_is_a_usage_error(tmp_path):
    story = tmp_path / "test_story.py"
    story.write_text(STORY)
    done = run_pytest(story, "--lab-family=5")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--lab-family: invalid choice: '5'" in done.stderr


def test_every_host_of_a_lab_has_both_families_and_the_set_up_sends_nothing(opened):
    assert opened.evidence() == (0, 0)
    shown = opened.run_program([find_program("ip", "iproute2"), "-brief", "address", "show", "lo"], "ip")
    assert shown.finish() == 0
    hosts = {host for of in addresses.ADDRESSES.values() for host in of.values()}
    assert hosts <= {word.partition("/")[0] for word in shown.output().split()}


def test_a_server_is_reached_from_the_clients_address(opened, family):
    """`ip route get` is the witness, towards each server of each family."""
    for of, hosts in addresses.ADDRESSES.items():
        for server in (addresses.SERVER, addresses.OTHER_SERVER):
            ip = opened.run_program([find_program("ip", "iproute2"), f"-{of}", "route", "get", hosts[server]])
            assert ip.finish() == 0
            assert f"src {hosts[addresses.CLIENT]} " in ip.output()


def test_from_host_is_a_rule_that_nft_takes(opened, family):
    opened.drop(f"{opened.from_host('server')} tcp dport 1 meta length > 40 meta mark 0")
    assert opened.from_host("server") == {4: "ip saddr 192.0.2.2", 6: "ip6 saddr 2001:db8::2"}[family]


@pytest.mark.parametrize(
    ("with_", "shown"),
    [
        ("tcp reset", ["client S", "server RA"]),
        ("icmpx type host-unreachable", ["client S"]),
        ("icmp type prot-unreachable", {4: ["client S"], 6: ["client S", "server RA"]}),
        ("icmpv6 type no-route", {4: ["client S", "server RA"], 6: ["client S"]}),
    ],
)
def test_a_rejected_segment_is_answered_and_the_answer_is_captured(opened, family, with_, shown):
    """Two frames each, also if wire() does not show the answer. A rule for the other family only matches nothing."""
    syn = Segment(0, opened.client_address(40001), opened.server_address, "S", 1, 0, 0, 0, None)
    opened.reject("tcp dport 8000-9000", with_=with_)
    opened.provoke(syn)
    assert opened.wire() == (shown if isinstance(shown, list) else shown[family])
    assert opened.evidence() == (2, 0)
    matches_nothing = isinstance(shown, dict) and len(shown[family]) == 2
    assert opened.counter("TcpOutRsts") == matches_nothing


def test_restore_removes_a_reject_and_says_so(opened, family):
    changes = []
    for change in (lambda: opened.drop("tcp dport 1"), lambda: opened.reject("tcp dport 8000-9000", with_="tcp reset")):
        change()
        opened.restore()
        changes += [entry.text for entry in opened.timeline.entered() if isinstance(entry, Change)][-2:]
    assert changes == [
        "dropped from here on: tcp dport 1",
        "nothing is dropped from here on",
        "rejected with tcp reset from here on: tcp dport 8000-9000",
        "nothing is dropped or rejected from here on",
    ]
    listed = opened.run_program([find_program("nft", "nftables"), "list", "ruleset"])
    assert (listed.finish(), listed.output()) == (0, "")


DEFAULT = """
import socket, socketserver
from harness.inside import default_family
default_family.use(socket.AF_INET6)

def families(*sockets):
    for each in sockets:
        print(each.family.name, end=" ")
        each.close()

left, right = socket.socketpair()
families(socket.socket(), socket.socket(type=socket.SOCK_DGRAM), socket.create_server(("::1", 0)))
families(socket.socket(socket.AF_INET), socket.create_server(("127.0.0.1", 0), family=socket.AF_INET))
families(left, right, socket.socket(fileno=socket.socket(socket.AF_UNIX).detach()))
with socketserver.TCPServer(("::1", 0), None) as server:
    families(server.socket)
listener = socket.create_server(("::1", 0))
client = socket.create_connection(listener.getsockname()[:2])
families(client, listener.accept()[0])
"""


def test_a_role_that_names_a_family_gets_it():
    """Only sockets without one have the lab's; accept() and an inherited fd keep their own."""
    done = subprocess.run(
        [sys.executable, "-c", DEFAULT], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [
        *["AF_INET6"] * 3, "AF_INET", "AF_INET", "AF_UNIX", "AF_UNIX", "AF_UNIX", *["AF_INET6"] * 3
    ]  # fmt: skip


WITHOUT_IPV6 = """
import errno
from harness.errors import LabUnavailable
from harness.inside import keeper
from harness.kernel import netlink
namespace.unshare(namespace.CLONE_NEWNET)
ask = netlink.ask

def no_ipv6(sock, kind, flags, body):
    if body[0] == 10:  # AF_INET6
        raise OSError({number}, os.strerror({number}))
    return ask(sock, kind, flags, body)

netlink.ask = no_ipv6
made = keeper.Keeper([], 0, 4)
print(made.families)
namespace.unshare(namespace.CLONE_NEWNET)
try:
    keeper.Keeper([], 0, 6)
except LabUnavailable as error:
    print(error)
"""


@pytest.mark.parametrize("number", ["errno.EOPNOTSUPP", "errno.EAFNOSUPPORT"])
def test_a_kernel_without_ipv6_has_everything_else(number):
    """Simulated: rtnetlink answers as it does where IPv6 is not built in, or not booted."""
    script = AS_ROOT_OF_A_USER_NAMESPACE + WITHOUT_IPV6.format(number=number)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False
    )
    families, said = done.stdout.splitlines() or ("", done.stderr)
    assert families == "(4,)"
    assert said == "this kernel has no IPv6. Hint: boot it without ipv6.disable=1, or load the module ipv6"


def test_a_kernel_that_makes_no_routes_is_reported(monkeypatch):
    """Or only some of them: the wait for the notifications is bounded."""
    monkeypatch.setattr(addresses, "_ROUTES_WITHIN_S", 0.01)
    kernel, lab = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, lab:
        kernel.send(bytes(28) + addresses._route(1, 6, "2001:db8::1"))
        with pytest.raises(LabUnavailable, match=r"has not made the routes of IPv6 addresses in 0\.01 s"):
            addresses._await_routes(lab, ["2001:db8::1", "2001:db8::2"])


def test_a_story_may_use_both_families_at_once(opened, family):
    assert {each: opened.server_address_over(each)[0] for each in (4, 6)} == {4: "192.0.2.2", 6: "2001:db8::2"}
    assert opened.server_address == opened.server_address_over(family)


def test_without_ipv6_a_story_that_uses_both_families_is_not_available(opened, family, monkeypatch):
    """Simulated: the kernel has no sysctl of IPv6."""
    monkeypatch.setattr(opened, "sysctl", lambda key, default: default)
    assert opened.server_address_over(4)[0] == "192.0.2.2"
    with pytest.raises(LabUnavailable, match="this kernel has no IPv6"):
        opened.server_address_over(6)
