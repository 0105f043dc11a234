"""Notes that follow a verdict: consequences of the setting, and effects of the file's syntax on its value.

Each sentence names its source, as in known.py.
"""

import re
from collections.abc import Callable

from harness.explain import known
from harness.sysctl_files import names
from harness.sysctl_files.lines import Line

_IPC = ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
_OF_GROUPS = "net.ipv4.ping_group_range"
"""It accepts only the user namespace's groups (ipv4_ping_group_range(), make_kgid()): an ordinary user has few."""

_RANGE, _RESERVED = "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"

_SERVICES = {
    1433: "SQL Server", 1521: "Oracle", 2049: "NFS", 2379: "etcd", 3000: "Grafana", 3306: "MySQL", 5432: "PostgreSQL",
    5672: "AMQP", 6379: "Redis", 6443: "Kubernetes", 8080: "HTTP", 8443: "HTTPS", 9042: "Cassandra",
    9090: "Prometheus", 9092: "Kafka", 9200: "Elasticsearch", 10250: "the kubelet", 11211: "memcached",
    27017: "MongoDB",
}  # fmt: skip
"""Ports that servers listen on, all outside the kernel's default range of 32768 to 60999."""

_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_NAMED = 5
_FROM_HERE = ("net", "vm", "kernel", "fs", "user")
"""The folders of /proc/sys for which linux_keys.txt lists every key of Linux."""


def of_the_text(value: str) -> str:
    """A note on characters that the file's syntax makes part of a value, probably by mistake; else empty."""
    if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1:
        return "; the quotes are part of the value. Hint: remove them"
    return "; the '#' does not begin a comment: it is part of the value" if "#" in value else ""


def of_a_container(line: Line, *, refused: bool) -> str:
    """A note if a container with this setting would not start. `refused`: a namespace cannot have the setting."""
    if not line.at_start or not line.container:
        return ""
    if not _has_a_namespace(line.key):
        return (
            "; a container with this setting does not start: runc, Docker and Kubernetes refuse a sysctl without "
            "namespace (runc, validator.go, sysctl(); docker/cli, opts.go, ValidateSysctl(); kubelet: SysctlForbidden)"
        )
    if refused and line.key.startswith("net.") and line.key != _OF_GROUPS:
        return "; a container with this setting does not start: runc cannot write it (runc, writeSystemProperty())"
    return ""


def _has_a_namespace(key: str) -> bool:
    """Whether a key belongs to a namespace, according to runc, Docker and Kubernetes (kernel.hostname does not)."""
    return key.startswith(("net.", "fs.mqueue.")) or key in {f"kernel.{name}" for name in (*_IPC, "domainname")}


def cannot_be_written(line: Line, kind: str) -> bool:
    """Whether a namespace is known not to have the key: one that merely was not tried may belong to a namespace."""
    return kind != "host-wide" or known.only_of_the_host(line.key)


def of_ports(line: Line, effective_value: Callable[[str], str | None]) -> str:
    """Notes on a value of ip_local_port_range; empty for any other key."""
    ends = line.value.split()
    if line.key != _RANGE or len(ends) != 2 or not all(end.isdecimal() and len(end) < 6 for end in ends):
        return ""
    low, high = map(int, ends)
    parity = (
        "; both ends are even, or both are odd, so the kernel logs a warning: connect() prefers ports of the parity of "
        "the first, and leaves the others to bind() (set_local_port_range(); 07f4c90062f8)"
    )
    served = _served(low, high, effective_value(_RESERVED) or "")
    return parity * ((low ^ high) % 2 == 0 and low < high) + served


def _served(low: int, high: int, reserved: str) -> str:
    kept = [(int(first), int(last or first)) for first, last in _PORTS.findall(reserved)]
    ports = [
        port for port in _SERVICES if low <= port <= high and not any(first <= port <= last for first, last in kept)
    ]
    if not ports:
        return ""
    named = ", ".join(f"{port} ({_SERVICES[port]})" for port in ports[:_NAMED])
    more = f" and {len(ports) - _NAMED} more" if len(ports) > _NAMED else ""
    return (
        f"; connect() may take a port that a server needs, whose bind() then fails with EADDRINUSE: "
        f"{named}{more}. Hint: add those to {_RESERVED} (ip-sysctl.rst)"
    )


def of_an_unknown_key(key: str) -> str:
    """A clause on a key that this kernel does not have: whether other builds of Linux have it."""
    if file := names.in_linux(key):
        return (
            f"no such key in this kernel: Linux has it ({file}), but this build does not, or its module is not loaded"
        )
    return "no such key in Linux" if key.split(".")[0] in _FROM_HERE else "no such key"
