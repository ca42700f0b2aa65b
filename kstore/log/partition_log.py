"""The log of one partition: append, read, roll, cut, and the offsets that bound it.

    log_start_offset <= last_stable_offset <= high_watermark <= log_end_offset        (rule 41)

The high watermark and the last stable offset are kept with the segment and the position where they lie, so
that a fetch at the tail needs no search. The log has no locks: one thread owns it. What is slow is offered as
a job for another thread (`begin_flush`) or left in `log_dir` (files to unlink). An I/O error takes the whole
log directory offline, except that a full disk only refuses the append (UnifiedLog.scala, LocalLog.scala).
"""

import logging
from typing import TypeAlias

from kstore._native.batch import RecordBatch, iter_batches
from kstore._native.records import FileSlice
from kstore.errors import InconsistentTopicIdError, KafkaError, OffsetOutOfRangeError, RecordListTooLargeError
from kstore.log import recovery
from kstore.log.append import (
    CLIENT,
    REPLICATION,
    AppendRules,
    LogAppendInfo,
    single_batch,
    validate,
)
from kstore.log.config import LogConfig
from kstore.log.directory import (
    DELETED_SUFFIX,
    PARTITION_METADATA,
    SEGMENT_SUFFIXES,
    DiskDirectory,
    delete_dir_name,
    file_name,
    format_partition_metadata,
)
from kstore.log.flush import FlushJob
from kstore.log.leader_epoch import EpochEndOffset
from kstore.log.log_dir import DeletedFiles, LogDir
from kstore.log.producer_state import BatchMetadata
from kstore.log.recovery import LoadedLog
from kstore.log.retention import SegmentFacts, deletable_segments
from kstore.log.segment import Segment
from kstore.log.transaction_index import AbortedTxn
from kstore.model import (
    EARLIEST_LOCAL_TIMESTAMP,
    EARLIEST_TIMESTAMP,
    LATEST_TIERED_TIMESTAMP,
    LATEST_TIMESTAMP,
    MAX_TIMESTAMP,
    NO_PARTITION_LEADER_EPOCH,
    NO_TIMESTAMP,
    TopicPartition,
    uuid_to_text,
)

logger = logging.getLogger(__name__)

Buffer: TypeAlias = "bytearray | memoryview[int] | bytes"

# How far a reader may see: followers, read_uncommitted, read_committed.
LOG_END = "log_end"
HIGH_WATERMARK = "high_watermark"
TXN_COMMITTED = "txn_committed"


class UnexpectedAppendOffsetError(KafkaError):
    """A follower's batches begin below its log's end; an empty log may be restarted at `first_offset` (rule
    42)."""

    def __init__(self, message: str, first_offset: int, last_offset: int) -> None:
        super().__init__(message)
        self.first_offset = first_offset
        self.last_offset = last_offset


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


class PartitionLog:
    __slots__ = (
        "_active",
        "_flush_messages",
        "_has_aborted",
        "_hw_position",
        "_hw_segment",
        "_lso_position",
        "_lso_segment",
        "_rules",
        "_segment_bytes",
        "_segment_ms",
        "_truncations",
        "_unsynced",
        "config",
        "directory",
        "first_unstable_offset",
        "high_watermark",
        "last_flush_ms",
        "leader_epoch_cache",
        "log_dir",
        "log_end_offset",
        "log_start_offset",
        "producer_state",
        "recovered_from_crash",
        "recovery_point",
        "segments",
        "topic_id",
        "topic_partition",
    )

    def __init__(
        self,
        directory: DiskDirectory,
        log_dir: LogDir,
        topic_partition: TopicPartition,
        config: LogConfig,
        loaded: LoadedLog,
        *,
        now_ms: int,
        topic_id: bytes | None,
    ) -> None:
        self.directory = directory
        self.log_dir = log_dir
        self.topic_partition = topic_partition
        self.segments = loaded.segments
        self._active = loaded.segments.active
        self.leader_epoch_cache = loaded.leader_epochs
        self.producer_state = loaded.producer_state
        self.log_start_offset = loaded.log_start_offset
        self.log_end_offset = loaded.log_end_offset
        self.recovery_point = max(loaded.recovery_point, loaded.log_start_offset)
        self.recovered_from_crash = loaded.recovered_from_crash
        self.last_flush_ms = now_ms
        self.high_watermark = loaded.log_start_offset
        self._hw_segment: Segment | None = None
        self._hw_position = 0
        self.first_unstable_offset = -1
        self._lso_segment: Segment | None = None
        self._lso_position = 0
        self._has_aborted = any(segment.txn_index.exists for segment in loaded.segments)
        self._truncations = 0
        # Names and contents that must be durable before the first append.
        self._unsynced = loaded.is_new
        self.topic_id = loaded.topic_id
        self.update_config(config)
        if topic_id is not None:
            self.assign_topic_id(topic_id)
        self._update_first_unstable_offset()

    @classmethod
    def open(
        cls,
        directory: DiskDirectory | str,
        topic_partition: TopicPartition,
        config: LogConfig,
        *,
        log_dir: LogDir | None = None,
        log_start_offset: int = 0,
        recovery_point: int = 0,
        clean_shutdown: bool = True,
        now_ms: int,
        topic_id: bytes | None = None,
        producer_id_expiration_ms: int = 24 * 60 * 60 * 1000,
    ) -> "PartitionLog":
        """Loads the log that lies in `directory`, recovering it after an unclean stop; an empty directory
        becomes an empty log. Raises OSError, UnsupportedForMessageFormatError, InconsistentTopicIdError."""
        if isinstance(directory, str):
            directory = DiskDirectory(directory)
        if log_dir is None:
            log_dir = LogDir(directory.parent)
        loaded = recovery.load(
            directory,
            log_dir,
            topic_partition,
            config,
            log_start_offset=log_start_offset,
            recovery_point=recovery_point,
            clean_shutdown=clean_shutdown,
            now_ms=now_ms,
            producer_id_expiration_ms=producer_id_expiration_ms,
        )
        return cls(directory, log_dir, topic_partition, config, loaded, now_ms=now_ms, topic_id=topic_id)

    # --- configuration and identity ---

    def update_config(self, config: LogConfig) -> None:
        self.config = config
        self._rules = AppendRules(self.topic_partition, config)
        self._segment_bytes = config.segment_bytes
        self._segment_ms = config.segment_ms
        self._flush_messages = config.flush_messages

    def assign_topic_id(self, topic_id: bytes) -> None:
        """Raises InconsistentTopicIdError when the log belongs to another topic of the same name."""
        if self.topic_id == topic_id:
            return
        if self.topic_id is not None:
            raise InconsistentTopicIdError(
                f"Tried to assign topic ID {uuid_to_text(topic_id)} to log for topic partition"
                f" {self.topic_partition}, but log already contained topic ID {uuid_to_text(self.topic_id)}"
            )
        self.topic_id = topic_id
        content = format_partition_metadata(uuid_to_text(topic_id))
        try:
            self.directory.replace_file(PARTITION_METADATA, content, sync=False)
        except OSError as error:
            raise self.log_dir.io_error(
                f"writing partition metadata of {self.topic_partition}", error
            ) from error
        self._unsynced = True

    @property
    def size_in_bytes(self) -> int:
        return self.segments.size_in_bytes

    @property
    def last_stable_offset(self) -> int:
        """The offset below which every transaction is decided and replicated; never above the high
        watermark."""
        unstable = self.first_unstable_offset
        return unstable if 0 <= unstable < self.high_watermark else self.high_watermark

    @property
    def unflushed_messages(self) -> int:
        return self.log_end_offset - self.recovery_point

    @property
    def must_flush(self) -> bool:
        """Whether `flush.messages` asks for a flush before what was appended is acknowledged."""
        return self.log_end_offset - self.recovery_point >= self._flush_messages

    def __repr__(self) -> str:
        return (
            f"PartitionLog({self.topic_partition}, start={self.log_start_offset},"
            f" high_watermark={self.high_watermark}, end={self.log_end_offset},"
            f" {len(self.segments)} segments)"
        )

    # --- append ---

    def append_as_leader(
        self,
        records: Buffer,
        position: int,
        size: int,
        *,
        leader_epoch: int,
        now_ms: int,
        origin: str = CLIENT,
    ) -> LogAppendInfo:
        """Numbers one batch and appends it. The buffer is changed in place.

        Raises CorruptRecordError, InvalidRecordError, InvalidTimestampError, MessageTooLargeError,
        RecordListTooLargeError, OutOfOrderSequenceError, InvalidProducerEpochError, InvalidTxnStateError,
        UnsupportedForMessageFormatError, KafkaStorageError; the log is then as it was, though it may have
        rolled.
        """
        if self.log_dir.failure is not None:
            self.log_dir.check()
        first_offset = self.log_end_offset
        batch = validate(
            single_batch(records, position, size),
            self._rules,
            base_offset=first_offset,
            leader_epoch=leader_epoch,
            now_ms=now_ms,
            origin=origin,
        )
        batch_size = batch.size_in_bytes
        last_offset = batch.last_offset
        max_timestamp = batch.max_timestamp
        if leader_epoch != self.leader_epoch_cache.latest_epoch or self._unsynced:
            self._sync_before_append(leader_epoch, first_offset)
        segment = self._make_room(batch_size, first_offset, last_offset, max_timestamp, now_ms)

        producer_id = batch.producer_id
        if producer_id >= 0:
            duplicate = self._check_producer(batch, first_offset, origin)
            if duplicate is not None:
                return LogAppendInfo(
                    duplicate.first_offset,
                    duplicate.last_offset,
                    duplicate.timestamp,
                    self.log_start_offset,
                    batch_size,
                    max_timestamp,
                    batch.count,
                    True,
                )
        try:
            start = segment.append(batch.buffer, batch.position, batch_size, max_timestamp)
        except OSError as error:
            raise self._append_error(error) from error
        self.log_end_offset = last_offset + 1
        self._note_batch(segment, start, batch_size, last_offset, max_timestamp)
        if producer_id >= 0:
            self._note_producer(batch, segment, start)
        self.producer_state.map_end_offset = last_offset + 1
        return LogAppendInfo(
            first_offset,
            last_offset,
            now_ms if self._rules.log_append_time else NO_TIMESTAMP,
            self.log_start_offset,
            batch_size,
            max_timestamp,
            batch.count,
        )

    def append_as_follower(
        self, records: Buffer, position: int = 0, size: int = -1, *, leader_epoch: int, now_ms: int
    ) -> LogAppendInfo:
        """Appends what a leader sent, as it is, after checking every CRC.

        A torn batch at the end is left out, and so is the first batch with an epoch above `leader_epoch`
        (that of the fetch that asked for it) with all that follows: it may not be the leader's history (rule
        10). Raises CorruptRecordError, UnexpectedAppendOffsetError, KafkaStorageError.
        """
        self.log_dir.check()
        limit = len(records) if size < 0 else position + size
        batches = []
        valid_bytes = 0
        next_offset = self.log_end_offset
        max_timestamp = NO_TIMESTAMP
        for batch in iter_batches(records, position, limit, allow_partial_tail=True):
            if batch.partition_leader_epoch > leader_epoch:
                break
            batch.ensure_valid()
            if batch.base_offset < next_offset:
                raise UnexpectedAppendOffsetError(
                    f"Unexpected offset in append to {self.topic_partition}. First offset {batch.base_offset}"
                    f" is less than the next offset {next_offset}. Log start offset ="
                    f" {self.log_start_offset}",
                    batch.base_offset,
                    batch.last_offset,
                )
            next_offset = batch.next_offset
            max_timestamp = max(max_timestamp, batch.max_timestamp)
            valid_bytes += batch.size_in_bytes
            batches.append(batch)
        if not batches:
            return LogAppendInfo(-1, -1, NO_TIMESTAMP, self.log_start_offset, 0, NO_TIMESTAMP, 0)
        for batch in batches:
            if batch.partition_leader_epoch >= 0:
                self.leader_epoch_cache.assign(batch.partition_leader_epoch, batch.base_offset)
        last_epoch = batches[-1].partition_leader_epoch
        first_offset = batches[0].base_offset
        self._sync_before_append(NO_PARTITION_LEADER_EPOCH, first_offset)
        segment = self._make_room(valid_bytes, first_offset, next_offset - 1, max_timestamp, now_ms)
        try:
            start = segment.append(records, position, valid_bytes, max_timestamp)
        except OSError as error:
            raise self._append_error(error) from error
        self.log_end_offset = next_offset
        for batch in batches:
            self._note_batch(segment, start, batch.size_in_bytes, batch.last_offset, batch.max_timestamp)
            if batch.producer_id >= 0:
                self._note_producer(batch, segment, start)
            start += batch.size_in_bytes
        self.producer_state.map_end_offset = next_offset
        return LogAppendInfo(
            first_offset,
            next_offset - 1,
            NO_TIMESTAMP,
            self.log_start_offset,
            valid_bytes,
            max_timestamp,
            next_offset - first_offset,
            False,
            last_epoch,
        )

    def _append_error(self, error: OSError) -> KafkaError:
        return self.log_dir.io_error(f"appending records to {self.topic_partition}", error)

    def _sync_before_append(self, leader_epoch: int, offset: int) -> None:
        """Topic id and leader epochs are on the disk before the first record that needs them."""
        if leader_epoch != NO_PARTITION_LEADER_EPOCH:
            self.leader_epoch_cache.assign(leader_epoch, offset)
        try:
            self.leader_epoch_cache.flush()
            if self._unsynced:
                self.directory.sync_file(PARTITION_METADATA)
                self.directory.sync()
                self.directory.sync_parent()
                self._unsynced = False
        except OSError as error:
            raise self._append_error(error) from error

    def _make_room(
        self, size: int, first_offset: int, last_offset: int, max_timestamp: int, now_ms: int
    ) -> Segment:
        """The segment that the next `size` bytes go to."""
        if size > self._segment_bytes:
            raise RecordListTooLargeError(
                f"Message batch size is {size} bytes in append to partition {self.topic_partition},"
                f" which exceeds the maximum configured segment size of {self._segment_bytes}."
            )
        segment = self._active
        if segment.should_roll(
            size,
            last_offset,
            max_timestamp,
            segment_bytes=self._segment_bytes,
            segment_ms=self._segment_ms,
            now_ms=now_ms,
        ):
            segment = self.roll(now_ms=now_ms, expected_next_offset=first_offset)
        return segment

    def _note_batch(
        self, segment: Segment, start: int, size: int, last_offset: int, max_timestamp: int
    ) -> None:
        try:
            segment.note_batch(start, size, last_offset, max_timestamp)
        except OSError as error:
            # The records are in the log. The entries wait in memory for room on the disk.
            self._append_error(error)

    def _check_producer(self, batch: RecordBatch, offset: int, origin: str) -> BatchMetadata | None:
        state = self.producer_state
        producer_id = batch.producer_id
        epoch = batch.producer_epoch
        if batch.is_control:
            marker = batch.control_record()
            if marker is not None:
                state.check_marker(producer_id, epoch, marker[1], offset)
            return None
        first_sequence = batch.base_sequence
        client = origin == CLIENT
        if client:
            duplicate = state.find_duplicate(producer_id, epoch, first_sequence, batch.last_sequence)
            if duplicate is not None:
                return duplicate
        if origin != REPLICATION:
            state.check_data(
                producer_id,
                epoch,
                first_sequence,
                offset,
                check_sequence=client,
                transactional=batch.is_transactional,
            )
        return None

    def _note_producer(self, batch: RecordBatch, segment: Segment, position: int) -> None:
        """Takes a batch that was written into the producer state, and an aborted transaction into its
        index."""
        state = self.producer_state
        completed = recovery.apply_batch(state, batch, segment.base_offset, position)
        if completed is not None:
            if completed.is_aborted:
                self._has_aborted = True
                try:
                    segment.note_aborted(state.aborted_txn(completed))
                except OSError as error:
                    self._append_error(error)
            state.complete(completed)
        if state.ongoing or state.unreplicated or self.first_unstable_offset >= 0:
            self._update_first_unstable_offset()

    # --- offsets ---

    def maybe_increment_high_watermark(self, offset: int) -> bool:
        """The leader's way: only forward, never beyond the log end (rule 13). True if it moved."""
        if offset > self.log_end_offset:
            raise AssertionError(f"high watermark {offset} beyond the log end offset {self.log_end_offset}")
        if offset <= self.high_watermark:
            return False
        self._set_high_watermark(offset)
        return True

    def update_high_watermark(self, offset: int) -> int:
        """The follower's way, and that of a start: into [log start, log end], in either direction; returns
        it."""
        bounded = max(self.log_start_offset, min(offset, self.log_end_offset))
        if bounded != self.high_watermark:
            self._set_high_watermark(bounded)
        return bounded

    def _set_high_watermark(self, offset: int) -> None:
        self.high_watermark = offset
        if offset == self.log_end_offset:
            self._hw_segment = self._active
            self._hw_position = self._active.size
        else:
            self._hw_segment = None
        state = self.producer_state
        if state.unreplicated or self.first_unstable_offset >= 0:
            state.on_high_watermark(offset)
            self._update_first_unstable_offset()

    def _update_first_unstable_offset(self) -> None:
        txn = self.producer_state.first_unstable_txn()
        if txn is None:
            self.first_unstable_offset = -1
            self._lso_segment = None
        elif txn.first_offset < self.log_start_offset:
            self.first_unstable_offset = self.log_start_offset
            self._lso_segment = None
        elif txn.first_offset != self.first_unstable_offset:
            self.first_unstable_offset = txn.first_offset
            self._lso_segment = self.segments.get(txn.segment_base_offset) if txn.position >= 0 else None
            self._lso_position = txn.position

    def maybe_increment_log_start_offset(self, offset: int) -> bool:
        """Lets everything below `offset` go (DeleteRecords, or a leader's word to its follower); True if it
        moved.

        The segments go with the next retention run. Raises OffsetOutOfRangeError above the high watermark.
        """
        self.log_dir.check()
        if offset > self.high_watermark:
            raise OffsetOutOfRangeError(
                f"Cannot increment the log start offset to {offset} of partition {self.topic_partition}"
                f" since it is larger than the high watermark {self.high_watermark}"
            )
        if offset <= self.log_start_offset:
            return False
        self.log_start_offset = offset
        self.recovery_point = max(self.recovery_point, offset)
        try:
            self.leader_epoch_cache.truncate_from_start(offset)
        except OSError as error:
            raise self.log_dir.io_error(
                f"cutting the leader epochs of {self.topic_partition}", error
            ) from error
        self.producer_state.on_log_start_offset(offset)
        self._update_first_unstable_offset()
        return True

    def assign_epoch_start_offset(self, leader_epoch: int, offset: int) -> None:
        """A leader notes its epoch when it is elected, before any append (rule 4); durable before the first
        append."""
        self.leader_epoch_cache.assign(leader_epoch, offset)
        if self.leader_epoch_cache.dirty:
            self._unsynced = True

    @property
    def latest_epoch(self) -> int:
        return self.leader_epoch_cache.latest_epoch

    def epoch_end_offset(self, leader_epoch: int) -> EpochEndOffset:
        """The largest epoch not above `leader_epoch` and where it ended; (-1, -1) where that is not known."""
        return self.leader_epoch_cache.end_offset_for(leader_epoch, self.log_end_offset)

    # --- read ---

    def read(
        self, fetch_offset: int, *, max_bytes: int, upper_bound: str = LOG_END, min_one_message: bool = True
    ) -> FetchData:
        """Batches from the one that holds `fetch_offset` on, up to the bound; the last of them may be torn by
        `max_bytes`.

        With `min_one_message` the first batch comes whole whatever its size. From the bound to the log end
        there is nothing to read, and no error. Raises OffsetOutOfRangeError, KafkaStorageError,
        CorruptRecordError.
        """
        if self.log_dir.failure is not None:
            self.log_dir.check()
        if not self.log_start_offset <= fetch_offset <= self.log_end_offset:
            raise OffsetOutOfRangeError(
                f"Received request for offset {fetch_offset} for partition {self.topic_partition}, but we"
                f" only have log segments in the range {self.log_start_offset} to {self.log_end_offset}."
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
                    self._lso_segment, self._lso_position = self._locate(bound_offset)
                bound_segment = self._lso_segment
                bound_position = self._lso_position
            else:
                bound_offset = self.high_watermark
                if self._hw_segment is None:
                    self._hw_segment, self._hw_position = self._locate(bound_offset)
                bound_segment = self._hw_segment
                bound_position = self._hw_position
            if fetch_offset >= bound_offset:
                return FetchData(
                    fetch_offset,
                    b"",
                    bound_segment.base_offset,
                    bound_position,
                    False,
                    [] if committed else None,
                )
            return self._read_segments(
                fetch_offset, max_bytes, min_one_message, bound_segment, bound_position, committed
            )
        except OSError as error:
            raise self.log_dir.fail(f"reading from {self.topic_partition}", error) from error

    def _read_segments(
        self,
        fetch_offset: int,
        max_bytes: int,
        min_one_message: bool,
        bound_segment: Segment,
        bound_position: int,
        committed: bool,
    ) -> FetchData:
        active = self._active
        segment = active if fetch_offset >= active.base_offset else self.segments.floor(fetch_offset)
        while segment is not None and segment.base_offset <= bound_segment.base_offset:
            found = segment.translate_offset(fetch_offset)
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
            aborted = self._aborted_transactions(fetch_offset, segment, start, size) if committed else None
            return FetchData(
                fetch_offset,
                segment.slice(start, size),
                segment.base_offset,
                start,
                wanted < found[3],
                aborted,
            )
        return FetchData(
            fetch_offset, b"", bound_segment.base_offset, bound_position, False, [] if committed else None
        )

    def _locate(self, offset: int) -> tuple[Segment, int]:
        """Where the batch that holds `offset`, or the next one, begins."""
        if offset >= self.log_end_offset:
            return self._active, self._active.size
        for segment in self.segments.starting_from(offset):
            found = segment.translate_offset(offset)
            if found is not None:
                return segment, found[2]
        return self._active, self._active.size

    def _aborted_transactions(
        self, fetch_offset: int, segment: Segment, position: int, size: int
    ) -> list[AbortedTxn]:
        if not self._has_aborted:
            return []
        upper_bound = segment.fetch_upper_bound(position, size)
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

    def offset_for_timestamp(self, timestamp: int) -> TimestampAndOffset | None:
        """The first record that is not older than `timestamp`, or what one of the special timestamps means;
        None when there is no such record. Raises KafkaStorageError."""
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
                return self._offset_of_max_timestamp()
            for segment in self.segments:
                if segment.largest_timestamp() >= timestamp:
                    found = segment.find_offset_by_timestamp(timestamp, self.log_start_offset)
                    return None if found is None else TimestampAndOffset(found[0], found[1], _epoch(found[2]))
            return None
        except OSError as error:
            raise self.log_dir.fail(f"searching a timestamp in {self.topic_partition}", error) from error

    def _offset_of_max_timestamp(self) -> TimestampAndOffset | None:
        latest = max(self.segments, key=lambda segment: segment.load_max_timestamp())
        if latest.max_timestamp < 0:
            return None
        found = latest.find_offset_by_timestamp(latest.max_timestamp, self.log_start_offset)
        return None if found is None else TimestampAndOffset(found[0], found[1], _epoch(found[2]))

    # --- roll, retention, truncation ---

    def roll(self, *, now_ms: int, expected_next_offset: int = 0) -> Segment:
        """Begins a new active segment. Raises KafkaStorageError."""
        new_offset = max(expected_next_offset, self.log_end_offset)
        active = self._active
        if active.size == 0 and active.base_offset == new_offset:
            return active
        if new_offset <= active.base_offset:
            raise AssertionError(
                f"{self.topic_partition} cannot roll to {new_offset}: its active segment begins at"
                f" {active.base_offset}"
            )
        try:
            for suffix in SEGMENT_SUFFIXES:
                if self.directory.delete(file_name(new_offset, suffix)):
                    logger.warning(
                        "%s: %s was in the way of a new segment",
                        self.topic_partition,
                        file_name(new_offset, suffix),
                    )
            active.seal()
            segment = recovery.create_segment(self.directory, new_offset, self.config, now_ms)
        except OSError as error:
            raise self.log_dir.io_error(f"rolling a segment of {self.topic_partition}", error) from error
        self.segments.add(segment)
        self._active = segment
        # A snapshot at the new base offset lets recovery begin there.
        self.producer_state.map_end_offset = new_offset
        self._take_snapshot()
        if self.high_watermark == self.log_end_offset:
            self._set_high_watermark(self.high_watermark)
        self.log_dir.rolled.append(self.topic_partition)
        return segment

    def _take_snapshot(self) -> None:
        try:
            self.producer_state.take_snapshot()
        except OSError as error:
            # Without it a recovery begins at an older one.
            logger.warning("%s: producer snapshot not written: %s", self.topic_partition, error)
            self.log_dir.io_error(f"writing a producer snapshot of {self.topic_partition}", error)

    def delete_old_segments(self, now_ms: int) -> int:
        """Deletes the segments that retention lets go; returns how many."""
        self.log_dir.check()
        config = self.config
        segments = list(self.segments)
        ends = [segment.base_offset for segment in segments[1:]] + [self.log_end_offset]
        need_times = config.delete and config.retention_ms >= 0
        try:
            verdict = deletable_segments(
                [
                    SegmentFacts(s.base_offset, end, s.size, s.largest_timestamp() if need_times else now_ms)
                    for s, end in zip(segments, ends, strict=True)
                ],
                high_watermark=self.high_watermark,
                log_start_offset=self.log_start_offset,
                retention_bytes=config.retention_bytes,
                retention_ms=config.retention_ms,
                delete_policy=config.delete,
                now_ms=now_ms,
            )
        except OSError as error:
            raise self.log_dir.fail(f"looking for old segments of {self.topic_partition}", error) from error
        if not verdict.segments:
            return 0
        if verdict.segments == len(segments):
            self.roll(now_ms=now_ms)
        gone = segments[: verdict.segments]
        logger.info(
            "%s: deleting %d segments up to offset %d (log start %d, size %d, time %d)",
            self.topic_partition,
            verdict.segments,
            ends[verdict.segments - 1],
            verdict.by_log_start,
            verdict.by_size,
            verdict.by_time,
        )
        self.maybe_increment_log_start_offset(ends[verdict.segments - 1])
        self._remove_segments(gone, now_ms)
        return verdict.segments

    def _remove_segments(self, segments: list[Segment], now_ms: int) -> None:
        """Takes segments out of the log; their files are renamed now and unlinked later, for readers may hold
        them."""
        names: list[str] = []
        try:
            for segment in segments:
                self.segments.remove(segment)
                for name in segment.file_names():
                    if self.directory.rename(name, name + DELETED_SUFFIX):
                        names.append(name + DELETED_SUFFIX)
                segment.drop_handles()
                snapshot = self.producer_state.mark_snapshot_deleted(segment.base_offset)
                if snapshot is not None:
                    names.append(snapshot)
        except OSError as error:
            raise self.log_dir.fail(f"deleting segments of {self.topic_partition}", error) from error
        finally:
            if names:
                self.log_dir.deleted.append(
                    DeletedFiles(self.directory, names, now_ms + self.config.file_delete_delay_ms)
                )

    def truncate_to(self, offset: int, *, now_ms: int) -> bool:
        """Cuts the log so that `offset` is its end; False if it ended there already (rule 8).

        A cut inside a batch takes the whole batch. Raises KafkaStorageError.
        """
        self.log_dir.check()
        if offset < 0:
            raise ValueError(f"cannot cut {self.topic_partition} at {offset}")
        if offset >= self.log_end_offset:
            # A leader may have noted its epoch here and appended nothing.
            self._cut_epochs(self.log_end_offset)
            return False
        if self.segments.first.base_offset > offset:
            self.truncate_fully_and_start_at(offset, now_ms=now_ms)
            return True
        logger.info("%s: truncating from %d to offset %d", self.topic_partition, self.log_end_offset, offset)
        self._truncations += 1
        self._remove_segments(self.segments.above(offset), now_ms)
        active = self._active = self.segments.active
        try:
            active.become_writable()
            active.truncate_to(offset, now_ms)
        except OSError as error:
            raise self.log_dir.fail(f"truncating {self.topic_partition}", error) from error
        self._after_truncation(offset, min(offset, self.log_start_offset), now_ms)
        return True

    def truncate_fully_and_start_at(
        self, offset: int, *, now_ms: int, log_start_offset: int | None = None
    ) -> None:
        """Deletes everything; the next record will have `offset`."""
        self.log_dir.check()
        logger.info("%s: deleting all and starting at offset %d", self.topic_partition, offset)
        self._truncations += 1
        self._remove_segments(list(self.segments), now_ms)
        try:
            segment = recovery.create_segment(self.directory, offset, self.config, now_ms)
            self.segments.add(segment)
            self._active = segment
            self.leader_epoch_cache.clear()
            self.producer_state.truncate_fully_and_start_at(offset)
        except OSError as error:
            raise self.log_dir.fail(f"truncating {self.topic_partition}", error) from error
        self._after_truncation(offset, offset if log_start_offset is None else log_start_offset, now_ms)

    def _after_truncation(self, end_offset: int, log_start_offset: int, now_ms: int) -> None:
        self.log_end_offset = end_offset
        self.log_start_offset = log_start_offset
        self.recovery_point = min(self.recovery_point, end_offset)
        self._cut_epochs(end_offset)
        try:
            recovery.rebuild_producer_state(
                self.producer_state, self.segments, log_start_offset, end_offset, now_ms=now_ms
            )
        except OSError as error:
            raise self.log_dir.fail(
                f"rebuilding the producer state of {self.topic_partition}", error
            ) from error
        self._hw_segment = None
        self._lso_segment = None
        self.first_unstable_offset = -1
        if self.high_watermark >= end_offset or self.high_watermark < log_start_offset:
            self.update_high_watermark(self.high_watermark)
        self._update_first_unstable_offset()

    def _cut_epochs(self, end_offset: int) -> None:
        try:
            self.leader_epoch_cache.truncate_from_end(end_offset)
        except OSError as error:
            raise self.log_dir.io_error(
                f"cutting the leader epochs of {self.topic_partition}", error
            ) from error

    def remove_expired_producers(self, now_ms: int) -> int:
        return self.producer_state.remove_expired(now_ms)

    # --- flush, close, delete ---

    def begin_flush(self, *, up_to: int | None = None, closing: bool = False) -> FlushJob | None:
        """What makes the log durable below `up_to` (its end, when not given), or None when it is already."""
        self.log_dir.check()
        offset = self.log_end_offset if up_to is None else min(up_to, self.log_end_offset)
        if offset <= self.recovery_point and not closing:
            return None
        segments = self.segments.between(self.recovery_point, offset)
        if closing and self._active not in segments:
            segments.append(self._active)
        names: list[str] = []
        try:
            for segment in segments:
                segment.flush_indexes()
                if segment is not self._active or closing:
                    names += segment.file_names()[1:]
            if offset == self.log_end_offset and self.producer_state.map_end_offset == offset:
                # Recovery can begin here instead of at the segment's start.
                self._snapshot_at_end()
        except OSError as error:
            raise self.log_dir.io_error(f"flushing {self.topic_partition}", error) from error
        return FlushJob(
            self.directory,
            offset,
            [segment.records for segment in segments],
            names,
            sync_directory=closing or any(s.base_offset >= self.recovery_point for s in segments),
            truncations=self._truncations,
        )

    def _snapshot_at_end(self) -> None:
        """A snapshot at the log end; the one of the flush before goes, unless it belongs to a segment."""
        state = self.producer_state
        before = state.snapshots[-1] if state.snapshots else -1
        if state.take_snapshot() is not None and before >= 0 and self.segments.get(before) is None:
            state.delete_snapshot(before)

    def complete_flush(self, job: FlushJob, *, now_ms: int) -> None:
        """Takes the result of a job that has run. A failed fsync takes the directory offline for good."""
        if job.error is not None:
            raise self.log_dir.fail(f"flushing {self.topic_partition}", job.error) from job.error
        self.last_flush_ms = now_ms
        if job.truncations == self._truncations and job.offset > self.recovery_point:
            self.recovery_point = min(job.offset, self.log_end_offset)

    def flush(self, *, now_ms: int) -> None:
        """Makes everything durable, in this thread. Raises KafkaStorageError."""
        job = self.begin_flush()
        if job is not None:
            job.run()
            self.complete_flush(job, now_ms=now_ms)

    def begin_close(self) -> FlushJob | None:
        """The last flush; `close` follows when it is complete."""
        try:
            self._active.write_last_time_entry()
            self._active.flush_indexes()
            self.leader_epoch_cache.flush()
        except OSError as error:
            raise self.log_dir.io_error(f"closing {self.topic_partition}", error) from error
        return self.begin_flush(closing=True)

    def close(self) -> None:
        """Closes the files. Nothing is written but what the indexes hold in memory."""
        for segment in self.segments:
            segment.close_handles()

    def rename_for_delete(self) -> None:
        """Gives the directory its `-delete` name: the partition is gone, whatever happens to the files."""
        self.log_dir.check()
        try:
            self.directory.rename_self(delete_dir_name(self.topic_partition))
        except OSError as error:
            raise self.log_dir.fail(f"renaming the directory of {self.topic_partition}", error) from error

    def delete(self) -> None:
        """Removes the directory with all that is in it, without delay; may run in any thread. Raises
        OSError."""
        for segment in self.segments:
            segment.drop_handles()
        self.directory.delete_self()


def _epoch(epoch: int | None) -> int:
    return NO_PARTITION_LEADER_EPOCH if epoch is None else epoch
