"""One clean process for each pytest worker: single-threaded, so it may enter a user namespace, and cheap to fork.

It makes labs on request and keeps no track of them. It ends when its channel closes or when a process that it watches
(the worker, and the controller of xdist) is gone; its labs end with it.
"""

import contextlib
import os
import select
import signal
import socket

from harness import stock_roles
from harness.errors import LabError, LabUnavailable
from harness.evidence import transitions
from harness.inside import forked_actor, network_keeper, roles
from harness.inside.channel import Channel
from harness.inside.keeper import Keeper
from harness.inside.routed_keeper import RoutedKeeper
from harness.kernel import namespace, processors, sysctls
from harness.network import kinds

SLOTS = 1000

_KEEPERS = {kinds.LOOPBACK: Keeper, kinds.ROUTED: RoutedKeeper}

_SIZED_BY_THE_TABLE = ("net.ipv4.tcp_max_tw_buckets", "net.ipv4.tcp_max_syn_backlog")
"""The sysctls that the kernel computes from the size of a new network's table (net/ipv4/tcp_ipv4.c, tcp_sk_init)."""


def main(channel_fd: int, watched_pids: list[int]) -> None:
    """Run a nursery; returns when no process needs it any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps; a lab's own keeper undoes this
    os.set_inheritable(channel_fd, False)  # Popen's pass_fds made it inheritable; a lab's programs must not get it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # for actors: a command's pytest ignores it (child.py)
    forked_actor.rehearse()  # so that this process has the modules that roles import late (idna, for example)
    roles.load(stock_roles.__file__)
    with contextlib.suppress(EOFError, ConnectionError):  # the pytest that started this has gone
        _serve_until_unwatched(Channel.from_fd(channel_fd), watched_pids)


def _serve_until_unwatched(channel: Channel, watched_pids: list[int]) -> None:
    try:
        watched = [os.pidfd_open(pid) for pid in watched_pids]
    except ProcessLookupError:  # the pytest that started this was killed meanwhile
        return
    try:
        slot_lock, slot = _take_slot()
    except LabError as error:
        channel.send(error)
        return
    # Labs inherit this affinity. A frame is queued on the processor that sent it, so their frames are on these, except
    # those of an idle processor's timers, which any processor may run (kernel/time/timer_migration.c).
    os.sched_setaffinity(0, lanes := processors.lanes(os.sched_getaffinity(0), slot))
    hello, fds, usual = _prepare()
    channel.send({**hello, "slot": slot, "processors": lanes}, tuple(fds))
    for fd in fds:
        os.close(fd)
    with slot_lock:
        while _next_request(channel, watched):
            _serve(channel, usual)


def _take_slot() -> tuple[socket.socket, int]:
    """A number that no other nursery of this network namespace has, and its lock: a name that ends with the socket."""
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for slot in range(SLOTS):
        with contextlib.suppress(OSError):
            lock.bind(f"\0tcp-fault-lab/{slot}")
            return lock, slot
    raise LabError(f"{SLOTS} helper processes already run on this machine. Hint: end some of these pytest runs")


def _prepare() -> tuple[dict[str, object], list[int], list[sysctls.Setting]]:
    """Acquire the right to isolate, and open the tracepoint if this is the host's root.

    Returns the greeting, the fds, and the sysctls that must be set in each lab to the values of an ordinary network,
    because the labs' small socket tables would give them smaller ones.
    """
    usual: list[sysctls.Setting] = []
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        isolation = namespace.become_isolable()
    except LabUnavailable as error:
        return {"unavailable": error}, [], usual
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        fds = transitions.open_events(processors.online()) if isolation == "root" else []
    except OSError:
        fds = []
    with contextlib.suppress(OSError, LabError):  # a kernel without this sysctl is only slower
        # A namespace made from this one gets a socket table of its own, of this size. Reading a table means walking
        # it, and the host's has a quarter of a million buckets (net/ipv4/inet_diag.c, inet_diag_dump_icsk).
        namespace.unshare(namespace.CLONE_NEWNET)
        usual += [sysctls.Setting(key, sysctls.read(key), optional=True) for key in _SIZED_BY_THE_TABLE]
        sysctls.write(sysctls.Setting("net.ipv4.tcp_child_ehash_entries", "1024"))
    return {"isolation": isolation}, fds, usual


def _next_request(channel: Channel, watched: list[int]) -> bool:
    poller = select.poll()
    for fd in (channel.fileno(), *watched):
        poller.register(fd, select.POLLIN)
    return all(fd == channel.fileno() for fd, _ in poller.poll())


def _serve(channel: Channel, usual: list[sysctls.Setting]) -> None:
    """Serve one request: load the roles, and make one lab for the process at the other end of the fd received."""
    request, (keeper_fd,) = channel.receive()
    assert isinstance(request, dict)
    request["profile"] = [*usual, *request["profile"]]
    lab = Channel.from_fd(keeper_fd)
    with contextlib.suppress(LabError):  # the keeper tries again, and reports the error when a role is started
        roles.load(request.pop("roles_from"))
    if os.fork() == 0:
        namespace.die_with_parent()
        channel.close()
        os._exit(_guard(lab, request))
    lab.close()


def _guard(lab: Channel, request: dict[str, object]) -> int:
    """Fork the keeper, and wait for it: a PID namespace begins with the *child* of the process that made it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        namespace.unshare(namespace.CLONE_NEWNET | namespace.CLONE_NEWPID)
        child = os.fork()
    except OSError as error:
        trouble = LabUnavailable(
            f"a namespace for this lab cannot be made: {error.strerror}", "raise user.max_net_namespaces"
        )
        with contextlib.suppress(ConnectionError):  # the caller has gone
            lab.send((0, trouble))
        return 1
    if child == 0:
        namespace.die_with_parent()
        kind = _KEEPERS[str(request.pop("network"))]
        os._exit(network_keeper.serve(lab, lambda: kind(**request)))  # type: ignore[arg-type]
    lab.close()
    os.waitpid(child, 0)
    return 0
