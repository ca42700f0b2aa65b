"""Many small appends made into few large batches, compressed and written by one thread.

    append (any thread) -> the batch being filled -> waiting batches -> the writer: compress, append to the log

A batch is written when it is full, when its first record has waited for `linger_ms`, or when somebody flushes. While
the writer is at work the next one fills, so a busy batch grows of itself. Order is the order of the appends. What waits
is bounded: an append then waits for the writer.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from kstore._native.batch import HEADER_SIZE
from kstore._native.builder import BatchBuilder
from kstore.embedded.guard import Guard
from kstore.embedded.message import pairs
from kstore.errors import KstoreError, MessageTooLargeError

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from kstore.embedded.message import Headers, Pairs

# Beyond it a batch compresses little better, and a reader of one record must take all of it.
BATCH_BYTES = 128 * 1024
BUFFER_BYTES = 32 * 1024 * 1024

# What a record has beside its key, value and headers, and a header beside its name and value, at most: lengths,
# timestamp and offset (DefaultRecord.java).
RECORD_OVERHEAD = 36
HEADER_OVERHEAD = 10


class Filling:
    """One batch on its way; `first_offset` or `error` tell what became of it."""

    __slots__ = ("builder", "callbacks", "done", "due", "error", "first_offset")

    def __init__(self, builder: BatchBuilder, due: float) -> None:
        self.builder: BatchBuilder = builder
        self.due = due
        self.done = False
        self.first_offset = -1
        self.error: BaseException | None = None
        # A dict for its order; it is changed without the lock, for what is awaited may be given up anywhere.
        self.callbacks: dict[Callable[[], object], None] = {}


class Pending:
    """The offset that a record of a batch will have. Can be awaited."""

    __slots__ = ("_batch", "_filling", "_index")

    def __init__(self, batch: "Batch", filling: Filling, index: int) -> None:
        self._batch = batch
        self._filling = filling
        self._index = index

    def done(self) -> bool:
        return self._filling.done

    def result(self, timeout_s: float | None = None) -> int:
        """The offset, when the record is in the log. Raises what kept it out, TimeoutError."""
        if not self._filling.done:
            self._batch._wait_for(self._filling, timeout_s)
        if self._filling.error is not None:
            raise self._filling.error
        return self._filling.first_offset + self._index

    def __await__(self) -> Generator[Any, None, int]:
        if not self._filling.done:
            import asyncio

            loop = asyncio.get_running_loop()
            written = loop.create_future()

            def tell() -> None:
                if not written.done():
                    written.set_result(None)

            def tell_loop() -> None:
                with suppress(RuntimeError):  # a loop that was closed has nobody who waits
                    loop.call_soon_threadsafe(tell)

            self._batch._call_when_done(self._filling, tell_loop)
            try:
                yield from written
            finally:
                self._filling.callbacks.pop(tell_loop, None)
        return self.result()


class Batch:
    """Made by `Log.batch`."""

    def __init__(
        self,
        new_builder: Callable[[], BatchBuilder],
        write: Callable[[BatchBuilder], int],
        now_ms: Callable[[], int],
        name: str,
        *,
        linger_ms: float,
        batch_bytes: int,
        buffer_bytes: int,
        largest_batch: int,
    ) -> None:
        """`write` appends what a builder holds and returns its first offset; the log takes batches of up to
        `largest_batch` bytes, however they are compressed."""
        self._guard = Guard(f"the batch of {name}")
        self._new_builder = new_builder
        self._write = write
        self._now_ms = now_ms
        self._linger_s = linger_ms / 1000
        self._largest_batch = largest_batch
        self._surely_fits = _before_compression(largest_batch)
        self._limit = min(batch_bytes, self._surely_fits)
        self._most_waiting = max(1, buffer_bytes // self._limit)
        self._filling: Filling | None = None
        self._waiting: deque[Filling] = deque()
        self._writing: Filling | None = None
        self._work = threading.Condition(self._guard.lock)
        self._done = threading.Condition(self._guard.lock)
        self._urgent = False
        self._error: BaseException | None = None
        self._writer: threading.Thread | None = None

    def append(
        self,
        value: "Buffer | None",
        *,
        key: "Buffer | None" = None,
        headers: "Headers" = (),
        timestamp_ms: int | None = None,
    ) -> Pending:
        """Takes a record, to be written soon.

        Raises KstoreError when an earlier one could not be written, MessageTooLargeError, RuntimeError when the system
        gives no thread to write it.
        """
        timestamp = self._now_ms() if timestamp_ms is None else timestamp_ms
        taken = pairs(headers) if headers else ()
        size = RECORD_OVERHEAD + _size(key) + _size(value)
        for name, content in taken:
            size += HEADER_OVERHEAD + _size(name) + _size(content)
        if HEADER_SIZE + size > self._surely_fits:
            self._check_alone(timestamp, key, value, taken)
        with self._guard.lock:
            self._check()
            while len(self._waiting) >= self._most_waiting:
                self._done.wait()
                self._check()
            filling = self._filling
            if filling is not None and filling.builder.count and filling.builder.estimated_size + size > self._limit:
                self._full(filling)
                filling = None
            if filling is None:
                filling = Filling(self._new_builder(), time.monotonic() + self._linger_s)
                self._wake_writer()  # which may find no thread: what nobody would write is not taken
                self._filling = filling
            builder = filling.builder
            builder.append(timestamp, key, value, taken)
            pending = Pending(self, filling, builder.count - 1)
            if builder.estimated_size >= self._limit:
                self._full(filling)
            return pending

    def _check_alone(self, timestamp: int, key: "Buffer | None", value: "Buffer | None", headers: "Pairs") -> None:
        """Raises MessageTooLargeError unless the log takes the record in a batch of its own: once it is among others
        they would be refused with it."""
        builder = self._new_builder()
        builder.append(timestamp, key, value, headers)
        size = len(builder.build())
        if size > self._largest_batch:
            raise MessageTooLargeError(
                f"a record makes a batch of {size} bytes, where {self._largest_batch} are possible"
            )

    def _full(self, filling: Filling) -> None:
        self._waiting.append(filling)
        self._filling = None
        self._work.notify()

    @property
    def is_closed(self) -> bool:
        return self._guard.refusal is not None

    def flush(self) -> None:
        """Returns when all that was appended before is in the log; `Log.flush` then makes it durable.

        Raises what kept it out."""
        with self._guard.lock:
            self._check()
            self._drain()
            self._raise()

    def close(self) -> None:
        """Writes what is there and ends the writer. Safe to call twice. Raises what kept records out of the log."""
        if self._guard.is_forked:
            return
        with self._guard.lock:
            if self._guard.refusal is not None:
                return
            self._guard.closed()
            self._drain()
            self._work.notify()
            writer = self._writer
        if writer is not None:
            writer.join()
        self._raise()

    def __enter__(self) -> Self:
        self._guard.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self) -> None:
        self._guard.check()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise KstoreError(f"records of {self._guard.name} could not be written: {self._error}") from self._error

    # --- the writer ---

    def _wake_writer(self) -> None:
        if self._writer is None:
            writer = threading.Thread(target=self._run, name="kstore-batch", daemon=True)
            writer.start()
            self._writer = writer
        else:
            self._work.notify()

    def _drain(self) -> None:
        """Waits until everything is written; the lock is held."""
        last = self._filling or (self._waiting[-1] if self._waiting else self._writing)
        if last is None:
            return
        if last is self._filling:
            self._urgent = True
            self._work.notify()
        self._done.wait_for(lambda: last.done)

    def _run(self) -> None:
        lock = self._guard.lock
        while True:
            with lock:
                filling = self._next()
                if filling is None:
                    return
                self._writing = filling
                earlier = self._error
            try:
                if earlier is not None:
                    raise earlier  # what follows a lost batch is not written: order is a promise
                if filling.builder.count:
                    filling.first_offset = self._write(filling.builder)
            except BaseException as error:
                filling.error = error
            with lock:
                self._writing = None
                self._finish(filling)

    def _next(self) -> Filling | None:
        """The next batch to write, when it is time; None at the end. The lock is held."""
        while True:
            if self._waiting:
                return self._waiting.popleft()
            filling = self._filling
            if filling is None:
                if self._guard.refusal is not None:
                    return None
                self._work.wait()
                continue
            left_s = filling.due - time.monotonic()
            if left_s <= 0 or self._urgent or self._guard.refusal is not None:
                self._filling = None
                self._urgent = False
                return filling
            self._work.wait(left_s)

    def _finish(self, filling: Filling) -> None:
        if filling.error is not None and self._error is None:
            self._error = filling.error
        filling.done = True
        self._done.notify_all()
        callbacks, filling.callbacks = filling.callbacks, {}
        for callback in list(callbacks):
            _call(callback)

    def _wait_for(self, filling: Filling, timeout_s: float | None) -> None:
        with self._guard.lock:
            if self._guard.is_forked:
                self._guard.refuse()
            if not self._done.wait_for(lambda: filling.done, timeout_s):
                raise TimeoutError(f"not written within {timeout_s} s")

    def _call_when_done(self, filling: Filling, callback: Callable[[], object]) -> None:
        with self._guard.lock:
            if not filling.done:
                filling.callbacks[callback] = None
                return
        callback()


def _call(callback: Callable[[], object]) -> None:
    """What one of those who are told makes of it is nothing to the writer, who has others to write for."""
    try:
        callback()
    except Exception:
        import logging

        logging.getLogger(__name__).exception("who was to hear of a written batch failed")


def _size(part: "Buffer | str | None") -> int:
    if isinstance(part, bytes):
        return len(part)
    if isinstance(part, str):
        return len(part.encode())
    return 0 if part is None else memoryview(part).nbytes


def _before_compression(size: int) -> int:
    """What fits `size` bytes whatever a codec makes of it: none lets bytes grow by more than a sixth and some (snappy's
    MaxCompressedLength; the other bounds are lower)."""
    return max(1, size - size // 7 - 100)
