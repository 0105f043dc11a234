#!/bin/sh
# System tools and real servers that the lab and its tests use. As root they are added through apt; otherwise they are
# named, with what is skipped without each. LAB_APT=no never adds anything.
#
# Nothing that runs on this machine is stopped, started, enabled, disabled, upgraded or removed. So a package is installed
# only if apt would add packages and do nothing else, and if no maintainer script of theirs starts or enables a service.
# Otherwise (HAProxy) its files are unpacked into .tools/, where find_program() looks, and the package is not installed.
# There is no state to put back afterwards, so the script may be killed at any point.
set -eu

TOOLS=$(cd "$(dirname "$0")/.." && pwd)/.tools
PATH="$PATH:$TOOLS/bin"
missing=""

want() { # program, Debian package, what is skipped without it
    command -v "$1" >/dev/null 2>&1 && return
    missing="$missing $1:$2"
    echo "tcp-fault-lab: $1 is not there; without it, $3"
}

starts_something() { # the folder with what dpkg-deb -e takes out of a package
    scripts=$(cat "$1/preinst" "$1/postinst" 2>/dev/null || true)
    printf '%s\n' "$scripts" | grep -v 'deb-systemd-invoke try-restart' |
        grep -qE 'invoke-rc\.d|update-rc\.d|deb-systemd-invoke|systemctl .*(start|enable)|\bservice +[a-z]|snap +install' &&
        return 0
    # debhelper's snippet for a unit that is not to be enabled does so only if Debian had enabled it before.
    enabled=$(printf '%s\n' "$scripts" | grep -c 'deb-systemd-helper enable')
    guarded=$(printf '%s\n' "$scripts" | grep -c 'deb-systemd-helper debian-installed')
    [ "$enabled" -gt "$guarded" ]
}

why_not_installed() { # apt's plan, the folder with the packages that it would add
    if printf '%s\n' "$1" | grep -q '^Remv '; then echo "apt would remove packages for it"; fi
    if printf '%s\n' "$1" | grep -q '^Inst [^ ]* \['; then echo "apt would upgrade packages for it"; fi
    for deb in "$2"/*.deb; do
        [ -f "$deb" ] || continue
        rm -rf "$2/control"
        dpkg-deb -e "$deb" "$2/control" || echo "$(basename "$deb") cannot be read"
        if starts_something "$2/control"; then echo "$(basename "$deb" | cut -d_ -f1) would start or enable a service"; fi
    done
}

libraries_in() { # a folder that packages are unpacked in, as LD_LIBRARY_PATH
    for folder in "$1"/usr/lib/*-linux-gnu* "$1"/lib/*-linux-gnu*; do printf '%s:' "$folder"; done
}

unpack() { # program, the folder with its packages
    for deb in "$2"/*.deb; do dpkg-deb -x "$deb" "$2/root" || return 1; done
    for place in usr/sbin usr/bin none; do [ ! -x "$2/root/$place/$1" ] || break; done
    # A library that is neither on this machine nor in these packages: the program would not run.
    if ! linked=$(LD_LIBRARY_PATH=$(libraries_in "$2/root") ldd "$2/root/$place/$1"); then return 1; fi
    case "$linked" in *"not found"*) return 1 ;; esac
    cat >"$2/program" <<END
#!/bin/sh
root=\${0%/bin/*}/$1
for folder in "\$root"/usr/lib/*-linux-gnu* "\$root"/lib/*-linux-gnu*; do libraries=\${libraries:-}\$folder:; done
LD_LIBRARY_PATH=\$libraries exec "\$root/$place/$1" "\$@"
END
    chmod 755 "$2/root" "$2/program" && mkdir -p "$TOOLS/bin" && rm -rf "${TOOLS:?}/$1" &&
        mv "$2/root" "$TOOLS/$1" && mv "$2/program" "$TOOLS/bin/$1"
}

add() { # program, package
    plan=$(apt-get -qq -s --no-install-recommends install "$2") || return 1
    apt-get -qq -y --no-install-recommends --download-only -o Dir::Cache::archives="$work" install "$2" || return 1
    added=$(printf '%s\n' "$plan" | sed -n 's/^Inst \([^ ]*\).*/\1/p' | tr '\n' ' ')
    why=$(why_not_installed "$plan" "$work" | head -n 1)
    if [ -z "$why" ]; then
        echo "tcp-fault-lab: apt installs ${added:-nothing new }for $1"
        apt-get -qq -y --no-install-recommends --no-remove -o Dir::Cache::archives="$work" install "$2"
    else
        echo "tcp-fault-lab: $2 is not installed ($why); its files go into .tools/$1, for the lab alone"
        unpack "$1" "$work"
    fi
}

want nft nftables "scenarios that drop a segment are skipped"
want ip iproute2 "tests with ss as their witness, and a control that sets a route, are skipped"
want tcpdump tcpdump "tests with tcpdump as their witness, and the scenario where it inherits a socket, are skipped"
want tshark tshark "tests with tshark as their witness are skipped"
want chromium chromium "tests that look at a page in a browser are skipped"
want mariadbd mariadb-server-core "scenarios with a real MariaDB are skipped"
want haproxy haproxy "scenarios with a real HAProxy are skipped"
if ! command -v "${PYTHON:-python3}" >/dev/null 2>&1; then
    echo "tcp-fault-lab: there is no ${PYTHON}. Hint: make PYTHON=python3, or another of 3.11 or later" >&2
    exit 2
fi
if ! "${PYTHON:-python3}" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    missing="$missing venv:python3-venv"
    echo "tcp-fault-lab: this Python cannot make a virtual environment; without one, nothing runs"
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && [ "${LAB_APT:-yes}" != no ] && command -v apt-get >/dev/null 2>&1; then
    echo "tcp-fault-lab: they are added through apt now (Hint: LAB_APT=no leaves the system alone)"
    # needrestart would restart services that use what was installed, without asking.
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C NEEDRESTART_SUSPEND=1 NEEDRESTART_MODE=l
    apt-get -qq update || true
    mkdir -p "$TOOLS"
    rm -rf "$TOOLS"/work.* # of a run that was killed
    failed=""
    for each in $missing; do # one by one: a package that this release does not have must not cost the others
        work=$(mktemp -d "$TOOLS/work.XXXXXX")
        mkdir "$work/partial"
        add "${each%%:*}" "${each#*:}" </dev/null || failed="$failed $each"
        rm -rf "$work"
    done
    [ -n "$failed" ] || exit 0
    missing="$failed"
    echo "tcp-fault-lab: apt could not add everything; going on without"
fi
packages=""
for each in $missing; do packages="$packages ${each#*:}"; done
echo "tcp-fault-lab: Hint: as root, apt-get install$packages"
case "$packages" in
*haproxy*) echo "tcp-fault-lab: this also starts HAProxy as a service (systemctl disable --now haproxy ends that)" ;;
esac
