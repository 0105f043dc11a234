"""Messages with file descriptors between two processes of one run."""

import errno
import os
import pickle
import socket

MESSAGE_LIMIT = 1 << 16
"""The length of the longest message, in bytes."""

_FDS_AT_ONCE = 250
"""The most file descriptors in one portion: the kernel passes at most 253 (include/net/scm.h, SCM_MAX_FD)."""

_MORE = b"\0"
"""The data of every portion but the last; no pickle is that short."""


class Channel:
    """One end of a Unix SOCK_SEQPACKET pair.

    Both ends belong to processes of this run (the harness and its forks), so messages may be pickles.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    @classmethod
    def pair(cls) -> "tuple[Channel, Channel]":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(ours), cls(theirs)

    @classmethod
    def from_fd(cls, fd: int) -> "Channel":
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: object, fds: tuple[int, ...] = ()) -> None:
        """Send one message; the receiver gets its own duplicates of `fds`.

        OSError if the peer is gone, ValueError if the message is too long.
        """
        data = pickle.dumps(message)
        if len(data) > MESSAGE_LIMIT:
            raise ValueError(f"{len(data)} bytes are too many for one message (limit: {MESSAGE_LIMIT})")
        while len(fds) > _FDS_AT_ONCE:
            socket.send_fds(self._socket, [_MORE], list(fds[:_FDS_AT_ONCE]))
            fds = fds[_FDS_AT_ONCE:]
        if fds:
            socket.send_fds(self._socket, [data], list(fds))
        else:
            self._socket.send(data)

    def receive(self) -> tuple[object, list[int]]:
        """Wait for one message, and return it with its fds, which are close-on-exec. EOFError if the peer is gone.

        OSError (EMFILE) if this process may not open that many fds: those that were received are closed.
        """
        data, fds = self._receive_portion()
        while data == _MORE:
            data, more = self._receive_portion()
            fds += more
        return pickle.loads(data), fds

    def _receive_portion(self) -> tuple[bytes, list[int]]:
        try:
            data, fds, flags, _ = socket.recv_fds(self._socket, MESSAGE_LIMIT, _FDS_AT_ONCE, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            data, fds, flags = b"", [], 0
        if flags & socket.MSG_CTRUNC:
            for fd in fds:
                os.close(fd)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        for fd in fds:
            os.set_inheritable(fd, False)  # Python 3.11's recv_fds() does not pass its flags on
        if not data:
            raise EOFError("the other end of the channel is gone")
        return data, fds

    def detach(self) -> int:
        """Return the descriptor, which the caller must close."""
        return self._socket.detach()

    def close(self) -> None:
        self._socket.close()
