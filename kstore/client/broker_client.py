"""Another broker, to be asked: connects when there is something to ask, and anew after a connection has ended.

Whatever goes wrong raises BrokerUnreachableError; whether the request was done is not known then.
"""

import asyncio
import socket
from collections import deque
from typing import Any, cast

from kstore.client.connection import ClientConnection
from kstore.errors import BrokerUnreachableError, KstoreError

CONNECT_TIMEOUT_S = 10


class _Link(asyncio.BufferedProtocol):
    """A socket that is open. It receives into the connection's buffer."""

    def __init__(self, client_id: str) -> None:
        self._connection = ClientConnection(client_id)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._connection.room()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for answer in self._connection.came(nbytes):
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(answer)
        except KstoreError as error:
            self.close(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"the connection ended: {exc}" if exc else "the connection was closed")

    def ask(self, request: Any, version: int) -> asyncio.Future[Any]:
        """Raises BrokerUnreachableError where the socket is closed already: it may be so as soon as it is connected."""
        assert self._transport is not None
        if not self.is_open:
            raise BrokerUnreachableError("the connection was closed")
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._transport.write(self._connection.request(request, version))
        return waiting

    def set_receive_buffer(self, size: int) -> None:
        assert self._transport is not None
        found = self._transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def close(self, reason: str) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(BrokerUnreachableError(reason))


class BrokerClient:
    def __init__(self, host: str, port: int, *, client_id: str, receive_buffer: int = -1) -> None:
        """`receive_buffer` is the socket's, in bytes; -1: the system's."""
        self.host = host
        self.port = port
        self._receive_buffer = receive_buffer
        self._client_id = client_id
        self._link: _Link | None = None
        self._asked_to_close = 0
        self._connecting = asyncio.Lock()

    async def ask(self, request: Any, version: int, *, timeout_ms: int) -> Any:
        """The answer. Raises BrokerUnreachableError; after a time-out the connection is closed, for an answer that
        comes late would be taken for another's."""
        link = self._link
        if link is None or not link.is_open:
            link = await self._connected()
        waiting = link.ask(request, version)
        late = f"{self.host}:{self.port} gave no answer within {timeout_ms} ms"
        timer = asyncio.get_running_loop().call_later(timeout_ms / 1000, link.close, late)
        try:
            return await waiting
        except asyncio.CancelledError:
            link.close("nobody waits any more")
            raise
        finally:
            timer.cancel()

    async def _connected(self) -> _Link:
        async with self._connecting:
            if self._link is not None and self._link.is_open:
                return self._link
            loop = asyncio.get_running_loop()
            asked = self._asked_to_close
            try:
                made = loop.create_connection(lambda: _Link(self._client_id), self.host, self.port)
                _, link = await asyncio.wait_for(made, CONNECT_TIMEOUT_S)
            except (OSError, TimeoutError) as error:
                raise BrokerUnreachableError(f"{self.host}:{self.port} cannot be reached: {error}") from None
            if asked != self._asked_to_close:
                link.close("closed")
                raise BrokerUnreachableError(f"{self.host}:{self.port} is not asked any more")
            if self._receive_buffer > 0:
                link.set_receive_buffer(self._receive_buffer)
            self._link = link
            return link

    def close(self) -> None:
        self._asked_to_close += 1
        if self._link is not None:
            self._link.close("closed")
            self._link = None
