"""What `make` does to the system as root; here, fake programs replace apt, dpkg and systemd."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.playing import ROOT

NEEDED = (
    "sh",
    "sed",
    "grep",
    "cut",
    "tr",
    "basename",
    "dirname",
    "mktemp",
    "mkdir",
    "mv",
    "rm",
    "cat",
    "chmod",
    "head",
)
NEVER = ("systemctl", "service", "invoke-rc.d", "update-rc.d", "deb-systemd-helper", "deb-systemd-invoke", "ldconfig")

SERVICE = """
if deb-systemd-helper --quiet was-enabled 'haproxy.service'; then
    deb-systemd-helper enable 'haproxy.service' >/dev/null || true
fi
"""
STARTED = {
    "enabled by debhelper": SERVICE,
    "one unit of two": f"{SERVICE}deb-systemd-helper debian-installed 'a.socket' && {SERVICE}",
    "started by systemd": "deb-systemd-invoke $_dh_action 'haproxy.service' >/dev/null || true",
    "started by its init script": "invoke-rc.d --skip-systemd-native haproxy start || exit 1",
    "enabled by its init script": "update-rc.d haproxy defaults >/dev/null",
    "started by hand": "systemctl --quiet restart haproxy",
    "a snap in disguise": "snap install haproxy",
}
ONLY_IF_IT_WAS = f"""
if deb-systemd-helper debian-installed 'nftables.service'; then
{SERVICE}
fi
systemctl --system daemon-reload >/dev/null || true
deb-systemd-invoke try-restart 'nftables.service' >/dev/null || true
"""
"""debhelper's script for a unit that is neither enabled nor started by its installation (Debian's nftables)."""

APT = """#!/bin/sh
for word; do
    case $word in Dir::Cache::archives=*) folder=${word#*=} ;; esac
    package=$word
done
case "$*" in
*\\ update) ;;
*\\ -s\\ *) echo "Inst $package $(cat "$HERE/upgrades" 2>/dev/null)(2.0 Debian [amd64])" ;;
*--download-only*)
    [ ! -e "$HERE/no-$package" ] || exit 100
    echo "$package" >"$folder/${package}_2.0_amd64.deb"
    [ ! -e "$HERE/kill" ] || { rm "$HERE/kill"; kill -KILL $PPID; sleep 60; } ;;
*) echo "INSTALL $package" ;;
esac
"""
DPKG_DEB = """#!/bin/sh
package=$(cat "$2")
case $1 in
-e) mkdir -p "$3" && cat "$HERE/$package.postinst" >"$3/postinst" 2>/dev/null || rm -f "$3/postinst" ;;
-x) mkdir -p "$3/usr/sbin" && printf '#!/bin/sh\\necho "$LD_LIBRARY_PATH $*"\\n' >"$3/usr/sbin/$package"
    mkdir -p "$3/usr/lib/x86_64-linux-gnu"
    chmod +x "$3/usr/sbin/$package" ;;
esac
"""
FAKES = {
    "apt-get": APT, "dpkg-deb": DPKG_DEB, "id": '#!/bin/sh\necho "${USED_BY:-0}"\n',
    "python3": "#!/bin/sh\n", "ldd": '#!/bin/sh\n[ -x "$1" ] && cat "$HERE/ldd" 2>/dev/null\nexit 0\n',
}  # fmt: skip

Run = Callable[..., str]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A machine without any of the wanted programs, and a checkout on it."""
    (tmp_path / "bin").mkdir()
    for name in NEEDED:
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    never = '#!/bin/sh\necho "$0 $*" >>"$HERE/never"\n'
    for name, text in (FAKES | dict.fromkeys(NEVER, never)).items():
        program(tmp_path, name, text)
    (tmp_path / "harness").mkdir()
    shutil.copy(ROOT / "harness" / "tools.sh", tmp_path / "harness")
    (tmp_path / "haproxy.postinst").write_text(SERVICE)
    (tmp_path / "nftables.postinst").write_text(ONLY_IF_IT_WAS)
    return tmp_path


def program(there: Path, name: str, text: str = "#!/bin/sh\n") -> None:
    (there / "bin" / name).write_text(text)
    (there / "bin" / name).chmod(0o755)


@pytest.fixture
def make(there: Path) -> Run:
    """Run the script there, and check that it never calls forbidden programs; returns its output."""

    def run(status: int = 0, **environment: str) -> str:
        environment = {"PATH": str(there / "bin"), "HERE": str(there)} | environment
        done = subprocess.run(
            ["/bin/sh", "harness/tools.sh"], cwd=there, env=environment, capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        assert not (there / "never").exists(), (there / "never").read_text()
        return done.stdout

    return run


def installed(said: str) -> list[str]:
    return re.findall(r"^INSTALL (.*)", said, re.M)


EVERY = ["nftables", "iproute2", "tcpdump", "tshark", "chromium", "mariadb-server-core", "nginx-light"]


def test_packages_that_start_nothing_are_installed(make: Run, there: Path) -> None:
    said = make()
    assert installed(said) == EVERY
    unpacked = there / ".tools"
    assert sorted(path.name for path in unpacked.iterdir()) == ["bin", "haproxy"]
    ran = subprocess.run([unpacked / "bin" / "haproxy", "-a", "b c"], capture_output=True, text=True)
    assert ran.stdout == f"{unpacked}/haproxy/usr/lib/x86_64-linux-gnu:{unpacked}/haproxy/lib/*-linux-gnu*: -a b c\n"
    assert "haproxy is not installed (haproxy would start or enable a service)" in said


def test_additions_are_announced_with_their_reasons(make: Run) -> None:
    lines = make().splitlines()
    asked, begins = (
        lines.index("INSTALL nftables"),
        next(n for n, line in enumerate(lines) if "installing them through apt" in line),
    )
    assert lines[0] == "tcp-fault-lab: nft is not installed; without it, scenarios that drop a segment are skipped"
    assert sum("is not installed; without it" in line for line in lines[:begins]) == len(EVERY) + 1
    assert lines[asked - 1] == "tcp-fault-lab: apt installs nftables for nft"


@pytest.mark.parametrize("postinst", STARTED.values(), ids=STARTED)
def test_a_package_that_would_start_a_service_is_not_installed(make: Run, there: Path, postinst: str) -> None:
    (there / "tcpdump.postinst").write_text(f"#!/bin/sh\n{postinst}\n")
    said = make()
    assert installed(said) == [each for each in EVERY if each != "tcpdump"]
    assert (there / ".tools" / "bin" / "tcpdump").exists()


def test_nothing_is_upgraded(make: Run, there: Path) -> None:
    """An upgrade would restart running services."""
    (there / "upgrades").write_text("[1.0] ")
    assert installed(said := make()) == []
    assert "tcpdump is not installed (apt would upgrade packages for it)" in said


def test_existing_tools_are_left_alone(make: Run, there: Path) -> None:
    for name in ("nft", "ip", "tcpdump", "tshark", "chromium", "mariadbd", "haproxy", "nginx"):
        program(there, name)
    assert make() == ""
    assert not (there / ".tools").exists()


@pytest.mark.parametrize("environment", [{"LAB_APT": "no"}, {"USED_BY": "1000"}], ids=["LAB_APT=no", "no root"])
def test_apt_is_not_asked(make: Run, there: Path, environment: dict[str, str]) -> None:
    program(there, "apt-get", '#!/bin/sh\necho "$0 $*" >>"$HERE/never"\n')
    said = make(**environment)
    assert f"Hint: as root, apt-get install {' '.join(EVERY[:-1])} haproxy nginx-light\n" in said
    assert "starts HAProxy as a service" in said
    assert "starts nginx as a service" in said
    assert not (there / ".tools").exists()


def test_an_unavailable_package_is_named_and_stops_no_other(make: Run, there: Path) -> None:
    (there / "no-chromium").touch()
    said = make()
    assert installed(said) == [each for each in EVERY if each != "chromium"]
    assert said.endswith("Hint: as root, apt-get install chromium\n")


def test_a_program_whose_libraries_are_missing_is_reported(make: Run, there: Path) -> None:
    (there / "ldd").write_text("libpcre.so => not found\n")
    assert make().splitlines()[-2].endswith("apt-get install haproxy")
    assert not (there / ".tools" / "bin").exists()


def test_after_a_sigkill_the_next_run_completes(make: Run, there: Path) -> None:
    before = {path.name for path in there.iterdir()}
    (there / "kill").touch()
    assert installed(make(status=-9)) == []
    assert {path.name for path in there.iterdir()} == before | {".tools"}
    assert installed(make()) == EVERY
    assert os.access(there / ".tools" / "bin" / "haproxy", os.X_OK)
