"""A log: records are put at its end and read from any offset on, by any thread.

    append    into the page cache when it returns: it outlives the process, and the machine after a flush
    flush     on the disk when it returns; threads that flush at the same time share one fsync
    read      the records that are there when reading begins; follow goes on as they come

A log belongs to its host: `Log.open` makes one of its own, a LogStore and a Broker have many. Several appends that must
stay together are one `extend`: one batch, which is there whole after a crash or not at all.
"""

import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, Self, cast, overload

from kstore._native.builder import BatchBuilder
from kstore._native.record import Record
from kstore._native.records import FileSlice
from kstore.clock import Clock
from kstore.embedded import reader
from kstore.embedded.batch import BATCH_BYTES, BUFFER_BYTES, Batch
from kstore.embedded.closing import close_all
from kstore.embedded.host import Host, LocalHost, patiently
from kstore.embedded.message import Message, pairs, parts
from kstore.embedded.options import OptionValue, codec
from kstore.embedded.readable import ReadableLog
from kstore.embedded.readonly import ReadonlyLog, open_readonly
from kstore.embedded.single import open_single
from kstore.errors import ClosedError
from kstore.log.config import LONG_MAX, PRODUCER_COMPRESSION
from kstore.log.partition_log import PartitionLog
from kstore.replica.partition import Partition

if TYPE_CHECKING:
    from typing import Unpack

    from typing_extensions import Buffer

    from kstore.embedded.message import Headers
    from kstore.embedded.options import LogOptions


class Log(ReadableLog):
    """Made by `Log.open`, `LogStore.log` and `Broker.log`."""

    def __init__(
        self,
        host: Host,
        partition: Partition,
        *,
        compression: int,
        level: int | None = None,
        close: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(partition.topic_partition)
        self._host = host
        self._partition = partition
        config = partition.log.config
        if config.target_compression != PRODUCER_COMPRESSION:
            # The topic says how its batches are stored: built so at once, none is built anew.
            compression, level = config.target_compression, config.compression_level
        self._compression = compression
        self._level = level
        self._close = close
        self._batches: list[Batch] = []

    @overload
    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None,
        *,
        readonly: Literal[False] = False,
        compression: str = "none",
        compression_level: int | None = None,
        clock: Clock | None = None,
        background: bool = True,
        **options: "Unpack[LogOptions]",
    ) -> "Log": ...
    @overload
    @classmethod
    def open(cls, path: str | os.PathLike[str], *, readonly: Literal[True]) -> ReadonlyLog: ...

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None,
        *,
        readonly: bool = False,
        compression: str = "none",
        compression_level: int | None = None,
        clock: Clock | None = None,
        background: bool = True,
        **options: "Unpack[LogOptions]",
    ) -> "Log | ReadonlyLog":
        """The log in the directory `path`, which is made where there is none; None is a log in memory, gone when it is
        closed.

        `compression` is none, gzip, snappy, lz4 or zstd. With `background` false nothing happens but what is called
        for: `tend` then does what a thread does otherwise. `options` are Kafka's keys of a topic with `_` for `.`;
        nothing is deleted unless they say so. With `readonly` nothing is locked and nothing written: `path` may be in
        use, and may be a partition of a Kafka.

        Raises DirectoryInUseError, InvalidConfigError, ConfigError for a directory that is no single log's,
        KafkaStorageError for a log that cannot be served, OSError.
        """
        if readonly:
            if path is None:
                raise ValueError("there is nothing to read in a new log in memory")
            return open_readonly(os.fspath(path))
        own_codec = codec(compression)
        host, partition = open_single(path, cast("dict[str, OptionValue]", options), clock=clock, background=background)
        return cls(host, partition, compression=own_codec, level=compression_level, close=host.close)

    # --- what it is ---

    @property
    def path(self) -> str:
        return self._partition.log.directory.path

    @property
    def flushed_offset(self) -> int:
        """What lies before it survives the end of the machine."""
        self._host.check()
        return self._partition.log.recovery_point

    @property
    def size_in_bytes(self) -> int:
        return self._host.do(lambda: self._partition.log.size_in_bytes)

    @property
    def _may_wait(self) -> bool:
        """Whether an append takes longer than a system call: it is asked of another thread, or flushed."""
        config = self._partition.log.config
        return not isinstance(self._host, LocalHost) or config.flush_messages != LONG_MAX

    # --- writing ---

    def append(
        self,
        value: "Buffer | None",
        *,
        key: "Buffer | None" = None,
        headers: "Headers" = (),
        timestamp_ms: int | None = None,
        expected_offset: int | None = None,
    ) -> int:
        """Puts a record at the end; returns its offset.

        `headers` are (name, value) pairs in their order, or a mapping. Without `timestamp_ms` it is now. With
        `expected_offset` the record gets this offset or none: OffsetConflictError says that somebody else was first.
        Raises MessageTooLargeError, InvalidRecordError, KafkaStorageError; the log is as it was then.
        """
        now_ms = self._host.clock.now_ms()
        builder = BatchBuilder(compression=self._compression, level=self._level)
        builder.append(now_ms if timestamp_ms is None else timestamp_ms, key, value, pairs(headers) if headers else ())
        return self._host.append(self._partition, builder.build(), now_ms, expected_offset).first_offset

    def extend(self, messages: "Iterable[Buffer | Message | Record]", *, expected_offset: int | None = None) -> range:
        """Puts several records at the end as one batch, all or none of them; returns their offsets.

        A message is a value, a Message, or the Record of another log. Raises as `append`; a batch may have
        `max_message_bytes`.
        """
        now_ms = self._host.clock.now_ms()
        builder = BatchBuilder(compression=self._compression, level=self._level)
        builder.extend(parts(message, now_ms) for message in messages)
        if not builder.count:
            end_offset = self.end_offset
            return range(end_offset, end_offset)
        info = self._host.append(self._partition, builder.build(), now_ms, expected_offset)
        return range(info.first_offset, info.last_offset + 1)

    def batch(
        self,
        *,
        linger_ms: float = 5,
        batch_bytes: int = BATCH_BYTES,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Batch:
        """Makes many small appends, by any thread, into few large batches; a record waits at most `linger_ms`.

        with log.batch() as batch:
            pending = batch.append(b"value")
        pending.result()    # its offset
        """
        host, partition = self._host, self._partition
        host.check()
        self._batches = [batch for batch in self._batches if not batch.is_closed]
        config = partition.log.config
        batch = Batch(
            lambda: BatchBuilder(compression=self._compression, level=self._level),
            lambda builder: host.append(partition, builder.build(), host.clock.now_ms(), None).first_offset,
            host.clock.now_ms,
            f"the log {partition.topic_partition}",
            linger_ms=linger_ms,
            batch_bytes=batch_bytes,
            buffer_bytes=buffer_bytes,
            largest_batch=min(config.max_message_bytes, config.segment_bytes),
        )
        self._batches.append(batch)
        return batch

    def flush(self) -> None:
        """Returns when all that was appended before is on the disk. Raises KafkaStorageError when it cannot be known
        to be: the directory is offline then, for a failed fsync is not tried again."""
        self._host.flush(self._partition)

    # --- reading ---

    def _bounds(self) -> tuple[int, int]:
        log = self._partition.log
        return self._host.do(lambda: (log.log_start_offset, log.high_watermark))

    def _fetch(self, offset: int, max_bytes: int) -> FileSlice | bytes:
        return patiently(lambda wait: self._host.read(self._partition, offset, max_bytes, wait=wait)).records

    def _wait(self, offset: int, timeout_s: float | None) -> bool:
        arrived = self._host.wait(self._partition, offset, timeout_s, lambda: self.is_closed)
        if self.is_closed:
            self._host.check()
        return arrived

    def _find(self, timestamp_ms: int) -> int | None:
        log = self._partition.log
        found = patiently(lambda wait: self._host.do(lambda: log.offset_for_timestamp(timestamp_ms, wait=wait)))
        return None if found is None else found.offset

    # --- letting go of records ---

    def delete_before(self, offset: int) -> int:
        """Lets go of the records before `offset`; returns where the log begins now. Their files go with `tend`.

        Raises OffsetOutOfRangeError above the end.
        """

        def delete() -> int:
            self._partition.log.maybe_increment_log_start_offset(offset)
            return self._partition.log.log_start_offset

        return self._host.do(delete)

    def truncate_to(self, offset: int) -> int:
        """Cuts off the records from `offset` on; returns the end. A batch that holds `offset` goes whole, so the end
        may lie before it. Raises OffsetOutOfRangeError for an offset that is not there."""

        def truncate() -> int:
            log, now_ms = self._partition.log, self._host.clock.now_ms()
            reader.check_range(self._topic_partition, offset, log.log_start_offset, log.log_end_offset)
            try:
                end_offset = _batch_boundary(log, offset)
            except OSError as error:
                raise log.log_dir.io_error(f"looking up offset {offset} of {self._topic_partition}", error) from error
            if end_offset < log.log_start_offset:
                log.truncate_fully_and_start_at(log.log_start_offset, now_ms=now_ms)
            else:
                log.truncate_to(end_offset, now_ms=now_ms)
            return log.log_end_offset

        return self._host.do(truncate)

    def tend(self) -> None:
        """Does now what is due: flush_ms, retention, compaction, deletions, checkpoints."""
        self._host.tend()

    # --- the end ---

    @property
    def is_closed(self) -> bool:
        return isinstance(self._host, _Closed)

    def close(self) -> None:
        """Writes what its batches hold, makes all durable and lets go of the directory; a log of a store or a broker
        leaves the latter two to its owner.

        Safe to call twice. All is closed whatever fails. Raises KstoreError when a batch could not be written,
        KafkaStorageError when something could not be made durable.
        """
        if self.is_closed:
            return
        closes: list[Callable[[], object]] = [batch.close for batch in self._batches]
        closes.append(self._refuse)
        if self._close is not None:
            closes.append(self._close)
        close_all(closes)

    def _refuse(self) -> None:
        """From now on use is refused, and who waits is told."""
        if self.is_closed:
            return
        host = self._host
        self._host = cast("Host", _Closed(f"the log {self._partition.topic_partition} is closed"))
        host.rouse(self._partition)

    def __enter__(self) -> Self:
        self._host.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _batch_boundary(log: PartitionLog, offset: int) -> int:
    """Where the batch begins that holds `offset`; `offset` where none does."""
    segment = log.segments.floor(offset)
    found = None if segment is None else segment.translate_offset(offset)
    return offset if found is None else min(offset, found[0])


class _Closed:
    """The host of a log that was closed."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise ClosedError(self._reason)
