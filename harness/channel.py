"""Whole messages, with file descriptors, between two processes of one run."""

import pickle
import socket

MESSAGE_LIMIT = 1 << 16
"""Bytes of the longest message."""

_FDS_LIMIT = 64


class Channel:
    """One end of a Unix SOCK_SEQPACKET pair.

    Both ends are processes of this run (the harness and what it forked), so messages may be pickles.
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

        OSError when the peer is gone, ValueError where the message is too long.
        """
        data = pickle.dumps(message)
        if len(data) > MESSAGE_LIMIT:
            raise ValueError(f"{len(data)} bytes are too many for one message (limit: {MESSAGE_LIMIT})")
        if fds:
            socket.send_fds(self._socket, [data], list(fds))
        else:
            self._socket.send(data)

    def receive(self) -> tuple[object, list[int]]:
        """Wait for one message. EOFError when the peer is gone. The fds are close-on-exec."""
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, MESSAGE_LIMIT, _FDS_LIMIT, socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            data, fds = b"", []
        if not data:
            raise EOFError("the other end of the channel is gone")
        return pickle.loads(data), fds

    def close(self) -> None:
        self._socket.close()
