"""No command changes a sysctl of the host or loads a module, even if a file names every existing sysctl."""

import contextlib
import json
import os
import re
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli import main as program
from harness.kernel.netns_keys import belongs_to_a_namespace
from harness.runs import record
from tests.playing import ROOT, clean_environment, run_module, scenario_file

SYSCTLS = Path("/proc/sys")

MOVES_BY_ITSELF = {
    r"fs/(dentry-state|file-nr|inode-nr|inode-state|aio-nr)": "what the machine has open and cached",
    r"fs/quota/.*": "counters",
    r"kernel/hung_task_detect_count": "a counter",
    r"kernel/ns_last_pid": "the last process that was started",
    r"kernel/perf_event_max_sample_rate": "the kernel lowers it when samples take long (perf_sample_event_took)",
    r"kernel/pty/nr": "terminals that are open",
    r"kernel/random/(entropy_avail|uuid)": "another value each time",
    r"kernel/sched_domain/.*/max_newidle_lb_cost": "a measurement of the scheduler",
    r"net/netfilter/nf_conntrack_count": "the host's connections",
    r"vm/stat_refresh": "to read it is a command",
}
"""Regular expressions for keys whose values change by themselves."""

ON_DEMAND = re.compile(
    r"nf_tables|nfnetlink|nft_\w+|nf_conntrack\w*|nf_defrag_\w+|nf_reject_\w+|nf_log\w*|libcrc32c|x_tables"
    r"|(inet|tcp|udp|unix|netlink|packet|af_packet)_diag|af_packet|veth"
)
"""Modules that the kernel loads by itself for nft, sock_diag and AF_PACKET (README: "What it does to your machine")."""

COVERED_BY_NO_SCENARIO, IN_ONE_SCENARIO = "net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_max_syn_backlog"


def values() -> dict[str, str]:
    """Every sysctl of the machine that can be read, and the names of the others."""
    found = {}
    for path in SYSCTLS.rglob("*"):
        name = str(path.relative_to(SYSCTLS))
        if path.is_file() and not any(re.fullmatch(keys, name) for keys in MOVES_BY_ITSELF):
            try:
                found[name] = path.read_text(errors="replace")
            except OSError as error:
                found[name] = f"({error.strerror})"
    return found


def modules() -> set[str]:
    with contextlib.suppress(FileNotFoundError):  # a kernel without modules
        return {line.split()[0] for line in Path("/proc/modules").read_text().splitlines()}
    return set()


def another(value: str) -> str:
    """A different value of the same form."""
    if re.fullmatch(r"-?\d+( -?\d+)*", value):
        return " ".join(str(int(number) + 1) for number in value.split())
    return f"{value}x"


class EveryKey:
    """Files that name every sysctl under /proc/sys, as sysctl.d(5) writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = str(folder / "record.json")
        record.save(record.Run("6.18", "reference", {}, ()), Path(self.record))
        now = {str(path.relative_to(SYSCTLS)): "" for path in SYSCTLS.rglob("*") if path.is_file()} | values()
        self.now = {name: " ".join(value.split()) for name, value in now.items()}
        self.changed = self._written("changed.conf", {name: another(value) for name, value in self.now.items()})
        self.same = self._written("same.conf", self.now)
        others = {name: another(self.now[name]) for name in self.now if not belongs_to_a_namespace(key(name))}
        tried = {each.replace(".", "/"): "7" for each in (IN_ONE_SCENARIO, COVERED_BY_NO_SCENARIO)}
        self.for_a_story = self._written("story.conf", others | dict(list(tried.items())[:1]))
        self.for_no_story = self._written("none.conf", others | dict(list(tried.items())[1:]))

    def _written(self, name: str, lines: dict[str, str]) -> str:
        path = self.folder / name
        path.write_text("".join(f"{key} = {value}\n" for key, value in sorted(lines.items())))
        path.chmod(0o644)
        return str(path)


def key(name: str) -> str:
    """A path below /proc/sys as a key (sysctl.d(5))."""
    return name.translate(str.maketrans("./", "/."))


@pytest.fixture(scope="module")
def every_key() -> Iterator[EveryKey]:
    """The files, in a folder that an ordinary user can read: pytest's own folders are root's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield EveryKey(Path(folder))


SCENARIO = "close_with_unread_data"
HARNESS = ["-m", "harness"]
COMMANDS = {
    "explain": [*HARNESS, "explain", "--json", "{changed}"],
    "explain the same": [*HARNESS, "explain", "--json", "--before", "{changed}", "{same}"],
    "whatif": [*HARNESS, "whatif", "--plays", "1", "--max-wait", "1", "--json", "-", "{for_a_story}"],
    "whatif --before FILE": [*HARNESS, "whatif", "--plays", "1", "--json", "-", "--before", "{same}", "{for_no_story}"],
    "diagnose": [*HARNESS, "diagnose", "--interval", "0.1", "--json"],
    "compare": [*HARNESS, "compare", "{record}", "{record}"],
    "list": [*HARNESS, "list"],
    "lesson": [*HARNESS, "lesson", SCENARIO],
    "quiz": [*HARNESS, "quiz", SCENARIO],
    "step": [*HARNESS, "step", SCENARIO],
    "new": [*HARNESS, "new", SCENARIO],  # refused; otherwise it would write files of the checkout
    "prober": ["-m", "harness.prober", "127.0.0.1", "9", "--count", "1"],
    "pytest": ["-m", "pytest", str(scenario_file(SCENARIO)), "-q", "-p", "no:cacheprovider", "--lab-sysctls=host",
               "--lab-sysctl-file={for_a_story}", "-k", "unread_data_turns"],
}  # fmt: skip
GIVES_A_VERDICT = {"explain", "explain the same", "whatif", "whatif --before FILE"}
AS_ORDINARY_USER = {"diagnose", "explain", "whatif --before FILE", "lesson"}
STATUSES = {
    "diagnose": {0, 1, 3},
    "whatif": {1, 3},
    "whatif --before FILE": {1, 3},
    "quiz": {0, 6},
    "prober": {1},
    "compare": {3},
    "new": {2},
}


def test_no_command_is_forgotten() -> None:
    choices = next(each.choices for each in program._parser()._actions if each.choices)
    assert {command.split()[0] for command in COMMANDS} == {*choices, "prober", "pytest"}


def ran(command: str, every_key: EveryKey, python: str = sys.executable, **more: object) -> str:
    """The output of a command, after checking that its exit status is an allowed one."""
    words = [word.format(**vars(every_key)) for word in COMMANDS[command]]
    if python == sys.executable and not more:
        done = run_module(*words[1:])
    else:
        done = subprocess.run(
            [python, *words], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL,
            env=clean_environment() | {"PYTHONPATH": os.pathsep.join([str(ROOT), *LIBRARIES])}, **more,
        )  # type: ignore[call-overload]  # fmt: skip
    assert done.returncode in STATUSES.get(command, {0}), done.stdout + done.stderr
    if command in GIVES_A_VERDICT:
        _each_key_has_a_verdict(json.loads(done.stdout), words[-1])
    return str(done.stdout + done.stderr)


LIBRARIES = site.getsitepackages()


def _each_key_has_a_verdict(told: object, file: str) -> None:
    rows = told["lines"] if isinstance(told, dict) else told
    assert isinstance(rows, list)
    asked = [key(line.partition(" = ")[0]) for line in Path(file).read_text().splitlines()]
    assert sorted(row["key"] for row in rows) == sorted(asked)
    tried = {"applied", "same as now", "value refused", "without effect"}
    assert {row["key"] for row in rows if row["verdict"] in tried and not _may_be_tried(row)} == set()


def _may_be_tried(row: dict[str, str]) -> bool:
    """Keys of the host that do nothing are also reported as such, without trying (harness/explain/known.py)."""
    return belongs_to_a_namespace(row["key"]) or row["verdict"] == "without effect"


@pytest.fixture
def as_before(every_key: EveryKey):  # type: ignore[no-untyped-def]
    """Fail if the test has changed a sysctl or loaded a module."""
    before, loaded = values(), modules()
    yield
    after = values()
    assert {name: (before.get(name), value) for name, value in after.items() if before.get(name) != value} == {}
    assert before.keys() == after.keys()
    assert {name for name in modules() - loaded if not ON_DEMAND.fullmatch(name)} == set()
    assert modules() >= loaded


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_host_is_as_it_was_after(command: str, every_key: EveryKey) -> None:
    ran(command, every_key)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("command", sorted(AS_ORDINARY_USER))
def test_and_after_an_ordinary_user_s(command: str, every_key: EveryKey) -> None:
    python = next(filter(_nobody_can_run, (sys.executable, "/usr/bin/python3")), None)
    if not python:
        pytest.skip("no Python of this version that an ordinary user can run")
    ran(command, every_key, python, user=65534, group=65534, extra_groups=[])


def _nobody_can_run(python: str) -> bool:
    asked = [python, "-c", "import sys; print(sys.version_info[:2])"]
    with contextlib.suppress(OSError):
        done = subprocess.run(asked, capture_output=True, text=True, user=65534, group=65534, extra_groups=[])
        return done.stdout.strip() == str(sys.version_info[:2])
    return False


SEEN = """
from harness.kernel import namespace
from tests import test_host_untouched as this
namespace.become_isolable()
namespace.unshare(namespace.CLONE_NEWNET)
before = this.values()
(this.SYSCTLS / "net/ipv4/tcp_fin_timeout").write_text("61")
print({name for name, value in this.values().items() if value != before[name]})
"""


def test_a_change_is_seen() -> None:
    """The change is made where it does no harm, in a private network, and observed from inside it."""
    done = subprocess.run([sys.executable, "-c", SEEN], capture_output=True, text=True, env=clean_environment())
    assert done.stdout == "{'net/ipv4/tcp_fin_timeout'}\n", done.stderr
