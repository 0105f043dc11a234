"""Signatures of the lessons in scenarios/owners/."""

from harness.diagnose.finding import Evidence, Finding
from harness.diagnose.signatures.common import (
    connection,
    connections,
    lasting,
    listener,
    queues,
    waiting,
)
from harness.diagnose.signatures.opening import CAUSES_OF_A_FULL_QUEUE
from harness.diagnose.snapshot import Owner, Snapshot
from harness.evidence.sockets import Socket, State, unmapped
from harness.output.wording import counted

_CONNECTED = (State.SYN_SENT, State.ESTABLISHED, State.CLOSE_WAIT)
"""The states of a connection that this end has not closed."""


def close_wait_without_owner(before: Snapshot, after: Snapshot) -> Finding | None:
    """CLOSE_WAIT that no process has open: the client has closed, and the server has not called accept() yet.

    A connection in the accept queue has no inode before accept() (inet_accept, sock_graft). An orphan is never in
    CLOSE_WAIT: close() turns CLOSE_WAIT into LAST_ACK (tcp_close_state). A socket whose owner this user may not see has
    an inode.
    """
    rows = connections(row for row in lasting(State.CLOSE_WAIT, before, after) if row.inode == 0)
    unlike = "the CLOSE_WAITs of a program that forgets to call close() have an owner"
    causes = ("full_accept_queue", *CAUSES_OF_A_FULL_QUEUE)
    return Finding("close_wait_without_owner", rows, unlike, because_of=causes) if rows else None


def close_wait_piles_up(before: Snapshot, after: Snapshot) -> Finding | None:
    """CLOSE_WAITs of one process that all last: the peers have closed, and the process does not.

    A program may be about to close them, so their number alone proves nothing. Possible: two or more, and more of them
    than ESTABLISHED connections. Certain, by the process's own limit (RLIMIT_NOFILE): besides, it has no file
    descriptor left; or CLOSE_WAITs alone take more than half of the limit, so that as many again would exhaust it.
    """
    certain: list[Evidence] = []
    possible: list[Evidence] = []
    kept: dict[int, list[Socket]] = {}
    owners: dict[int, Owner] = {}
    for row in lasting(State.CLOSE_WAIT, before, after):
        for owner in after.owners_of(row):
            kept.setdefault(owner.pid, []).append(row)
            owners[owner.pid] = owner
    open_now = _established(after)
    for pid, group in kept.items():
        owner, limit = owners[pid], owners[pid].fd_limit
        if len(group) < 2 or len(group) <= open_now.get(pid, 0):
            continue
        is_certain = limit is not None and (owner.fds >= limit or 2 * len(group) > limit)
        fds = f"{counted(owner.fds, 'file descriptor')} open (limit {limit})" if limit else "its limit is not known"
        what = f"one of {len(group)} that {owner.program} (pid {pid}) keeps; {fds}"
        (certain if is_certain else possible).extend(
            Evidence(connection(row, what).text, row, pid=pid) for row in group
        )
    unlike = "CLOSE_WAITs without an owner wait for accept(), not for close()"
    missing = (
        "whether they stay: repeat `ss -tnp state close-wait`; a program that closes late has different ones each time"
    )
    rows = tuple(certain or possible)
    return Finding("close_wait_piles_up", rows, unlike, "" if certain else missing) if rows else None


def _established(snapshot: Snapshot) -> dict[int, int]:
    """The number of ESTABLISHED connections of each process, by PID."""
    found: dict[int, int] = {}
    for row in snapshot.sockets:
        if row.state == State.ESTABLISHED:
            for owner in snapshot.owners_of(row):
                found[owner.pid] = found.get(owner.pid, 0) + 1
    return found


def close_in_another_thread(before: Snapshot, after: Snapshot) -> Finding | None:
    """A socket with an inode and no descriptor, while a thread is blocked in a call on a descriptor that is gone.

    The call still has a reference to the open file (fdget), so sock_close() was not called. An inode without an owner
    proves nothing by itself: sockets of the kernel (sock_create_kern; NFS) and of processes in other network namespaces
    look the same.
    """
    calls = {(each.pid, each.fd, each.call) for each in before.closed_calls}
    stuck = [each for each in after.closed_calls if (each.pid, each.fd, each.call) in calls]
    rows = [
        row
        for state in (State.LISTEN, *_CONNECTED)
        for row in lasting(state, before, after)
        if row.inode > 0 and not after.owners_of(row)
    ]
    if not stuck or not rows:
        return None
    threads = tuple(
        Evidence(
            f"{each.program} (pid {each.pid}) is blocked in {each.call}() on descriptor {each.fd}, which is closed",
            pid=each.pid,
        )
        for each in stuck
    )
    found = tuple(connection(row, "it has an inode, but no process has it open") for row in rows)
    unlike = "an orphan has no inode; with a socket of the kernel (NFS), no thread is blocked on a closed descriptor"
    return Finding("close_in_another_thread", found + threads, unlike)


def listening_fd_inherited(before: Snapshot, after: Snapshot) -> Finding | None:
    """Connections wait for accept(), and all processes that have the listener sleep in calls that no socket ends.

    None of them accepts while it sleeps. It is not certain that they have inherited the listener: a single-threaded
    server may itself sleep or wait for a child. Pre-fork servers and socket activation have a process that accepts, or
    polls.
    """
    queued = queues(after)
    rows = tuple(
        listener(
            row,
            after,
            f"Recv-Q {row.recv_q}; its owners sleep without waiting for it: {_names(owners)}",
            owners[0],
        )
        for row in waiting(before, after)
        if queued.get((unmapped(row.local[0]), row.local[1])) and (owners := _asleep_beside(row, before, after))
    )
    if not rows:
        return None
    unlike = "a server that is merely slow or busy runs between the looks, or waits in accept() or a poll"
    missing = "whether that program is the server: `ps -o pid,ppid,lstart,args -p PID`, `ls -l /proc/PID/fd`"
    return Finding("listening_fd_inherited", rows, unlike, missing)


def socket_leaks_into_a_child(before: Snapshot, after: Snapshot) -> Finding | None:
    """A connection that a child process has open which runs another program, or only processes that do not wait for it.

    Left out are standard streams, as they are handed over on purpose (inetd, sshd); children that run the same program
    (pre-fork servers); and processes that wait for any socket. No source shows which process created a socket, so it is
    only possible: a program may sleep while it has connections of its own, or be given a descriptor.
    """
    evidence: list[Evidence] = []
    for state in _CONNECTED:
        for row in lasting(state, before, after):
            if not row.inode:
                continue
            for owner in after.owners_of(row):
                if parent := _other_program_above(owner, row, before, after):
                    text = f"open in {owner.program} (pid {owner.pid}), a child of {parent.program} (pid {parent.pid})"
                    evidence.append(Evidence(connection(row, text).text, row, pid=owner.pid))
                    break
            else:
                if owners := _asleep_beside(row, before, after):
                    text = f"its owners sleep without waiting for it: {_names(owners)}"
                    evidence.append(Evidence(connection(row, text).text, row, pid=owners[0].pid))
    if not evidence:
        return None
    unlike = "a server's workers run the same program; a connection that was handed over is a standard stream"
    missing = "whether that program uses the connection: `ls -l /proc/PID/fd`, `strace -f -p PID`"
    return Finding("socket_leaks_into_a_child", tuple(evidence), unlike, missing)


def _other_program_above(owner: Owner, row: Socket, before: Snapshot, after: Snapshot) -> Owner | None:
    """The parent of a process, if it runs another program, and has or had the same socket."""
    if row.inode in owner.streams or not owner.parent:
        return None
    for each in (*after.owners_of(row), *before.owners_of(row)):
        if each.pid == owner.parent and each.program != owner.program:
            return each
    return None


def _asleep_beside(row: Socket, before: Snapshot, after: Snapshot) -> tuple[Owner, ...]:
    """The owners of a socket, if each sleeps in both snapshots without waiting for it, and has not run in between."""
    was = {owner.pid: owner for owner in before.owners_of(row)}
    owners = after.owners_of(row)
    for owner in owners:
        then = was.get(owner.pid)
        if then is None or owner.cpu_s > then.cpu_s:
            return ()
        if row.inode not in owner.sleeps_beside or row.inode not in then.sleeps_beside:
            return ()
    return owners


def _names(owners: tuple[Owner, ...]) -> str:
    return ", ".join(f"{owner.program} (pid {owner.pid})" for owner in owners)


SIGNATURES = (
    close_wait_without_owner,
    close_wait_piles_up,
    close_in_another_thread,
    listening_fd_inherited,
    socket_leaks_into_a_child,
)
