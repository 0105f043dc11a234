#!/bin/sh
# System tools and real servers that the lab and its tests use: installed through apt where that may be done, else named, with what
# will be skipped for want of each. LAB_APT=no never installs.
set -eu

missing=""
want() { # program, Debian package, what is skipped without it
    command -v "$1" >/dev/null 2>&1 && return
    missing="$missing $2"
    echo "tcp-fault-lab: $1 is not there; without it, $3"
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
    missing="$missing python3-venv"
    echo "tcp-fault-lab: this Python cannot make a virtual environment; without one, nothing runs"
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && [ "${LAB_APT:-yes}" != no ] && command -v apt-get >/dev/null 2>&1; then
    # The lab starts its servers itself, inside; this machine shall not run them (systemctl's SYSTEMD_OFFLINE).
    export DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1
    set -x
    apt-get update -qq || true
    failed=""
    for package in $missing; do # one by one: a package that this release does not have must not cost the others
        if [ "$package" = haproxy ] && [ ! -d /run/systemd/system ] && [ ! -x /usr/sbin/policy-rc.d ]; then
            failed="$failed $package" # its init script would start it at once, and nothing here could say no
            continue
        fi
        apt-get install -qq -y --no-install-recommends "$package" || failed="$failed $package"
    done
    case "$missing" in *haproxy*) systemctl disable --quiet haproxy || true ;; esac
    set +x
    [ -n "$failed" ] || exit 0
    missing="$failed"
    echo "tcp-fault-lab: apt failed; going on without (LAB_APT=no does not even try)"
fi
echo "tcp-fault-lab: to mend it, as root: apt-get install$missing"
