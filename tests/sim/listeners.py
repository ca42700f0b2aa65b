"""The server's end of a simulated connection: the broker's own `Connection` over a pair of sockets.

The bytes that come are written into one end; the broker reads them from the other with its own system calls, answers
there, and what it has written is read at once and sent on its simulated way. They are written frame by frame: a turn
that has more of them ends by the true clock (LONGEST_TURN_NS), which must not be seen here.
"""

import fcntl
import socket
import termios
from collections import deque
from collections.abc import Callable
from typing import Any

from kstore._native.connection import Connection
from kstore.server.endpoints import Endpoint
from kstore.server.listener import Listeners
from tests.sim.loop import PROCESS, Process, SimLoop
from tests.sim.network import Link, Network

CHUNK = 1 << 20
NOTHING = bytes(4)

# Set while a simulation runs.
network: Network | None = None


class SimListeners(Listeners):
    """Listens in the simulation's network instead of on sockets."""

    process: Process

    def bind(self) -> None:
        process = PROCESS.get()
        assert process is not None
        self.process = process
        self.endpoints = list(self.config.listeners)

    def accept_all(self) -> None:
        assert network is not None
        for endpoint in self.endpoints:
            network.listen((endpoint.host, endpoint.port), Door(self, endpoint))

    def stop_accepting(self) -> None:
        assert network is not None
        for endpoint in self.endpoints:
            network.unlisten((endpoint.host, endpoint.port))

    def open_end(self, link: Link, endpoint: Endpoint) -> None:
        ServerEnd(self, link, endpoint)

    def _closed(self, connection: Connection, reason: str | None) -> None:
        super()._closed(connection, reason)
        connection_end = self.ends.pop(connection, None)
        if connection_end is not None:
            connection_end.closed()

    @property
    def ends(self) -> "dict[Connection, ServerEnd]":
        found: dict[Connection, ServerEnd] = self.__dict__.setdefault("_ends", {})
        return found


class Door:
    """One listener's place in the network."""

    def __init__(self, listeners: SimListeners, endpoint: Endpoint) -> None:
        self.process = listeners.process
        self._listeners = listeners
        self._endpoint = endpoint

    def accept(self, link: Link) -> None:
        if link.ends[0] is not None:
            self._listeners.open_end(link, self._endpoint)


class ServerEnd:
    """What a Connection takes for its loop, and the network for an end."""

    def __init__(self, listeners: SimListeners, link: Link, endpoint: Endpoint) -> None:
        self._loop: SimLoop = link.network.loop
        self._link = link
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._reader: Callable[[], None] | None = None
        self._writer: Callable[[], None] | None = None
        # What came, as it was sent: a frame each.
        self._inbox: deque[bytes] = deque()
        # Whether some of what was written into the socket still lies there.
        self._is_unread = False
        self._is_asked = False
        self._is_open = True
        link.ends[1] = self
        connection = Connection(
            sock=self._theirs,
            peer=(link.names[0], 0),
            listener_name=endpoint.listener,
            loop=self,
            dispatch=listeners._dispatch,
            turn_ended=listeners._turn_ended,
            readers=listeners._readers,
            on_close=listeners._closed,
            budget=listeners._budget,
            max_frame=listeners.config.socket_request_max_bytes,
            durations=listeners.durations,
        )
        listeners._limits.opened(link.names[0], endpoint.listener)
        listeners.connections[connection] = None
        listeners.ends[connection] = self
        connection.open()

    # --- the network's side ---

    def received(self, data: bytes) -> None:
        self._inbox.append(data)
        if not self._is_asked:
            self._read()

    def ended(self, error: Exception | None) -> None:
        if not self._is_open:
            return
        self._ours.close()
        self._ours = None  # type: ignore[assignment]
        if self._reader is not None:
            self._reader()
        elif self._writer is not None:
            self._writer()

    # --- the connection's side ---

    def add_reader(self, _fd: int, reader: Callable[[], None]) -> None:
        self._reader = reader
        if self._inbox or self._is_unread:
            self._ask()

    def remove_reader(self, _fd: int) -> None:
        self._reader = None

    def add_writer(self, _fd: int, writer: Callable[[], None]) -> None:
        self._writer = writer
        self._loop.call_soon(self._write)

    def remove_writer(self, _fd: int) -> None:
        self._writer = None

    def call_soon(self, callback: Callable[..., Any], *arguments: Any) -> None:
        self._loop.call_soon(self._run, callback, *arguments)

    def run_in_executor(self, executor: Any, function: Callable[..., Any], *arguments: Any) -> "Answering":
        return Answering(self, self._loop.run_in_executor(executor, function, *arguments))

    def closed(self) -> None:
        """The broker has closed the connection."""
        self._is_open = False
        if self._ours is not None:
            self._send_on()
            self._ours.close()
            self._link.close(1, None)
        self._reader = self._writer = None

    def give_up(self) -> None:
        """The broker's process is gone; what it had open is closed for it."""
        self._is_open = False
        if self._ours is not None:
            self._ours.close()
            self._ours = None  # type: ignore[assignment]
        self._theirs.close()
        self._reader = self._writer = None

    # --- between them ---

    def _ask(self) -> None:
        if not self._is_asked:
            self._is_asked = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        self._is_asked = False
        if not self._is_open or self._ours is None:
            return
        reader = self._reader
        if reader is None:
            return
        if self._inbox and not self._is_unread:
            data = self._inbox.popleft()
            sent = self._ours.send(data)
            if sent < len(data):
                self._inbox.appendleft(data[sent:])
        reader()
        self._send_on()
        self._is_unread = self._has_unread()
        if self._is_open and self._reader is not None and (self._inbox or self._is_unread):
            self._ask()

    def _write(self) -> None:
        if self._writer is not None and self._is_open:
            self._writer()
            self._send_on()
            if self._writer is not None:
                self._loop.call_soon(self._write)

    def _run(self, callback: Callable[..., Any], *arguments: Any) -> None:
        callback(*arguments)
        self._send_on()

    def _send_on(self) -> None:
        """What the broker has written goes its way."""
        size = CHUNK
        while size == CHUNK and self._ours is not None:
            try:
                data = self._ours.recv(CHUNK)
            except OSError:  # nothing there now, or the broker has ended meanwhile
                return
            if not data:
                return
            self._link.send(1, data)
            size = len(data)

    def _has_unread(self) -> bool:
        if not self._is_open or (descriptor := self._theirs.fileno()) < 0:
            return False
        return fcntl.ioctl(descriptor, termios.FIONREAD, NOTHING) != NOTHING

    def time(self) -> float:
        return self._loop.time()


class Answering:
    """A thread's future whose callbacks may answer."""

    def __init__(self, end: ServerEnd, future: Any) -> None:
        self._end = end
        self._future = future

    def add_done_callback(self, callback: Callable[[Any], Any]) -> None:
        self._future.add_done_callback(lambda future: self._end._run(callback, future))
