"""Sending batches from their file to a socket: the bytes pass through the kernel alone (sendfile).

Over TLS there is no such way: they are read, and sent encrypted.
"""

import select
import socket
import sys
import time
from typing import NamedTuple

from kstore._native.records import FileSlice


class Sent(NamedTuple):
    """How many bytes went, and the offset at which the next slice begins."""

    size: int
    next_offset: int


class Slice:
    """Whole batches: `size` bytes that end before `next_offset`. Empty where there is nothing to send."""

    __slots__ = ("_piece", "next_offset", "size")

    def __init__(self, piece: "FileSlice | bytes", offset: int) -> None:
        self.size = 0
        self.next_offset = offset
        self._piece = None if isinstance(piece, bytes) else piece  # the end of a log is b""
        if self._piece is not None:
            for header in self._piece.batch_headers():
                self.size += header.size_in_bytes
                self.next_offset = header.next_offset

    def read(self) -> bytes:
        return b"" if self._piece is None else self._piece.read()[: self.size]

    def send_some(self, descriptor: int, already_sent: int) -> int:
        """Sends until the socket would block; returns how many bytes went. Raises OSError."""
        if self._piece is None:
            return 0
        return self._piece.send_to(descriptor, already_sent, self.size - already_sent)


def is_plain(sock: socket.socket) -> bool:
    """Whether what is written to the descriptor is what the peer reads."""
    ssl = sys.modules.get("ssl")
    return ssl is None or not isinstance(sock, ssl.SSLSocket)


def send(sock: socket.socket, piece: Slice) -> None:
    """Sends all of it, waiting as the socket's time-out says. Raises TimeoutError, OSError."""
    timeout_s = sock.gettimeout()
    if timeout_s == 0:
        raise ValueError("the socket does not block: await AsyncLog.send_slice, or set a time-out")
    if not is_plain(sock):
        sock.sendall(piece.read())
        return
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    sent = 0
    while sent < piece.size:
        went = piece.send_some(sock.fileno(), sent)
        sent += went
        if not went:
            left_ms = None if deadline is None else max(0, deadline - time.monotonic()) * 1000
            if not poll.poll(left_ms):
                raise TimeoutError(f"{sent} of {piece.size} bytes went in {timeout_s} s")
