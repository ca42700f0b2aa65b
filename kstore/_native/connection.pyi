"""The socket of one client: frames in, answers out in the order of their requests."""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from kstore._native.durations import Durations

PENDING: object

class Request:
    """One request: its header, where its body lies, and the place where its answer is waited for."""

    @property
    def connection(self) -> Connection: ...
    @property
    def api_key(self) -> int: ...
    @property
    def api_version(self) -> int: ...
    @property
    def correlation_id(self) -> int: ...
    @property
    def client_id(self) -> str | None: ...
    @property
    def buffer(self) -> bytearray:
        """Holds the request during the turn in which it is dispatched, and not after."""

    @property
    def position(self) -> int:
        """Where the request's body begins in `buffer`."""

    @property
    def limit(self) -> int: ...

    on_gone: Callable[[], object] | None
    """Called when the connection closes before the request is answered: nobody needs to wait any longer."""

    def complete(self, answer: Any) -> None:
        """Answers a request whose handler returned PENDING: bytes of a frame, a list of parts, or None."""

class Pool:
    """Memory for unfinished requests; past `limit` one connection may still grow."""

    def __init__(self, limit: int) -> None: ...
    @property
    def limit(self) -> int: ...
    @property
    def used(self) -> int: ...
    @property
    def privileged(self) -> Connection | None:
        """The connection that may grow although the limit is reached."""

class MemoryBudget:
    """What all connections together may hold of unfinished requests, in bytes. Large frames share one half of
    it, the others the other; a connection's first buffer is not counted."""

    def __init__(self, limit: int) -> None:
        """0 or less is no limit."""

    @property
    def limit(self) -> int: ...
    @property
    def used(self) -> int: ...
    @property
    def small(self) -> Pool: ...
    @property
    def large(self) -> Pool: ...
    @property
    def is_contended(self) -> bool:
        """A connection waits for room."""

    def is_privileged(self, connection: Connection) -> bool:
        """It may grow although a limit is reached."""

class Connection:
    """Owns a non-blocking socket and drives it from the loop's readiness callbacks."""

    def __init__(
        self,
        *,
        sock: socket.socket,
        peer: tuple[str, int],
        listener_name: str,
        loop: asyncio.AbstractEventLoop,
        dispatch: Callable[[Request], Any],
        turn_ended: Callable[[], None],
        on_close: Callable[[Connection, str | None], None],
        budget: MemoryBudget,
        max_frame: int,
        readers: Executor | None = None,
        durations: list[Durations] | None = None,
    ) -> None:
        """`dispatch` returns the answer (bytes of a frame, or a list of bytes and slices), None for a request that
        gets none, or PENDING; it raises InvalidRequestError to have the connection closed. `readers` are the threads
        that read files which are not in the page cache; without them the loop's own do. `durations`, by API key, learn
        how long each request took until its answer was there."""

    @property
    def peer(self) -> tuple[str, int]: ...
    @property
    def listener_name(self) -> str: ...
    @property
    def client_id(self) -> str | None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def progressed(self) -> bool:
        """Bytes have moved since the last `release_idle`."""

    @property
    def requests(self) -> int:
        """Requests taken up so far."""

    @property
    def holds_part(self) -> bool:
        """Bytes have come that are no whole request yet, or one that is not taken up yet."""

    @property
    def is_waited_for(self) -> bool:
        """The client has done its part: a request waits for an answer that could leave, or for memory."""

    def open(self) -> None: ...
    def close(self, reason: str | None = None) -> None: ...
    def release_idle(self) -> bool:
        """Gives the receive buffer back if nothing came since the last call. True if half a frame is stalled."""
