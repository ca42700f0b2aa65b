"""Reading a log: by offset with Kafka's byte rules, and by timestamp (LocalLog.read, LogSegment.read,
UnifiedLog.fetchOffsetByTimestamp).

Whoever must not wait for the disk says so (`wait=False`) and gets NotCachedError where what is looked for is not in the
page cache. The error's `look_up` is for another thread: it does the same over twins of the segments.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from kstore._native.records import FileSlice
from kstore.errors import NotCachedError, OffsetOutOfRangeError
from kstore.log.log_state import LogState
from kstore.log.segment import Segment
from kstore.log.transaction_index import AbortedTxn
from kstore.log.twins import Onlooker, SegmentTwins
from kstore.model import (
    EARLIEST_LOCAL_TIMESTAMP,
    EARLIEST_TIMESTAMP,
    LATEST_TIERED_TIMESTAMP,
    LATEST_TIMESTAMP,
    MAX_TIMESTAMP,
    NO_PARTITION_LEADER_EPOCH,
    NO_TIMESTAMP,
)

# How far a reader may see: followers, read_uncommitted, read_committed.
LOG_END = "log_end"
HIGH_WATERMARK = "high_watermark"
TXN_COMMITTED = "txn_committed"

# What a twin takes over as it is.
READ_STATE = (
    "_has_aborted",
    "_hw_position",
    "_lso_position",
    "first_unstable_offset",
    "high_watermark",
    "log_end_offset",
    "log_start_offset",
    "topic_partition",
)


class FetchData:
    """What a read found. `records` is b"" when there is nothing; `aborted_transactions` is None unless the
    bound was the last stable offset. The segment and position say where `offset` lies."""

    __slots__ = (
        "aborted_transactions",
        "first_entry_incomplete",
        "offset",
        "position",
        "records",
        "segment_base_offset",
    )

    def __init__(
        self,
        offset: int,
        records: FileSlice | bytes,
        segment_base_offset: int,
        position: int,
        first_entry_incomplete: bool = False,
        aborted_transactions: list[AbortedTxn] | None = None,
    ) -> None:
        self.offset = offset
        self.records = records
        self.segment_base_offset = segment_base_offset
        self.position = position
        self.first_entry_incomplete = first_entry_incomplete
        self.aborted_transactions = aborted_transactions


class TimestampAndOffset:
    """`leader_epoch` is -1 where it is not known."""

    __slots__ = ("leader_epoch", "offset", "timestamp")

    def __init__(self, timestamp: int, offset: int, leader_epoch: int) -> None:
        self.timestamp = timestamp
        self.offset = offset
        self.leader_epoch = leader_epoch


class LogReader(LogState):
    __slots__ = ()

    def read(
        self,
        fetch_offset: int,
        *,
        max_bytes: int,
        upper_bound: str = LOG_END,
        min_one_message: bool = True,
        wait: bool = True,
    ) -> FetchData:
        """Batches from the one that holds `fetch_offset` on, up to the bound; the last of them may be torn by
        `max_bytes`.

        With `min_one_message` the first batch comes whole whatever its size. From the bound to the log end
        there is nothing to read, and no error. Raises OffsetOutOfRangeError, KafkaStorageError,
        CorruptRecordError, and without `wait` NotCachedError.
        """
        if self.log_dir.failure is not None:
            self.log_dir.check()
        if not self.log_start_offset <= fetch_offset <= self.log_end_offset:
            raise OffsetOutOfRangeError(
                f"{self.topic_partition}: offset {fetch_offset} is not in"
                f" [{self.log_start_offset}, {self.log_end_offset}]"
            )
        committed = upper_bound == TXN_COMMITTED
        try:
            if upper_bound == LOG_END:
                bound_offset = self.log_end_offset
                bound_segment = self._active
                bound_position = bound_segment.size
            elif committed and 0 <= self.first_unstable_offset < self.high_watermark:
                bound_offset = self.first_unstable_offset
                if self._lso_segment is None:
                    self._lso_segment, self._lso_position = self._locate(bound_offset, wait)
                bound_segment = self._lso_segment
                bound_position = self._lso_position
            else:
                bound_offset = self.high_watermark
                if self._hw_segment is None:
                    self._hw_segment, self._hw_position = self._locate(bound_offset, wait)
                bound_segment = self._hw_segment
                bound_position = self._hw_position
            if fetch_offset >= bound_offset:
                if fetch_offset == bound_offset:
                    self._tail_offset = fetch_offset
                    self._tail_segment = bound_segment
                    self._tail_position = bound_position
                return FetchData(
                    fetch_offset,
                    b"",
                    bound_segment.base_offset,
                    bound_position,
                    False,
                    [] if committed else None,
                )
            if fetch_offset == self._tail_offset and self._tail_segment is bound_segment:
                start = self._tail_position
                size = bound_position - start
                if 0 < size <= max_bytes:
                    self._tail_offset = bound_offset
                    self._tail_position = bound_position
                    aborted = (
                        self._aborted_transactions(fetch_offset, bound_segment, start, size, wait)
                        if committed
                        else None
                    )
                    records = bound_segment.slice(start, size)
                    return FetchData(fetch_offset, records, bound_segment.base_offset, start, False, aborted)
            return self._read_segments(
                fetch_offset, max_bytes, min_one_message, bound_offset, bound_segment, bound_position, committed, wait
            )
        except NotCachedError as error:
            look_up = partial(
                LogReader.read, max_bytes=max_bytes, upper_bound=upper_bound, min_one_message=min_one_message
            )
            self.send_for(error, look_up, fetch_offset)
            raise
        except OSError as error:
            raise self.log_dir.io_error(f"reading from {self.topic_partition}", error) from error

    def _read_segments(
        self,
        fetch_offset: int,
        max_bytes: int,
        min_one_message: bool,
        bound_offset: int,
        bound_segment: Segment,
        bound_position: int,
        committed: bool,
        wait: bool,
    ) -> FetchData:
        active = self._active
        segment = active if fetch_offset >= active.base_offset else self.segments.floor(fetch_offset)
        if max_bytes <= 0 and not min_one_message:
            segment = None  # nothing may come, so nothing is looked for
        while segment is not None and segment.base_offset <= bound_segment.base_offset:
            found = segment.translate_offset(fetch_offset, wait=wait)
            if found is None:
                # Compaction or a truncated segment may leave nothing at the end of one segment.
                segment = self.segments.higher(segment.base_offset)
                continue
            start = found[2]
            end = bound_position if segment is bound_segment else segment.size
            wanted = max(max_bytes, found[3]) if min_one_message else max_bytes
            size = min(end - start, wanted)
            if size <= 0:
                break
            if segment is bound_segment and start + size == end:
                self._tail_offset = bound_offset
                self._tail_segment = segment
                self._tail_position = end
            aborted = self._aborted_transactions(fetch_offset, segment, start, size, wait) if committed else None
            return FetchData(
                fetch_offset,
                segment.slice(start, size),
                segment.base_offset,
                start,
                wanted < found[3],
                aborted,
            )
        return FetchData(fetch_offset, b"", bound_segment.base_offset, bound_position, False, [] if committed else None)

    def _locate(self, offset: int, wait: bool) -> tuple[Segment, int]:
        """Where the batch that holds `offset`, or the next one, begins."""
        if offset >= self.log_end_offset:
            return self._active, self._active.size
        for segment in self.segments.starting_from(offset):
            found = segment.translate_offset(offset, wait=wait)
            if found is not None:
                return segment, found[2]
        return self._active, self._active.size

    def _aborted_transactions(
        self, fetch_offset: int, segment: Segment, position: int, size: int, wait: bool
    ) -> list[AbortedTxn]:
        if not self._has_aborted:
            return []
        upper_bound = segment.fetch_upper_bound(position, size, wait=wait)
        if upper_bound is None:
            higher = self.segments.higher(segment.base_offset)
            upper_bound = higher.base_offset if higher is not None else self.log_end_offset
        return self.collect_aborted_transactions(fetch_offset, upper_bound)

    def collect_aborted_transactions(self, start_offset: int, upper_bound_offset: int) -> list[AbortedTxn]:
        """The aborted transactions that overlap [start_offset, upper_bound_offset); their markers may lie in
        later segments."""
        aborted: list[AbortedTxn] = []
        for segment in self.segments.starting_from(start_offset):
            found, complete = segment.txn_index.collect(start_offset, upper_bound_offset)
            aborted += found
            if complete:
                break
        return aborted

    def offset_for_timestamp(self, timestamp: int, *, wait: bool = True) -> TimestampAndOffset | None:
        """The first record that is not older than `timestamp`, or what one of the special timestamps means;
        None when there is no such record. Raises KafkaStorageError, and without `wait` NotCachedError."""
        self.log_dir.check()
        if timestamp in (EARLIEST_TIMESTAMP, EARLIEST_LOCAL_TIMESTAMP):
            earliest = self.leader_epoch_cache.earliest_entry()
            known = earliest is not None and earliest.start_offset <= self.log_start_offset
            epoch = earliest.epoch if earliest is not None and known else NO_PARTITION_LEADER_EPOCH
            return TimestampAndOffset(NO_TIMESTAMP, self.log_start_offset, epoch)
        if timestamp == LATEST_TIMESTAMP:
            return TimestampAndOffset(NO_TIMESTAMP, self.log_end_offset, self.leader_epoch_cache.latest_epoch)
        if timestamp == LATEST_TIERED_TIMESTAMP:
            return TimestampAndOffset(NO_TIMESTAMP, -1, NO_PARTITION_LEADER_EPOCH)
        try:
            if timestamp == MAX_TIMESTAMP:
                return self._offset_of_max_timestamp(wait)
            for segment in self.segments.starting_from(self.log_start_offset):
                if segment.largest_timestamp(wait=wait) >= timestamp:
                    found = segment.find_offset_by_timestamp(timestamp, self.log_start_offset, wait=wait)
                    if found is not None:
                        return TimestampAndOffset(found[0], found[1], _epoch(found[2]))
                    # Records that are not older may all lie below the log start.
            return None
        except NotCachedError as error:
            self.send_for(error, LogReader.offset_for_timestamp, timestamp)
            raise
        except OSError as error:
            raise self.log_dir.io_error(f"searching a timestamp in {self.topic_partition}", error) from error

    def _offset_of_max_timestamp(self, wait: bool) -> TimestampAndOffset | None:
        latest = max(self.segments, key=lambda segment: segment.load_max_timestamp(wait=wait))
        if latest.max_timestamp < 0:
            return None
        # Kafka looks no further than this segment, whether or not the record was deleted (DeleteRecords).
        found = latest.find_offset_by_timestamp(latest.max_timestamp, latest.base_offset, wait=wait)
        return None if found is None else TimestampAndOffset(found[0], found[1], _epoch(found[2]))

    # --- twins ---

    def send_for(self, error: NotCachedError, look_up: Callable[..., object], *arguments: int) -> None:
        """Gives the error what brings in what is missing: `look_up` over a twin of this log."""
        error.look_up = partial(_look_up_in, self.twin(), look_up, *arguments)

    def twin(self) -> "LogReader":
        """This log as it is now, over files of its own, to be read by another thread."""
        with suppress(OSError):
            self._active.flush_indexes()  # so that the twin enters the file where this log would
        twin = LogReader.__new__(LogReader)
        for name in READ_STATE:
            setattr(twin, name, getattr(self, name))
        twin.log_dir = Onlooker(self.log_dir.path)
        segments = twin.segments = SegmentTwins(self.segments)
        twin._active = segments.active
        twin._hw_segment = self._hw_segment and segments.get(self._hw_segment.base_offset)
        twin._lso_segment = self._lso_segment and segments.get(self._lso_segment.base_offset)
        twin._tail_offset = -1
        twin._tail_segment = None
        return twin


def _look_up_in(twin: LogReader, look_up: Callable[..., object], *arguments: int) -> None:
    try:
        look_up(twin, *arguments)
    finally:
        assert isinstance(twin.segments, SegmentTwins)
        # A request may send for thousands of partitions, and holds every look-up until the last is done.
        twin.segments.close_handles()


def _epoch(epoch: int | None) -> int:
    return NO_PARTITION_LEADER_EPOCH if epoch is None else epoch
