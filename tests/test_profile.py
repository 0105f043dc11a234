"""The sysctls that a story runs under: the choice, the values in a lab, and what the run prints about them."""

import re
import subprocess
import sys

import pytest

from harness.errors import LabError
from harness.explain import profile
from harness.explain.reference import reference_profile
from harness.kernel.sysctls import Setting, read
from tests.playing import AS_ROOT_OF_A_USER_NAMESPACE, ROOT, Play, clean_environment, run_module

TELLS = """
def test_it(lab):
    for key in ("tcp_syn_retries", "tcp_retries2", "tcp_fin_timeout", "tcp_rfc1337"):
        print(key, "=", lab.sysctl(f"net.ipv4.{key}"))
    print("not set", lab.not_set, "refused", lab.refused)
"""


def told(output: str, key: str) -> str:
    found = re.search(rf"^{key} = (.*)$", output, re.M)
    assert found, output
    return found[1]


def test_the_reference_is_what_stories_run_under() -> None:
    assert profile.chosen("reference") == profile.Profile("reference", tuple(reference_profile()))


def test_the_base_kernel_sets_nothing() -> None:
    assert profile.chosen("kernel").settings == ()


def test_a_lab_begins_with_the_kernels_defaults(play: Play) -> None:
    """Although its socket table is smaller (harness/inside/nursery.py)."""
    script = AS_ROOT_OF_A_USER_NAMESPACE + (
        "namespace.unshare(namespace.CLONE_NEWNET)\n"
        "for path in sorted(Path('/proc/sys/net/ipv4').glob('tcp_*')):\n"
        "    print(f'net.ipv4.{path.name}', '=', *path.read_text().split())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    asked = "def test_it(lab):\n    for key in {!r}: print(key, '=', lab.sysctl(key, default=''))\n"
    usual = dict(line.split(" = ") for line in done.stdout.splitlines() if " = " in line and "ehash" not in line)
    output = play(asked.format(list(usual)), "-rP", "--lab-sysctls=kernel").stdout
    assert {key: told(output, re.escape(key)) for key in usual} == usual


def test_the_hosts_values_are_those_outside_the_lab() -> None:
    values = profile.chosen("host").values()
    assert len(values) > 60
    for key in ("net.ipv4.tcp_fin_timeout", "net.core.somaxconn", "net.ipv4.ip_local_port_range"):
        assert values[key] == read(key)
    assert not values.keys() & {"net.ipv4.tcp_fastopen_key", "net.ipv4.tcp_available_congestion_control"}


def test_files_override_the_base_and_pairs_override_files(tmp_path) -> None:
    one, other = tmp_path / "a.conf", tmp_path / "b.conf"
    one.write_text("net.ipv4.tcp_fin_timeout = 20\nnet.ipv4.tcp_retries2 = 5\nfs.file-max = 1\n")
    other.write_text("net.ipv4.tcp_fin_timeout = 21\n")
    chosen = profile.chosen("reference", [str(one), str(other)], ["net/ipv4/tcp_retries2=6"])
    assert chosen.name == "reference + a.conf + b.conf + net/ipv4/tcp_retries2=6"
    assert chosen.values()["net.ipv4.tcp_fin_timeout"] == "21"
    assert chosen.values()["net.ipv4.tcp_retries2"] == "6"
    assert Setting("fs.file-max", "1", optional=True) in chosen.settings
    assert chosen.settings[-1] == Setting("net.ipv4.tcp_retries2", "6")


def test_a_secret_is_neither_shown_nor_kept(play: Play, tmp_path) -> None:
    key, secret, kept = "net.ipv4.tcp_fastopen_key", "1234567a-b0000000-c0000000-d000000d", tmp_path / "kept.json"
    (tmp_path / "a.conf").write_text(f"{key} = {secret}\n")
    over = ["--lab-sysctl-file", str(tmp_path / "a.conf"), "--lab-sysctl", f"net/ipv4/tcp_fastopen_key={secret}"]
    done = play(f"def test_it(lab): assert lab.sysctl('{key}') == '{secret}'\n", *over, "--lab-save", str(kept))
    assert done.returncode == 0, done.stdout
    assert "profile reference + a.conf + net/ipv4/tcp_fastopen_key=(secret)" in done.stdout
    assert f'"{key}": "(secret)"' in kept.read_text()
    assert secret not in done.stdout + kept.read_text()
    refused = play("def test_it(lab): pass\n", "--lab-sysctl", f"{key}=oops-{secret}")
    assert refused.returncode == 4
    assert f"{key} = '(secret)': value refused" in refused.stderr
    assert secret not in refused.stdout + refused.stderr
    no_pair = play("def test_it(lab): pass\n", "--lab-sysctl", f"{key}:{secret}")
    assert f"{key} (secret)" in no_pair.stderr
    assert secret not in no_pair.stdout + no_pair.stderr
    (tmp_path / "b.conf").write_text(f"-{key} = oops-{secret}\n")
    allowed = play("def test_it(lab): pass\n", "--lab-sysctl-file", str(tmp_path / "b.conf"))
    assert f"the kernel refuses these values: {key} = (secret)" in allowed.stdout
    assert secret not in allowed.stdout + allowed.stderr


def test_a_secret_that_a_lab_cannot_have_is_a_usage_error(play: Play) -> None:
    done = play("def test_it(lab): pass\n", "--lab-sysctl", "net.ipv6.conf.wan9.stable_secret=2001:db8::1")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "--lab-sysctl: net.ipv6.conf.wan9.stable_secret = '(secret)': " in done.stderr
    assert "2001:db8::1" not in done.stdout + done.stderr


@pytest.mark.parametrize("pair", ["net.ipv4.tcp_retries2", "=5", ""])
def test_a_text_that_is_not_key_value_is_refused(pair: str) -> None:
    with pytest.raises(LabError, match="Hint: write it like "):
        profile.chosen("kernel", (), [pair])


def test_a_lab_has_what_was_chosen(play: Play, tmp_path) -> None:
    file = tmp_path / "99.conf"
    file.write_text("net.ipv4.tcp_fin_timeout = 20\nfs.file-max = 1\n-net.ipv4.tcp_rfc1337 = nonsense\n")
    kernel = play(TELLS, "-rP", "--lab-sysctls=kernel")
    assert kernel.returncode == 0, kernel.stdout
    assert "profile kernel" in kernel.stdout
    over = ["--lab-sysctl-file", str(file), "--lab-sysctl", "net.ipv4.tcp_retries2=6"]
    laid_over = play(TELLS, "-rP", "--lab-sysctls=kernel", *over)
    assert "profile kernel + 99.conf + net.ipv4.tcp_retries2=6" in laid_over.stdout
    changed = {"tcp_fin_timeout": "20", "tcp_retries2": "6"}
    for key in ("tcp_syn_retries", "tcp_retries2", "tcp_fin_timeout", "tcp_rfc1337"):
        assert told(laid_over.stdout, key) == changed.get(key, told(kernel.stdout, key))
    assert "not set, because they cannot be set in a network namespace here: fs.file-max\n" in laid_over.stdout
    assert "not set, because the kernel refuses these values: net.ipv4.tcp_rfc1337 = nonsense\n" in laid_over.stdout
    assert told(kernel.stdout, "tcp_syn_retries") != "2"
    assert told(play(TELLS, "-rP").stdout, "tcp_syn_retries") == "2"


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
@pytest.mark.parametrize(
    ("pair", "why"),
    [
        ("net.ipv4.tcp_syn_retries=0", "net.ipv4.tcp_syn_retries = '0': value refused: takes 1 to 127. Hint: give"),
        ("net/ipv4/tcp_fin_timout=3", "net.ipv4.tcp_fin_timout = '3': unknown: no such key in Linux. "
         "Hint: did you mean net.ipv4.tcp_fin_timeout?"),
        ("fs.file-max=1", "fs.file-max = '1': host-wide: "),
    ],
)  # fmt: skip
def test_a_pair_that_a_lab_cannot_have_is_one_usage_error(play: Play, workers, pair: str, why: str) -> None:
    over = ["--lab-sysctl", "net.ipv4.tcp_retries2=6", "--lab-sysctl", pair]
    done = play(TELLS + TELLS.replace("test_it", "test_that"), *over, *workers)
    assert done.returncode == 4, done.stdout
    assert done.stderr.startswith(f"ERROR: --lab-sysctl: {why}"), done.stderr
    assert "retries2" not in done.stderr
    assert "test_it" not in done.stdout


def test_a_files_value_that_the_kernel_refuses_is_a_usage_error(play: Play, tmp_path) -> None:
    file = tmp_path / "99.conf"
    file.write_text("net.ipv4.tcp_no_such_key = 1\nnet.ipv4.tcp_rfc1337 = 300\n-net.ipv4.tcp_fin_timeout = soon\n")
    done = play(TELLS, "--lab-sysctl-file", str(file))
    assert done.returncode == 4, done.stdout
    refusal = "99.conf:2: net.ipv4.tcp_rfc1337 = '300': value refused: takes 0 to 255. Hint: give"
    assert refusal in done.stderr
    assert "fin_timeout" not in done.stderr


def test_without_a_lab_a_pair_is_not_an_error() -> None:
    script = f"""{AS_ROOT_OF_A_USER_NAMESPACE}
for kind in ("net", "user"):
    Path(f"/proc/sys/user/max_{{kind}}_namespaces").write_text("0")
from harness.explain import profile
profile.chosen("kernel", (), ["net.ipv4.tcp_fin_timeout=soon"], tried=True)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT,
                          env=clean_environment())  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_file_that_cannot_be_read_is_a_usage_error(play: Play, tmp_path) -> None:
    file = tmp_path / "bad.conf"
    file.write_text("net.ipv4.tcp_fin_timeout 20\n")
    done = play(TELLS, "--lab-sysctl-file", str(file))
    assert done.returncode == 4
    assert "bad.conf:1:" in done.stderr


def header(*arguments: str) -> str:
    done = run_module("pytest", "scenarios/closing/close_with_unread_data.py", "-k", "no_such_story", *arguments)
    return next(line for line in done.stdout.splitlines() if line.startswith("tcp-fault-lab:"))


def test_the_header_warns_if_the_hosts_values_are_not_used() -> None:
    # Whatever this host's value is, one of the two runs has another.
    host = read("net.ipv4.tcp_fin_timeout")
    other = str(int(host) + 1)
    differs = header("--lab-sysctl", f"net.ipv4.tcp_fin_timeout={other}")
    assert re.search(r"not this host's values, which differ in .*\btcp_fin_timeout\b.*\(--lab-sysctls=host\)", differs)
    for base in ("reference", "kernel"):
        over = ["--lab-sysctl", f"net.ipv4.tcp_fin_timeout={host}", f"--lab-sysctls={base}"]
        assert "tcp_fin_timeout" not in header(*over).partition(";")[2]
    assert "not this host's values" not in header("--lab-sysctls=host")


@pytest.mark.parametrize("base", ["reference", "kernel", "host"])
def test_every_governing_key_is_compared_with_the_host(base: str) -> None:
    # A network of this test's own is the host's to the run. tcp_invalid_ratelimit is in no line of the reference.
    command = [sys.executable, "-m", "pytest", "scenarios/closing/close_with_unread_data.py", "-k", "no_such_story"]
    script = f"""{AS_ROOT_OF_A_USER_NAMESPACE}
namespace.unshare(namespace.CLONE_NEWNET)
Path("/proc/sys/net/ipv4/tcp_invalid_ratelimit").write_text("777")
os.execv(sys.executable, {[*command, f"--lab-sysctls={base}"]})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT,
                          env=clean_environment())  # fmt: skip
    line = next(line for line in done.stdout.splitlines() if line.startswith("tcp-fault-lab:"))
    told = re.search(
        r"; not this host's values, which differ in .*\btcp_invalid_ratelimit\b.*\(--lab-sysctls=host\)", line
    )
    assert bool(told) == (base != "host"), line


WAITS = """
from harness.predict import timers

def test_long(lab):
    lab.skip_if_longer_than_max_wait("the long one", timers.Interval(12.0, 12.5))
    print("waited")

def test_exactly_as_long(lab):
    lab.skip_if_longer_than_max_wait("the exact one", timers.Interval(10.0, 12.5))

def test_needs_many(lab):
    lab.not_measured("sockets", 28232, "more than 1,000")
"""


def test_a_wait_that_is_too_long_is_reported_and_never_passes(play: Play) -> None:
    done = play(WAITS, "-v", "--lab-strict")
    assert done.returncode == 0, done.stdout
    assert "test_long NOT MEASURED" in done.stdout
    assert "test_exactly_as_long PASSED" in done.stdout
    assert "3 stories from 1 file: 1 as expected, 0 not, 0 inconclusive, 0 skipped, 2 not measured" in done.stdout
    assert "not measured: story.py::test_long: the long one: longer than the 10 s of --lab-max-wait" in done.stdout
    assert "test_needs_many: sockets: more than 1,000, by the prediction of 28232" in done.stdout


def test_max_wait_is_the_bound(play: Play) -> None:
    assert "2 as expected" in play(WAITS, "--lab-max-wait=12").stdout
    assert "0 as expected" in play(WAITS, "--lab-max-wait=1").stdout


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "1e300"])
def test_no_time_to_wait_is_a_usage_error(play: Play, seconds: str) -> None:
    done = play(WAITS, f"--lab-max-wait={seconds}")
    assert done.returncode == 4, done.stdout
    assert "Hint: give more than 0 seconds" in done.stderr


def test_longer_timers_extend_pytests_timeout(play: Play) -> None:
    source = """
def test_it(lab, request):
    marker = request.node.get_closest_marker("timeout")
    print("limit", marker and marker.args)
"""
    assert "limit (330.0,)" in play(source, "-rP", "--lab-max-wait=100").stdout
    assert "limit None" in play(source, "-rP").stdout
