"""A log for code that runs in an event loop: what may wait is awaited, and the loop goes on meanwhile.

An append into the page cache takes some microseconds and is done where it is called; so is reading what the page cache
holds. A flush, bytes that must come from a disk, opening and closing go to threads. Tasks that flush at the same time
share one fsync.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from kstore._native.batch import RecordBatch, iter_batches
from kstore._native.record import Record
from kstore._native.records import FileSlice
from kstore.clock import Clock
from kstore.embedded import reader
from kstore.embedded.batch import BATCH_BYTES, BUFFER_BYTES, Batch
from kstore.embedded.log import Log
from kstore.embedded.message import Message
from kstore.embedded.readonly import LONGEST_SLEEP_S, SHORTEST_SLEEP_S, ReadonlyLog
from kstore.embedded.sending import Sent, Slice, is_plain
from kstore.errors import NotCachedError

if TYPE_CHECKING:
    import socket
    from typing import Unpack

    from typing_extensions import Buffer

    from kstore.embedded.message import Headers
    from kstore.embedded.options import LogOptions

Result = TypeVar("Result")


async def in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


class AsyncReadonlyLog:
    """Any log, to be read: `AsyncReadonlyLog(log)`."""

    def __init__(self, log: "Log | ReadonlyLog") -> None:
        self._readable = log

    @property
    def path(self) -> str:
        return self._readable.path

    @property
    def topic(self) -> str:
        return self._readable.topic

    @property
    def partition(self) -> int:
        return self._readable.partition

    @property
    def start_offset(self) -> int:
        """The first offset that can be read."""
        return self._readable.start_offset

    @property
    def end_offset(self) -> int:
        """Where what can be read ends: see `Log.end_offset`."""
        return self._readable.end_offset

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._readable!r}>"

    def read(self, offset: int | None = None, until: int | None = None) -> AsyncIterator[Record]:
        """As `Log.read`, with `async for`."""
        return self._read(*self._readable._range(offset, until))

    def read_batches(self, offset: int | None = None, until: int | None = None) -> AsyncIterator[RecordBatch]:
        """As `Log.read_batches`, with `async for`."""
        return self._batches(*self._readable._range(offset, until))

    def follow(self, offset: int | None = None) -> AsyncIterator[Record]:
        """As `Log.follow`, with `async for`; it ends when its task is cancelled."""
        return self._follow(self._readable._from(offset))

    async def _read(self, offset: int, until: int) -> AsyncIterator[Record]:
        async for batch in self._batches(offset, until):
            if not batch.is_control:
                for record in reader.records_of(batch, offset, until):
                    yield record

    async def _follow(self, offset: int) -> AsyncIterator[Record]:
        while True:
            await self.wait(offset)
            end = self.end_offset
            async for batch in self._batches(offset, end):
                if not batch.is_control:
                    for record in reader.records_of(batch, offset, batch.next_offset):
                        yield record
                offset = batch.next_offset
            offset = self._readable._behind(offset, end)

    async def wait(self, offset: int) -> None:
        """Returns when there is a record at `offset`. Raises ClosedError when the log is closed meanwhile."""
        log = self._readable
        if isinstance(log, ReadonlyLog):
            pause_s = SHORTEST_SLEEP_S
            while log.end_offset <= offset:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_SLEEP_S)
            return
        loop = asyncio.get_running_loop()
        while log.end_offset <= offset:
            arrived = asyncio.Event()

            def tell(arrived: asyncio.Event = arrived) -> None:
                with contextlib.suppress(RuntimeError):  # a loop that was closed has nobody who waits
                    loop.call_soon_threadsafe(arrived.set)

            forget = log._host.watch(log._partition, offset, tell)
            try:
                log._host.check()  # who closes it from now on wakes us
                await arrived.wait()
            finally:
                forget()
            log._host.read(log._partition, log.end_offset, 0, wait=True)  # raises when the topic has been deleted

    async def offset_for_timestamp(self, timestamp_ms: int) -> int | None:
        """The offset of the first record that is not older; None where there is none."""
        return await in_thread(self._readable.offset_for_timestamp, timestamp_ms)

    async def send_slice(self, sock: "socket.socket", offset: int, max_bytes: int) -> Sent:
        """As `Log.send_slice`, on a socket that does not block. Raises ValueError for one that does, or has TLS."""
        if sock.gettimeout() != 0 or not is_plain(sock):
            raise ValueError("the socket must not block, and have no TLS of its own")
        piece = Slice(await self._fetch(offset, max_bytes), offset)
        loop = asyncio.get_running_loop()
        sent = 0
        while sent < piece.size:
            went = piece.send_some(sock.fileno(), sent)
            sent += went
            if not went:
                await _writable(loop, sock)
        return Sent(piece.size, piece.next_offset)

    async def _batches(self, offset: int, until: int) -> AsyncIterator[RecordBatch]:
        size = reader.FIRST_PIECE
        while offset < until:
            buffer = await _content(await self._fetch(offset, size))
            if not buffer:
                return
            for batch in iter_batches(buffer, allow_partial_tail=True):
                if batch.base_offset >= until:
                    return
                batch.ensure_valid()
                yield batch
                offset = batch.next_offset
            size = min(2 * size, reader.LARGEST_PIECE)
            await asyncio.sleep(0)  # others have their turn

    async def _fetch(self, offset: int, max_bytes: int) -> FileSlice | bytes:
        """Here where the page cache has what is needed, else in a thread."""
        log = self._readable
        if isinstance(log, Log):
            with contextlib.suppress(NotCachedError):
                return log._host.read(log._partition, offset, max_bytes, wait=False).records
        return await in_thread(log._fetch, offset, max_bytes)

    async def close(self) -> None:
        await in_thread(self._readable.close)

    async def __aenter__(self) -> Self:
        self._readable.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncLog(AsyncReadonlyLog):
    """A log to be written to: `AsyncLog(log)`, or `await AsyncLog.open(path)`."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self._log = log
        self._flushing: asyncio.Future[None] | None = None

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str] | None,
        *,
        compression: str = "none",
        compression_level: int | None = None,
        clock: Clock | None = None,
        background: bool = True,
        **options: "Unpack[LogOptions]",
    ) -> Self:
        """As `Log.open`."""

        def open_log() -> Log:
            return Log.open(
                path,
                compression=compression,
                compression_level=compression_level,
                clock=clock,
                background=background,
                **options,
            )

        return cls(await in_thread(open_log))

    @property
    def flushed_offset(self) -> int:
        """What lies before it survives the end of the machine."""
        return self._log.flushed_offset

    async def append(
        self,
        value: "Buffer | None",
        *,
        key: "Buffer | None" = None,
        headers: "Headers" = (),
        timestamp_ms: int | None = None,
        expected_offset: int | None = None,
    ) -> int:
        """As `Log.append`."""

        def append() -> int:
            return self._log.append(
                value, key=key, headers=headers, timestamp_ms=timestamp_ms, expected_offset=expected_offset
            )

        return await in_thread(append) if self._log._may_wait else append()

    async def extend(
        self, messages: "Iterable[Buffer | Message | Record]", *, expected_offset: int | None = None
    ) -> range:
        """As `Log.extend`."""

        def extend() -> range:
            return self._log.extend(messages, expected_offset=expected_offset)

        return await in_thread(extend) if self._log._may_wait else extend()

    def batch(
        self, *, linger_ms: float = 5, batch_bytes: int = BATCH_BYTES, buffer_bytes: int = BUFFER_BYTES
    ) -> "AsyncBatch":
        """As `Log.batch`, with `async with`; what its `append` returns can be awaited."""
        return AsyncBatch(self._log.batch(linger_ms=linger_ms, batch_bytes=batch_bytes, buffer_bytes=buffer_bytes))

    async def flush(self) -> None:
        """As `Log.flush`."""
        log, end_offset = self._log, self._log.end_offset
        while log.flushed_offset < end_offset <= log.end_offset:
            running = self._flushing
            # One that is done is forgotten a turn later: to wait for it would be no wait, and the turn never come.
            if running is None or running.done():
                running = self._flushing = asyncio.ensure_future(in_thread(log.flush))
                running.add_done_callback(self._flushed)
            # A task that is cancelled does not take the others' flush with it.
            await asyncio.shield(running)

    def _flushed(self, running: "asyncio.Future[None]") -> None:
        if self._flushing is running:
            self._flushing = None
        if not running.cancelled():
            running.exception()  # whoever still waits is told


class AsyncBatch:
    """Made by `AsyncLog.batch`."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.append = batch.append

    async def flush(self) -> None:
        """As `Batch.flush`."""
        await in_thread(self._batch.flush)

    async def close(self) -> None:
        """As `Batch.close`."""
        await in_thread(self._batch.close)

    async def __aenter__(self) -> Self:
        self._batch.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _content(piece: FileSlice | bytes) -> bytes:
    if isinstance(piece, bytes) or piece.is_cached():
        return reader.content(piece)
    return await in_thread(piece.read)


async def _writable(loop: asyncio.AbstractEventLoop, sock: "socket.socket") -> None:
    ready = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(sock, tell)
    try:
        await ready
    finally:
        loop.remove_writer(sock)
