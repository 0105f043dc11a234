#!/bin/sh
# System tools and real servers that the lab and its tests use. If run by root, it installs the missing ones through apt;
# otherwise it lists them, with what is skipped without each. LAB_APT=no installs nothing.
#
# Nothing that runs on this machine is stopped, started, enabled, disabled, upgraded or removed. So a package is installed
# only if apt would do nothing but add packages, and if none of their maintainer scripts starts or enables a service.
# Otherwise (HAProxy, nginx) its files are unpacked into .tools/, where find_program() looks, and the package is not
# installed. The script may be killed at any point: there is no state to restore afterwards.
set -eu

TOOLS=$(cd "$(dirname "$0")/.." && pwd)/.tools
PATH="$PATH:$TOOLS/bin"
missing=""

want() { # program, Debian package, what is skipped without it
    command -v "$1" >/dev/null 2>&1 && return
    missing="$missing $1:$2"
    echo "tcp-fault-lab: $1 is not installed; without it, $3"
}

starts_something() { # the folder with the control files that dpkg-deb -e takes out of a package
    scripts=$(cat "$1/preinst" "$1/postinst" 2>/dev/null || true)
    printf '%s\n' "$scripts" | grep -v 'deb-systemd-invoke try-restart' |
        grep -qE 'invoke-rc\.d|update-rc\.d|deb-systemd-invoke|systemctl .*(start|enable)|\bservice +[a-z]|snap +install' &&
        return 0
    # debhelper's snippet for a unit that is not enabled by default enables it only if Debian had enabled it before.
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

libraries_in() { # the library folders of unpacked packages, as LD_LIBRARY_PATH
    for folder in "$1"/usr/lib/*-linux-gnu* "$1"/lib/*-linux-gnu*; do printf '%s:' "$folder"; done
}

unpack() { # program, the folder with its packages
    for deb in "$2"/*.deb; do dpkg-deb -x "$deb" "$2/root" || return 1; done
    for place in usr/sbin usr/bin none; do [ ! -x "$2/root/$place/$1" ] || break; done
    # If a library is neither on this machine nor in these packages, the program does not run.
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
        echo "tcp-fault-lab: $2 is not installed ($why); its files go into .tools/$1, for use by the lab only"
        unpack "$1" "$work"
    fi
}

want nft nftables "scenarios that drop a segment are skipped"
want ip iproute2 "tests that compare with ss, and a control that sets a route, are skipped"
want tcpdump tcpdump "tests that compare with tcpdump, and the scenario in which it inherits a socket, are skipped"
want tshark tshark "tests that compare with tshark are skipped"
want chromium chromium "tests that open a page in a browser are skipped"
want mariadbd mariadb-server-core "scenarios with a real MariaDB are skipped"
want haproxy haproxy "scenarios with a real HAProxy are skipped"
want nginx nginx-light "scenarios with a real nginx are skipped"
if ! command -v "${PYTHON:-python3}" >/dev/null 2>&1; then
    echo "tcp-fault-lab: ${PYTHON} is not installed. Hint: make PYTHON=python3, or another Python from 3.11 on" >&2
    exit 2
fi
if ! "${PYTHON:-python3}" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    missing="$missing venv:python3-venv"
    echo "tcp-fault-lab: this Python cannot make a virtual environment; without one, nothing runs"
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && [ "${LAB_APT:-yes}" != no ] && command -v apt-get >/dev/null 2>&1; then
    echo "tcp-fault-lab: installing them through apt now (Hint: LAB_APT=no installs nothing)"
    # needrestart would restart services that use what was installed, without asking.
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C NEEDRESTART_SUSPEND=1 NEEDRESTART_MODE=l
    apt-get -qq update || true
    mkdir -p "$TOOLS"
    rm -rf "$TOOLS"/work.* # left by a run that was killed
    failed=""
    for each in $missing; do # one by one: a package that this release lacks must not prevent the others
        work=$(mktemp -d "$TOOLS/work.XXXXXX")
        mkdir "$work/partial"
        add "${each%%:*}" "${each#*:}" </dev/null || failed="$failed $each"
        rm -rf "$work"
    done
    [ -n "$failed" ] || exit 0
    missing="$failed"
    echo "tcp-fault-lab: apt could not install everything; continuing without the rest"
fi
packages=""
for each in $missing; do packages="$packages ${each#*:}"; done
echo "tcp-fault-lab: Hint: as root, apt-get install$packages"
case "$packages" in
*haproxy*) echo "tcp-fault-lab: this also starts HAProxy as a service (systemctl disable --now haproxy ends that)" ;;
esac
case "$packages" in
*nginx*) echo "tcp-fault-lab: this also starts nginx as a service (systemctl disable --now nginx ends that)" ;;
esac
