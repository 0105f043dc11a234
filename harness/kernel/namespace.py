"""Entering namespaces: always network and PID namespaces, and a user namespace if the user is not root.

`os.unshare` is new in Python 3.12; the lab supports 3.11, so it calls the C library.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
from pathlib import Path

from harness.errors import LabUnavailable

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1
_IFREQ_FLAGS = struct.Struct("=16sH22x")
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_SETS = struct.Struct("=6I")  # effective, permitted, inheritable; then the upper 32 bits of each

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def unshare(flags: int) -> None:
    """unshare(2). OSError: EPERM without permission, ENOSPC beyond user.max_*_namespaces, EINVAL with threads."""
    _check(_libc.unshare(flags))


def enter(pid: int, flags: int) -> None:
    """setns(2): enter these namespaces of process `pid` in one call."""
    enter_open(os.pidfd_open(pid), flags)


def enter_open(fd: int, flags: int) -> None:
    """setns(2): enter the namespace that an open file of /proc/PID/ns, or of /run/netns, stands for."""
    _check(_libc.setns(fd, flags))


def keep_capabilities_over_exec() -> None:
    """Make all capabilities of this process ambient, so that a program that it executes has them without being root.

    capabilities(7): a capability can be ambient only while it is permitted and inheritable.
    """
    header = ctypes.create_string_buffer(struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, 0))
    data = ctypes.create_string_buffer(_CAPABILITY_SETS.size)
    _check(_libc.capget(header, data))
    effective, permitted, _, effective_high, permitted_high, _ = _CAPABILITY_SETS.unpack(data.raw)
    data.raw = _CAPABILITY_SETS.pack(effective, permitted, permitted, effective_high, permitted_high, permitted_high)
    _check(_libc.capset(header, data))
    every = permitted | permitted_high << 32
    for capability in range(every.bit_length()):
        if every >> capability & 1:
            _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def die_with_parent() -> None:
    """Have this process killed (SIGKILL) when the thread that forked it ends (prctl(2), PR_SET_PDEATHSIG)."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0))


def mount_privately(kind: str, where: str) -> None:
    """Mount a pseudo file system in a new mount namespace, so that no other process sees it."""
    unshare(CLONE_NEWNS)
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    _check(_libc.mount(kind.encode(), where.encode(), kind.encode(), 0, None))


def become_isolable() -> str:
    """Acquire the right to make network and PID namespaces, and return how.

    Returns "root" if this process already has the right, "user namespace (uid N)" if it had to enter a user namespace.
    Raises LabUnavailable. The calling process must have only one thread.
    """
    if _may_isolate():
        return "root"
    _enter_user_namespace()
    if not _may_isolate():
        raise _powerless()
    return f"user namespace (uid {os.geteuid()})"


def enter_network() -> None:
    """Put this process, which must have only one thread, into a new network namespace whose sysctls it may set.

    LabUnavailable if neither its own capabilities nor a user namespace allow that.
    """
    if not _entered_network():
        _enter_user_namespace()
        if not _entered_network():
            raise _powerless()


def _entered_network() -> bool:
    """Whether this process could enter a new network namespace (CAP_SYS_ADMIN) and set up its `lo` (CAP_NET_ADMIN)."""
    try:
        unshare(CLONE_NEWNET)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _IFREQ_FLAGS.pack(b"lo", _IFF_UP))
    except OSError:
        return False
    return True


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        # Map each user to the same user, not to root: programs that run as root try to become another user, who does
        # not exist here (tcpdump gives up), or refuse to run at all (database servers).
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        keep_capabilities_over_exec()
    except OSError as error:
        raise _unavailable("no user namespace can be made", error) from None


def _powerless() -> LabUnavailable:
    """The error for a user namespace without capabilities.

    On Ubuntu 24.04 unshare(CLONE_NEWUSER) succeeds, but AppArmor's profile "unprivileged_userns" removes every
    capability, so only the next step fails.
    """
    return _unavailable("a user namespace does not allow making a network namespace here", None)


def _may_isolate() -> bool:
    child = os.fork()
    if child == 0:
        try:
            unshare(CLONE_NEWNET | CLONE_NEWPID)
            # Making namespaces needs CAP_SYS_ADMIN; using them needs CAP_NET_ADMIN and CAP_NET_RAW, which root in a
            # container may not have. An AF_INET raw socket needs the same capability as a capture, but closes without
            # waiting for RCU.
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
                fcntl.ioctl(raw, _SIOCSIFFLAGS, _IFREQ_FLAGS.pack(b"lo", _IFF_UP))
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _unavailable(what: str, error: OSError | None) -> LabUnavailable:
    reason = f"{what} ({errno.errorcode[error.errno]})" if error and error.errno else what
    return LabUnavailable(reason, "; or ".join([*_hints(), "run as root"]))


def _hints() -> list[str]:
    """The commands that would allow it, one for each setting that forbids it here."""
    hints = []
    if _setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        hints.append("sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu's AppArmor rule)")
    if _setting("kernel/unprivileged_userns_clone") == "0":
        hints.append("sudo sysctl kernel.unprivileged_userns_clone=1")
    if any(_setting(f"user/max_{kind}_namespaces") == "0" for kind in ("user", "net", "pid")):
        hints.append("sudo sysctl user.max_user_namespaces=1000 user.max_net_namespaces=1000 "
                     "user.max_pid_namespaces=1000")  # fmt: skip
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        hints.append("docker run --privileged (the default seccomp profile forbids namespaces)")
    return hints


def _setting(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None
