"""Listening sockets and the connections accepted on them, within their limits.

A client beyond the limits is closed at once, as Kafka does with those beyond `max.connections.per.ip`
(SocketServer.scala). Once a second idle memory is given back, and connections are closed on which nothing moved
for `connections.max.idle.ms` though it is the client's turn, or which hold up others with half a frame.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from kstore._native.connection import Connection, MemoryBudget
from kstore._native.durations import Durations
from kstore.log.rarely import Rarely
from kstore.protocol.api_keys import HIGHEST_API_KEY
from kstore.server.config import ServerConfig
from kstore.server.connection_limits import ConnectionLimits
from kstore.server.descriptors import is_kept
from kstore.server.endpoints import Endpoint

log = logging.getLogger(__name__)

SWEEP_MS = 1000
# How long half a frame may hold the last of the request memory without a further byte.
STALL_MS = 10_000
# While others wait for request memory: how long a frame may take to come, however its bytes drip.
LONGEST_FRAME_MS = 30_000

# When descriptors or memory have run out, the next look at those who wait to be let in.
ACCEPT_PAUSE_S = 0.1
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# Those who are let in at once, before others have their turn.
ACCEPTED_A_TURN = 64
# Clients that misbehave fill no disk with what is said of them.
WARNINGS_A_SWEEP = 20


class Listeners:
    def __init__(
        self,
        config: ServerConfig,
        *,
        loop: asyncio.AbstractEventLoop,
        dispatch: Callable[[Any], Any],
        turn_ended: Callable[[], None],
        readers: Executor | None = None,
    ) -> None:
        self.config = config
        # In the order in which they came.
        self.connections: dict[Connection, None] = {}
        self.endpoints: list[Endpoint] = []
        # By API key: how long requests took until their answers were there.
        self.durations = [Durations() for _ in range(HIGHEST_API_KEY + 1)]
        self._budget = MemoryBudget(config.queued_max_request_bytes)
        self._idle_ms: dict[Connection, int] = {}
        # (requests taken up, how long the next one has been on its way while others waited for memory)
        self._frame_ms: dict[Connection, tuple[int, int]] = {}
        self._loop = loop
        self._dispatch = dispatch
        self._turn_ended = turn_ended
        self._readers = readers
        self._limits = ConnectionLimits()
        self._rarely = Rarely(log)
        self._warnings = 0
        self._sockets: list[socket.socket] = []

    @property
    def request_memory(self) -> int:
        """Bytes of buffers that unfinished requests hold."""
        return self._budget.used

    def bind(self) -> None:
        """Binds every listener; `endpoints` then has the real ports. Nothing is accepted yet. Raises OSError."""
        for endpoint in self.config.listeners:
            try:
                listening = self._bound(endpoint)
            except OSError as error:
                raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from error
            self._sockets.append(listening)
            self.endpoints.append(endpoint._replace(port=listening.getsockname()[1]))

    def _bound(self, endpoint: Endpoint) -> socket.socket:
        """A socket on the endpoint's address; no host is every address, of IPv6 as well where the system has it."""
        host, family = endpoint.host, socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        if not host and socket.has_dualstack_ipv6():
            host, family = "::", socket.AF_INET6
        listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(endpoint.host)))
            self._size_buffers(listening)
            listening.bind((host, endpoint.port))
        except BaseException:
            listening.close()
            raise
        return listening

    def _size_buffers(self, listening: socket.socket) -> None:
        """Accepted sockets take over what is asked for; the system's own sizing is better than Kafka's default."""
        for key, option, size in (
            ("socket.send.buffer.bytes", socket.SO_SNDBUF, self.config.socket_send_buffer_bytes),
            ("socket.receive.buffer.bytes", socket.SO_RCVBUF, self.config.socket_receive_buffer_bytes),
        ):
            if self.config.is_set(key) and size > 0:
                listening.setsockopt(socket.SOL_SOCKET, option, size)

    def accept_all(self) -> None:
        for listening, endpoint in zip(self._sockets, self.endpoints, strict=True):
            try:
                listening.listen(max(self.config.socket_listen_backlog_size, 128))
            except OSError as error:
                # Somebody else has bound the address too, and was the first to listen.
                raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from error
            self._loop.add_reader(listening, self._accept, listening, endpoint)

    def stop_accepting(self) -> None:
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()

    def close(self) -> None:
        self.stop_accepting()
        for connection in list(self.connections):
            connection.close()

    def sweep(self) -> None:
        """To be called every SWEEP_MS."""
        if self._warnings > WARNINGS_A_SWEEP:
            log.warning("closed %d more connections", self._warnings - WARNINGS_A_SWEEP)
        self._warnings = 0
        for connection in list(self.connections):
            active = connection.progressed
            stalled = connection.release_idle()
            idle_ms = 0 if active else self._idle_ms.get(connection, 0) + SWEEP_MS
            self._idle_ms[connection] = idle_ms
            if stalled and idle_ms >= STALL_MS and self._budget.is_privileged(connection):
                connection.close("half a frame held up other clients")
            elif self._frame_time(connection) >= LONGEST_FRAME_MS:
                connection.close("a frame that came too slowly held up other clients")
            elif idle_ms >= self.config.connections_max_idle_ms >= 0 and not connection.is_waited_for:
                connection.close()

    def _frame_time(self, connection: Connection) -> int:
        """How long others have waited for memory while this connection's next frame was on its way, in ms."""
        taken_up, held_ms = self._frame_ms.pop(connection, (-1, 0))
        if not self._budget.is_contended or not connection.holds_part or connection.is_waited_for:
            return 0
        held_ms = held_ms + SWEEP_MS if taken_up == connection.requests else 0
        self._frame_ms[connection] = (connection.requests, held_ms)
        return held_ms

    def _accept(self, listening: socket.socket, endpoint: Endpoint) -> None:
        for _ in range(ACCEPTED_A_TURN):
            try:
                client, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in EXHAUSTED:
                    # The listener stays readable, so that looking again at once would keep the loop busy.
                    self._rarely.log("exhausted", logging.WARNING, "cannot accept on %s: %s", endpoint, error)
                    self._loop.remove_reader(listening)
                    self._loop.call_later(ACCEPT_PAUSE_S, self._resume, listening, endpoint)
                    return
                # This client has gone before it was let in.
                continue
            if is_kept(client.fileno(), len(self.connections) + 1):
                self._rarely.log("kept", logging.WARNING, "closed new connections on %s: no file descriptors", endpoint)
                client.close()
                continue
            # An IPv4 client of a socket for both is called as it is everywhere else.
            self._open(client, address[0].removeprefix("::ffff:"), address[1], endpoint)

    def _resume(self, listening: socket.socket, endpoint: Endpoint) -> None:
        if listening in self._sockets:
            self._loop.add_reader(listening, self._accept, listening, endpoint)

    def _warn(self, message: str, *values: object) -> None:
        self._warnings += 1
        if self._warnings <= WARNINGS_A_SWEEP:
            log.warning(message, *values)

    def _open(self, client: socket.socket, ip: str, port: int, endpoint: Endpoint) -> None:
        refused = self._limits.refusal(ip, endpoint.listener, self.config)
        if refused is not None:
            self._warn("closed a new connection from %s:%d: %s", ip, port, refused)
            client.close()
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(
            sock=client,
            peer=(ip, port),
            listener_name=endpoint.listener,
            loop=self._loop,
            dispatch=self._dispatch,
            turn_ended=self._turn_ended,
            readers=self._readers,
            on_close=self._closed,
            budget=self._budget,
            max_frame=self.config.socket_request_max_bytes,
            durations=self.durations,
        )
        self._limits.opened(ip, endpoint.listener)
        self.connections[connection] = None
        connection.open()

    def _closed(self, connection: Connection, reason: str | None) -> None:
        ip, port = connection.peer
        if reason is not None:
            self._warn("closed the connection from %s:%d: %s", ip, port, reason)
        self.connections.pop(connection, None)
        self._idle_ms.pop(connection, None)
        self._frame_ms.pop(connection, None)
        self._limits.closed(ip, connection.listener_name)
