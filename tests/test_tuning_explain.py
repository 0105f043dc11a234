"""The verdicts of explain, tried on the running kernel: the ten outcomes, each rule, and the command."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.explain import known
from harness.explain.explain import Kind, accepted_range, explain, host_value, kernel_value, nearest
from harness.explain.folding import fold
from harness.lab.nursery import Nursery
from harness.sysctl_files.lines import Line, overruled
from harness.sysctl_files.read import read
from harness.whatif.trial import trial
from tests.playing import AS_ROOT_OF_A_USER_NAMESPACE, ROOT, clean_environment, run_module

TCP = "net.ipv4.tcp_"


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery(profile=[])
    if nursery.unavailable:
        pytest.skip(str(nursery.unavailable))
    yield nursery
    nursery.close()


@pytest.fixture
def keeper(nursery):
    keeper = nursery.open_lab("")
    yield keeper
    keeper.close()


@pytest.fixture
def of(keeper):
    """The verdicts on settings, each as (kind, text)."""

    def ask(*settings, before=None):
        lines = [Line(key, value, "a.conf", number, 1) for number, (key, value) in enumerate(settings, 1)]
        kernel = {key: kernel_value(keeper)(key) for key in {*(rule.other for rule in known._RULES), *dict(settings)}}
        return [(each.kind, each.text) for each in explain(overruled(lines), before or kernel.get, keeper)]

    return ask


def host_has(key):
    return Path("/proc/sys", key.replace(".", "/")).exists()


def test_there_are_ten_outcomes():
    assert len(Kind) == 10


def test_applied_shows_the_old_value_and_the_kernels_new_one(of, keeper):
    assert of((f"{TCP}fin_timeout", "61")) == [(Kind.APPLIED, "was 60")]
    assert keeper.ask("read_sysctl", key=f"{TCP}fin_timeout") == "61"
    assert of((f"{TCP}rmem", "4096  87380 6291457"))[0][0] == Kind.APPLIED


def test_a_comment_after_a_value_is_reported(of):
    ((kind, text),) = of((f"{TCP}retries2", "5 # soon"))
    assert kind == Kind.APPLIED
    assert text.endswith("the kernel makes it 5; the '#' does not begin a comment: it is part of the value")
    ((kind, text),) = of((f"{TCP}syn_retries", "# 5"))
    assert kind == Kind.REFUSED
    assert text == "takes 1 to 127; the '#' does not begin a comment: it is part of the value"


def test_same_as_now(of):
    now = host_value(f"{TCP}keepalive_time")
    assert of((f"{TCP}keepalive_time", now), before=host_value) == [(Kind.SAME, f"already {now}")]
    assert (
        of((f"{TCP}rmem", "4096\t131072  6291456"), before={f"{TCP}rmem": "4096 131072 6291456"}.get)[0][0] == Kind.SAME
    )


@pytest.mark.parametrize(
    ("key", "version", "commit"),
    [(f"{TCP}tw_recycle", "4.12", "4396e46187ca"), (f"{TCP}abc", "3.9", "ca2eb5679f8d"),
     ("net.ipv4.netfilter.ip_conntrack_max", "4.9", "adf0516845bc"),
     ("net.ipv4.ip_conntrack_max", "4.9", "adf0516845bc"),
     ("kernel.sched_min_granularity_ns", "5.13", "8a99b6833c88")],
)  # fmt: skip
def test_removed_from_linux(of, key, version, commit):
    if host_has(key):
        pytest.skip(f"this kernel is older than {version}")
    ((kind, text),) = of((key, "1"))
    assert kind == Kind.REMOVED
    assert f"in {version} ({commit}" in text


@pytest.mark.parametrize(
    "key", ["vm.swappiness", "kernel.pid_max", f"{TCP}mem", f"{TCP}max_orphans", "net.core.rmem_max"]
)
def test_host_wide(of, key):
    before = host_value(key)
    assert of((key, "1"))[0][0] == Kind.HOST_WIDE
    assert host_value(key) == before


@pytest.mark.parametrize("key", [f"{TCP}low_latency", "net.ipv4.route.gc_timeout"])
def test_the_hosts_keys_without_effect_are_reported_too(of, key):
    ((kind, text),) = of((key, "1"))
    assert kind == Kind.NO_EFFECT
    assert "does nothing since" in text or "never read" in text


@pytest.mark.parametrize("key", ["kernel.osrelease", "fs.file-nr"])
def test_keys_that_cannot_be_written_are_read_only(of, key):
    assert of((key, "1"))[0][0] == Kind.READ_ONLY


def test_host_wide_is_known_in_a_container_too(of, monkeypatch, tmp_path):
    """In a container, /proc/sys has only the keys that the lab has."""
    monkeypatch.setattr("harness.explain.explain.ROOT", tmp_path)
    assert [
        kind for kind, _ in of((f"{TCP}mem", "1"), ("net.core.rmem_max", "1"), ("net.core.netdev_max_backlog", "1"))
    ] == [Kind.HOST_WIDE] * 3
    assert of(("vm.swappiness", "1"))[0][0] == Kind.UNKNOWN


@pytest.mark.parametrize(
    ("key", "why"),
    [("kernel.shmmax", "of an IPC namespace (ipc/ipc_sysctl.c): a lab has only a network namespace"),
     ("kernel.sem", "of an IPC namespace (ipc/ipc_sysctl.c): a lab has only a network namespace"),
     ("fs.mqueue.msg_max", "of an IPC namespace (ipc/mq_sysctl.c): a lab has only a network namespace"),
     ("kernel.hostname", "of a UTS namespace (kernel/utsname_sysctl.c): a lab has only a network namespace"),
     ("user.max_net_namespaces", "of a user namespace (kernel/ucount.c): a lab has only a network namespace"),
     ("net.ipv4.conf.wan7.rp_filter", "of the interface wan7, which a lab does not have"),
     ("net.ipv4.conf.wan7/200.rp_filter", "of the interface wan7.200, which a lab does not have"),
     ("net.ipv4.neigh.wan7.gc_stale_time", "of the interface wan7, which a lab does not have")],
)  # fmt: skip
def test_a_key_of_another_namespace_is_not_called_host_wide(of, key, why):
    if not key.startswith("net.") and not host_has(key):
        pytest.skip(f"this kernel has no {key}")
    before = host_value(key)
    assert of((key, "1")) == [(Kind.UNTRIED, why)]
    assert host_value(key) == before


def test_an_interface_of_the_host_is_not_in_a_lab(of):
    others = [each.name for each in Path("/proc/sys/net/ipv4/conf").iterdir() if each.name not in ("all", "default")]
    found = of(*((f"net.ipv4.conf.{name.replace('.', '/')}.log_martians", "1") for name in others))
    assert {text for kind, text in found if kind not in (Kind.APPLIED, Kind.UNTRIED)} == set()


@pytest.mark.parametrize("key", ["net.ipv4.conf.al.rp_filter", "net.ipv4.conf.wan7.no_such_name"])
def test_a_typo_in_a_key_of_interfaces_is_unknown(of, key):
    assert of((key, "1"))[0][0] == Kind.UNKNOWN


def test_read_only_everywhere(of):
    assert of((f"{TCP}available_congestion_control", "reno"))[0] == (
        Kind.READ_ONLY,
        "the kernel does not allow writing it here",
    )


@pytest.mark.parametrize(
    ("key", "value", "least", "greatest"),
    [("syn_retries", "0", 1, 127), ("syn_retries", "128", 1, 127), ("syn_retries", "six", 1, 127),
     ("retries1", "300", 0, 255), ("tw_reuse", "3", 0, 2)],
)  # fmt: skip
def test_a_refused_value_is_reported_with_the_accepted_range(of, keeper, key, value, least, greatest):
    before = keeper.ask("read_sysctl", key=TCP + key)
    assert of((TCP + key, value)) == [(Kind.REFUSED, f"takes {least} to {greatest}")]
    assert keeper.ask("read_sysctl", key=TCP + key) == before


def test_the_ends_of_a_range_are_accepted_and_nothing_beyond(of, keeper):
    least, greatest = accepted_range(f"{TCP}fin_timeout", keeper)
    kinds = [of((f"{TCP}fin_timeout", str(value)))[0][0] for value in (least - 1, least, greatest, greatest + 1)]
    assert kinds == [Kind.REFUSED, Kind.APPLIED, Kind.APPLIED, Kind.REFUSED]
    assert accepted_range("net.ipv4.ip_local_port_range", keeper) is None


def test_a_range_of_ports_that_ends_before_it_begins(of):
    ((kind, text),) = of(("net.ipv4.ip_local_port_range", "65000 1024"))
    assert kind == Kind.REFUSED
    assert "EINVAL" in text


def test_no_module_is_loaded_for_a_congestion_control(of):
    ((kind, text),) = of((f"{TCP}congestion_control", "no_such_one"))
    assert kind == Kind.REFUSED
    assert re.search(r"only .*reno.* are loaded", text)


FASTOPEN_KEY = f"{TCP}fastopen_key"
SECRETS = ("1234567a-b0000000-c0000000-d000000d", "7654321a-b0000000-c0000000-d000000d")


def test_a_secret_is_not_shown(of):
    ((kind, text),) = of((FASTOPEN_KEY, SECRETS[0]), before={FASTOPEN_KEY: SECRETS[1]}.get)
    assert (kind, text) == (Kind.APPLIED, "was (secret)")
    ((kind, text),) = of((FASTOPEN_KEY, SECRETS[0]), before={FASTOPEN_KEY: SECRETS[0]}.get)
    assert (kind, text) == (Kind.SAME, "already (secret)")
    ((kind, text),) = of((FASTOPEN_KEY, f"oops-{SECRETS[1]}"))
    assert (kind, SECRETS[0] in text, SECRETS[1] in text) == (Kind.REFUSED, False, False)
    ((kind, text),) = of((FASTOPEN_KEY, "1-2-3-4"))
    assert text == "was (secret); the kernel makes it (secret)"


@pytest.mark.parametrize("value", ['"15"', "'15'"])
def test_quotes_that_became_part_of_a_value_are_reported(of, value):
    ((kind, text),) = of((f"{TCP}fin_timeout", value))
    assert kind == Kind.REFUSED
    assert text.endswith("; the quotes are part of the value. Hint: remove them")
    assert "quotes" not in of((f"{TCP}syn_retries", "0"))[0][1]


def test_a_key_of_another_build_is_not_an_unknown_key(of, monkeypatch, tmp_path):
    assert of(("net.x25.no_such_timeout", "1")) == [(Kind.UNKNOWN, "no such key in Linux")]
    if not host_has("net.x25.restart_request_timeout"):
        ((kind, text),) = of(("net.x25.restart_request_timeout", "1"))
        assert kind == Kind.UNKNOWN
        assert text == (
            "no such key in this kernel: Linux has it (net/x25/sysctl_net_x25.c), but this build does not, or its "
            "module is not loaded"
        )


RANGE = "net.ipv4.ip_local_port_range"


@pytest.mark.parametrize(
    ("value", "parity", "services"),
    [("32768 60999", False, ""), ("32768 61000", True, ""), ("40000 40000", False, ""), ("45001 60001", True, ""),
     ("1024 65535", False, "1433 (SQL Server), 1521 (Oracle), 2049 (NFS), 2379 (etcd), 3000 (Grafana) and 14 more"),
     ("5000 6000", True, "5432 (PostgreSQL), 5672 (AMQP)"), ("27016 27017", False, "27017 (MongoDB)")],
)  # fmt: skip
def test_the_notes_on_a_range_of_ports(of, value, parity, services):
    ((_, text),) = of((RANGE, value))
    assert ("both ends are even, or both are odd, so the kernel logs a warning" in text) == parity
    assert (f"EADDRINUSE: {services}. Hint:" in text) == bool(services)
    assert ("EADDRINUSE" in text) == bool(services)


def test_ports_that_are_reserved_are_not_taken(of):
    reserved = ("net.ipv4.ip_local_reserved_ports", "5432,5600-5700")
    assert "EADDRINUSE" not in of(reserved, (RANGE, "5001 6000"))[1][1]
    assert "5672" in of((reserved[0], "5432"), (RANGE, "5001 6000"))[1][1]


def of_containers(keeper, text, tmp_path):
    (tmp_path / "a.yml").write_text(text)
    return [(each.line.key, each.text) for each in explain(read([str(tmp_path / "a.yml")]), lambda _: None, keeper)]


def test_settings_that_stop_a_container_from_starting(keeper, tmp_path):
    keys = {"vm.max_map_count": 1, "net.core.rmem_max": 4096, f"{TCP}nope": 1, f"{TCP}syn_retries": 0, f"{TCP}sack": 1,
            "kernel.shmmax": 1, "kernel.hostname": "x"}  # fmt: skip
    text = "services: {a: {image: x, sysctls: {" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}}}"
    found = dict(of_containers(keeper, text, tmp_path))
    stuck = [key for key, text in found.items() if "; a container with this setting does not start: " in text]
    assert stuck == ["vm.max_map_count", "net.core.rmem_max", f"{TCP}nope", f"{TCP}syn_retries", "kernel.hostname"]
    assert "runc, Docker and Kubernetes refuse" in found["vm.max_map_count"]
    assert "runc cannot write it" in found["net.core.rmem_max"]


def test_an_ordinary_users_limits_do_not_apply_to_a_container(keeper, tmp_path):
    text = "services: {a: {image: x, sysctls: {net.ipv4.ping_group_range: '5 x'}}}"
    ((_, text),) = of_containers(keeper, text, tmp_path)
    assert "EINVAL" in text
    assert "does not start" not in text


@pytest.mark.parametrize(
    "text", ["machine: {sysctls: {vm.max_map_count: 1}}", "vm.max_map_count: 1",
             "spec: {containers: [{image: x, command: [sysctl, -w, vm.max_map_count=1]}]}"],
)  # fmt: skip
def test_a_key_not_set_at_its_start_does_not_stop_a_container(keeper, tmp_path, text):
    ((key, text),) = of_containers(keeper, text, tmp_path)
    assert (key, "does not start" in text) == ("vm.max_map_count", False)


def test_a_globs_keys_take_one_line_for_each_outcome(keeper, tmp_path):
    (tmp_path / "a.conf").write_text("net.ipv4.conf.*.log_martians = 1\nnet.ipv4.conf.lo.log_martians = 0\n")
    found = explain(read([str(tmp_path / "a.conf")]), {"net.ipv4.conf.lo.log_martians": "0"}.get, keeper)
    folded = fold(found)
    keys = [each.line.key for each in folded if each.line.line == 1]
    assert set(keys) == {"net.ipv4.conf.*.log_martians"}
    kinds = [each.kind for each in folded if each.line.line == 1]
    assert sorted(kinds) == sorted(set(kinds))
    applied = next(each for each in folded if each.line.line == 1 and each.kind is Kind.APPLIED)
    assert applied.text == "set (all, default)"
    others = {path.name for path in Path("/proc/sys/net/ipv4/conf").iterdir()} - {"all", "default", "lo"}
    if others:
        untried = next(each for each in folded if each.kind is Kind.UNTRIED)
        assert untried.text.startswith("of an interface that a lab does not have (")
    assert [each for each in folded if each.line.line == 2] == [each for each in found if each.line.line == 2]


def test_unknown_with_the_nearest_name(of):
    found = of(
        (f"{TCP}fin_timout", "1"), ("net.ipv4.somaxconn", "1"), ("vm.swapiness", "1"), ("zzz.qqq", "1"), ("net", "1")
    )
    assert [kind for kind, _ in found] == [Kind.UNKNOWN] * 5
    assert [text.partition("did you mean ")[2] for _, text in found] == [
        f"{TCP}fin_timeout?", "net.core.somaxconn?", "vm.swappiness?", "", ""
    ]  # fmt: skip
    assert nearest("net.ipv4.conf.al.rp_filter") == "net.ipv4.conf.all.rp_filter"


@pytest.mark.parametrize(
    ("typo", "meant"), [("net.core.netdev_max_backlogg", "net.core.netdev_max_backlog"),
                        ("net.core.busy_pool", "net.core.busy_poll"), ("net.core.dev_weight_bias", None)],
)  # fmt: skip
def test_a_typo_is_not_host_wide_if_the_hosts_keys_are_visible(of, monkeypatch, tmp_path, typo, meant):
    if not host_has("net.core.netdev_max_backlog"):
        pytest.skip("the initial network cannot be seen from here")
    ((kind, text),) = of((typo, "1"))
    assert (kind, text.startswith("no such key")) == (Kind.UNKNOWN, True)
    assert not meant or text.endswith(f"; did you mean {meant}?")
    monkeypatch.setattr("harness.explain.explain.ROOT", tmp_path)
    assert of((typo, "1"))[0][0] == Kind.HOST_WIDE, "in a container this cannot be known"


@pytest.mark.parametrize(
    ("name", "text", "by"),
    [("a.conf", "-net.nope = 1", "'-'"), ("a.sh", "sysctl -e -w net.nope=1", "-e"),
     ("a.sh", "sysctl --ignore -w net.nope=1", "-e"),
     ("a.yml", "- ansible.posix.sysctl: {name: net.nope, value: 1, ignoreerrors: true}", "ignoreerrors")],
)  # fmt: skip
def test_an_optional_unknown_key_names_what_allows_it(keeper, tmp_path, name, text, by):
    (tmp_path / name).write_text(text)
    (verdict,) = explain(read([str(tmp_path / name)]), host_value, keeper)
    assert verdict.text == f"no such key in Linux, which {by} allows"


def test_overridden(of, keeper):
    assert of((f"{TCP}retries2", "9"), (f"{TCP}retries2", "7")) == [
        (Kind.OVERRIDDEN, "a.conf:2 comes later, and takes precedence"), (Kind.APPLIED, "was 15")
    ]  # fmt: skip
    assert keeper.ask("read_sysctl", key=f"{TCP}retries2") == "7"


def test_a_sysctl_d_line_overrides_even_if_it_is_refused(of, keeper):
    assert [kind for kind, _ in of((f"{TCP}retries1", "9"), (f"{TCP}retries1", "300"))] == [
        Kind.OVERRIDDEN,
        Kind.REFUSED,
    ]
    assert keeper.ask("read_sysctl", key=f"{TCP}retries1") == "3"


SCRIPT = f"sysctl -w {TCP}retries1=9\nsysctl -w {TCP}retries1=7 {TCP}retries1=300\n"


def test_only_the_accepted_lines_of_a_script_count(keeper, tmp_path):
    (tmp_path / "a.conf").write_text(f"{TCP}retries1 = 5\n")
    (tmp_path / "b.sh").write_text(SCRIPT)
    found = explain(read([str(tmp_path / "a.conf"), str(tmp_path / "b.sh")]), {f"{TCP}retries1": "3"}.get, keeper)
    decides = f"{tmp_path}/b.sh:2 comes later, and takes precedence"
    assert [(each.kind, each.text) for each in found] == [
        (Kind.OVERRIDDEN, decides), (Kind.OVERRIDDEN, decides), (Kind.APPLIED, "was 3"),
        (Kind.REFUSED, "takes 0 to 255")
    ]  # fmt: skip
    assert keeper.ask("read_sysctl", key=f"{TCP}retries1") == "7"


def test_a_trial_has_the_last_accepted_value(nursery, tmp_path):
    (tmp_path / "b.sh").write_text(SCRIPT)
    tried = trial([str(tmp_path / "b.sh")], ["kernel"], set())
    assert tried.changed == {f"{TCP}retries1": ("3", "7")}
    assert [each.kind for each in tried.verdicts] == [Kind.OVERRIDDEN, Kind.APPLIED, Kind.REFUSED]
    after = Nursery(list(tried.after.settings))
    try:
        keeper = after.open_lab("")
        assert keeper.ask("read_sysctl", key=f"{TCP}retries1") == "7"
        keeper.close()
    finally:
        after.close()


RULES = [
    ("tw_reuse", "1", "timestamps", "0", "1"),
    ("tw_reuse_delay", "900", "tw_reuse", "0", "1"),
    ("tw_reuse_delay", "900", "timestamps", "0", "1"),
    ("dsack", "1", "sack", "0", "1"),
    ("comp_sack_nr", "40", "sack", "0", "1"),
    ("comp_sack_delay_ns", "900000", "comp_sack_nr", "0", "44"),
    ("max_syn_backlog", "777", "syncookies", "1", "0"),
    ("base_mss", "1000", "mtu_probing", "0", "1"),
    ("plb_rehash_rounds", "11", "plb_enabled", "0", "1"),
]


@pytest.mark.parametrize(("key", "value", "other", "off", "on"), RULES)
def test_without_effect_because_of_another_line_or_current_value(of, key, value, other, off, on):
    for name in (key, other):
        if not host_has(TCP + name):
            pytest.skip(f"this kernel has no {name}")
    ((kind, text), _) = of((TCP + key, value), (TCP + other, off))
    assert kind == Kind.NO_EFFECT
    assert text.startswith(f"{TCP}{other} is {off}")
    ((kind, _), _) = of((TCP + key, value), (TCP + other, on))
    assert kind in (Kind.APPLIED, Kind.SAME)
    ((kind, text),) = of((TCP + key, value), before={TCP + other: off}.get)
    assert (kind, text.startswith(f"{TCP}{other} is {off}: ")) == (Kind.NO_EFFECT, True)


def test_every_rule_is_tried():
    tried = {(TCP + key, TCP + other) for key, _, other, _, _ in RULES}
    assert all(
        any(re.fullmatch(rule.keys, key) and rule.other == other for key, other in tried) for rule in known._RULES
    )


def test_a_refused_line_does_not_disable_others(of):
    before = {f"{TCP}timestamps": "1"}.get
    assert of((f"{TCP}tw_reuse", "1"), (f"{TCP}timestamps", "no"), before=before)[0][0] != Kind.NO_EFFECT
    assert of((f"{TCP}tw_reuse", "0"), (f"{TCP}timestamps", "0"))[0][0] != Kind.NO_EFFECT, "without effect either way"


@pytest.mark.parametrize("key", [f"{TCP}fack", f"{TCP}adv_win_scale"])
def test_keys_that_do_nothing_any_more(of, key):
    assert of((key, "1"))[0] == (Kind.NO_EFFECT, known.dead(key))


def test_every_source_names_a_commit_a_page_or_a_function():
    sources = (
        [each.source for each in known._REMOVED] + [each.source for each in known._RULES] + list(known._DEAD.values())
    )
    assert [text for text in sources if not re.search(r"[0-9a-f]{12}, |\w\(\d\)|\w\(\)|\.(rst|c)\b", text)] == []


def run(*arguments, stdin="", **environment):
    return run_module("harness", "explain", *arguments, answer=stdin, environment={"COLUMNS": "90"} | environment)


def on_a_host_with(key, value, *arguments):
    """The program's output if the network outside the lab does not have the kernel's defaults."""
    script = AS_ROOT_OF_A_USER_NAMESPACE + (
        "namespace.unshare(namespace.CLONE_NEWNET)\n"
        f"Path('/proc/sys/{key.replace('.', '/')}').write_text('{value}')\n"
        f"subprocess.run({[sys.executable, '-m', 'harness', *arguments]!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=clean_environment()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestTheCommand:
    def test_without_a_terminal_each_row_is_one_line(self, nursery, tmp_path):
        file = tmp_path / "a-file-with-a-name-of-its-own-that-is-much-longer-than-a-third-of-a-terminal.conf"
        file.write_text(f"{TCP}tw_recycle = 1\n{TCP}syn_retries = 0\n{TCP}rmem = 4096  {' ' * 99}131072 6291456\n")
        done = run(str(file))
        assert done.returncode == 0, done.stderr
        first, second, _ = done.stdout.splitlines()
        assert first.startswith(f"{file}:1  {TCP}tw_recycle = 1  ")
        assert first.endswith("  removed from Linux: in 4.12 (4396e46187ca, tcp: remove tcp_tw_recycle)")
        assert second.startswith(f"{file}:2  {TCP}syn_retries = 0")
        assert second.endswith("  value refused: takes 1 to 127")
        assert "\x1b" not in done.stdout

    def test_folds_lines_on_a_terminal(self, nursery):
        ours, theirs = pty.openpty()
        with open(ours, "rb") as screen:
            done = subprocess.run(
                [sys.executable, "-m", "harness", "explain", "-"], cwd=ROOT, input=f"{TCP}tw_recycle = 1\n".encode(),
                stdout=theirs, env=clean_environment() | {"COLUMNS": "90", "TERM": "dumb"},
            )  # fmt: skip
            said = os.read(screen.fileno(), 4096).decode().splitlines()
        os.close(theirs)
        assert done.returncode == 0
        assert said[0].startswith(f"stdin:1  {TCP}tw_recycle = 1  removed from Linux: in 4.12")
        assert len(said) > 1
        assert max(map(len, said)) <= 90

    def test_json(self, nursery):
        done = run("--json", "-", stdin=f"{TCP}syn_retries = 0")
        assert json.loads(done.stdout) == [
            {"file": "stdin", "line": 1, "column": 1, "key": f"{TCP}syn_retries", "value": "0",
             "verdict": "value refused", "text": "takes 1 to 127"}
        ]  # fmt: skip

    def test_before(self, nursery, tmp_path):
        file = tmp_path / "now.conf"
        file.write_text(f"{TCP}fin_timeout = 17")
        said = {
            before: json.loads(run("--json", "--before", before, "-", stdin=f"{TCP}fin_timeout = 17").stdout)[0]
            for before in ("host", "kernel", "reference", str(file))
        }
        assert [each["text"] for each in said.values()] == [
            f"was {host_value(f'{TCP}fin_timeout')}", "was 60", "was 1", "already 17"
        ]  # fmt: skip

    def test_the_old_values_are_the_accepted_ones_of_a_before_file(self, nursery, tmp_path):
        """As in whatif: without refused values and unknown keys; settings not repeated in the new file are gone."""
        old, new = tmp_path / "old.conf", tmp_path / "new.conf"
        old.write_text(f"{TCP}syn_retries = 0\n{TCP}retries2 = 7 # soon\n{TCP}timestamps = 0\n{TCP}nope = 1\n")
        new.write_text(f"{TCP}syn_retries = 0\n{TCP}retries2 = 7\n{TCP}tw_reuse = 1\n{TCP}nope = 1\n")
        found = json.loads(run("--json", "--before", str(old), str(new)).stdout)
        said = [(each["verdict"], each["text"]) for each in found]
        assert said == [(str(each.kind), each.text) for each in trial([str(new)], [str(old)], set()).verdicts]
        assert [kind for kind, _ in said] == ["value refused", "same as now", "applied", "unknown"]
        old.write_text(f"{TCP}syn_retries = 0\n")
        new.write_text(f"{TCP}syn_retries = 6\n")
        assert json.loads(run("--json", "--before", str(old), str(new)).stdout)[0]["verdict"] == "same as now"

    CONTAINERS = (
        ("a.sh", f"docker run --sysctl {TCP}timestamps=0 --sysctl {TCP}retries2=9 x\n"
                 f"docker run --sysctl {TCP}tw_reuse=1 --sysctl {TCP}retries2=8 x\n"),
        ("a.yml", f"services:\n a: {{sysctls: {{{TCP}timestamps: 0, {TCP}retries2: 9}}}}\n"
                  f" b: {{sysctls: [{TCP}tw_reuse=1, {TCP}retries2=8]}}\n"),
        ("b.yml", f"spec: {{securityContext: {{sysctls: [{{name: {TCP}timestamps, value: '0'}}, "
                  f"{{name: {TCP}retries2, value: '9'}}]}}}}\n---\n"
                  f"spec: {{template: {{spec: {{securityContext: {{sysctls: [{{name: {TCP}tw_reuse, value: '1'}},"
                  f"{{name: {TCP}retries2, value: '8'}}]}}}}}}}}\n"),
    )  # fmt: skip

    @pytest.mark.parametrize(("name", "text"), CONTAINERS)
    def test_containers_do_nothing_to_each_other(self, nursery, tmp_path, name, text):
        (tmp_path / name).write_text(text)
        found = json.loads(run("--json", "--before", "kernel", str(tmp_path / name)).stdout)
        assert [(each["key"], each["verdict"]) for each in found] == [
            (f"{TCP}timestamps", "applied"), (f"{TCP}retries2", "applied"),
            (f"{TCP}tw_reuse", "applied"), (f"{TCP}retries2", "applied"),
        ]  # fmt: skip

    def test_one_container_does_not_disable_keys_in_another(self, nursery):
        script = (
            "docker run --sysctl net.ipv4.ip_local_port_range='1024 65535' x\n"
            "docker run --sysctl net.ipv4.ip_unprivileged_port_start=2000 x\n"
        )
        assert [each["verdict"] for each in json.loads(run("--json", "-", stdin=script).stdout)] == ["applied"] * 2

    def test_lines_of_one_container_and_of_the_host_override_as_ever(self, nursery):
        script = f"docker run --sysctl {TCP}retries2=9 --sysctl {TCP}retries2=8 x\nsysctl -w {TCP}retries2=7\n"
        found = json.loads(run("--json", "-", stdin=script).stdout)
        assert [each["verdict"] for each in found] == ["overridden", "applied", "applied"]

    def test_a_container_is_compared_with_the_kernels_defaults(self, nursery, tmp_path):
        (tmp_path / "a.sh").write_text(f"sysctl -w {TCP}retries2=9\ndocker run --sysctl {TCP}retries2=9 x\n")
        found = json.loads(on_a_host_with(f"{TCP}retries2", "9", "explain", "--json", str(tmp_path / "a.sh")))
        assert [(each["verdict"], each["text"]) for each in found] == [
            ("same as now", "already 9"),
            ("applied", "was 15; a container begins with the kernel's own values"),
        ]
        (tmp_path / "a.sh").write_text(f"docker run --sysctl {TCP}mtu_probing=1 x\n")
        said = on_a_host_with(f"{TCP}mtu_probing", "1", "whatif", str(tmp_path / "a.sh"))
        assert "Before: kernel (a container does not have the host's values). After: kernel + a.sh." in " ".join(
            said.split()
        )
        assert f"{TCP}mtu_probing: 0 → 1" in said

    def test_the_standard_input_is_read_only_once(self, nursery):
        for arguments in (["--before", "-", "-"], ["-", "-"]):
            done = run(*arguments, stdin=f"{TCP}sack = 1")
            assert (done.returncode, done.stdout) == (2, "")
            assert "the standard input can be read only once. Hint: " in done.stderr

    @pytest.mark.parametrize("form", [[], ["--json"]])
    def test_a_secret_is_in_no_form_of_the_report(self, nursery, form):
        done = run(*form, "-", stdin=f"{FASTOPEN_KEY} = {SECRETS[0]}\n{FASTOPEN_KEY} = {SECRETS[1]}\n")
        assert done.returncode == 0, done.stderr
        assert "(secret)" in done.stdout
        assert not any(secret in done.stdout for secret in SECRETS)

    def test_nothing_to_say(self, nursery):
        assert run("-", stdin="# nothing").stdout == "These files set no sysctl.\n"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [(["-"], "stdin:1:1: no '=' in 'oops'"), (["/nope"], "/nope: cannot be read"),
         (["-", "--jsn"], "unknown option --jsn"),
         (["--before", "/nope", "harness/explain/profiles"], "/nope: cannot be read")],
    )  # fmt: skip
    def test_bad_input_is_exit_2(self, arguments, says):
        done = run(*arguments, stdin="oops")
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr
        assert "Hint:" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_machine_without_namespaces_is_exit_3(self, tmp_path):
        (tmp_path / "a.conf").write_text(f"{TCP}sack = 1")
        command = [sys.executable, "-m", "harness", "explain", str(tmp_path / "a.conf")]
        script = AS_ROOT_OF_A_USER_NAMESPACE + (
            'for kind in ("net", "user"):\n    Path(f"/proc/sys/user/max_{kind}_namespaces").write_text("0")\n'
            f"raise SystemExit(subprocess.run({command!r}).returncode)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=clean_environment()
        )
        assert done.returncode == 3, done.stdout + done.stderr
        assert "Hint:" in done.stderr

    def test_hostile_values_do_nothing_to_a_terminal(self, nursery):
        done = run("-", stdin="net.ipv4.t\u202ex = 1\nnet.é = ü\n", PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii()
        assert "\\u202e" in done.stdout
