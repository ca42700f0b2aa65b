"""Writing a log: what a leader appends, what a follower takes over, and when a new segment begins.

Order of an append: check and number the batch; leader epoch; roll; producer state, which finds duplicates; write; then
log end, indexes, producer state, transaction index, first unstable offset (UnifiedLog.append; rule 31). An append that
fails leaves the log as it was, though it may have rolled.
"""

import logging
from typing import TYPE_CHECKING

from kstore._native.batch import RecordBatch
from kstore._native.replicated import ReplicatedBatches
from kstore.errors import (
    CorruptRecordError,
    InvalidRecordError,
    KafkaError,
    KafkaStorageError,
    NotLeaderOrFollowerError,
    RecordListTooLargeError,
)
from kstore.log.append import CLIENT, REPLICATION, LogAppendInfo, single_batch, validate
from kstore.log.directory import SEGMENT_SUFFIXES, file_name
from kstore.log.flush import NAMED_FILES, sync_name
from kstore.log.log_reader import LogReader
from kstore.log.producer_entry import BatchMetadata
from kstore.log.replay import apply_batch, take_snapshot
from kstore.log.segment import MAX_RELATIVE_OFFSET, Segment, create_segment
from kstore.model import NO_PARTITION_LEADER_EPOCH, NO_TIMESTAMP

if TYPE_CHECKING:
    from typing_extensions import Buffer

logger = logging.getLogger(__name__)


class UnexpectedAppendOffsetError(KafkaError):
    """A follower's batches begin below its log's end; an empty log may be restarted at `first_offset` (rule
    42)."""

    def __init__(self, message: str, first_offset: int, last_offset: int) -> None:
        super().__init__(message)
        self.first_offset = first_offset
        self.last_offset = last_offset


class LogWriter(LogReader):
    __slots__ = ()

    def append_as_leader(
        self,
        records: "Buffer",
        position: int,
        size: int,
        *,
        leader_epoch: int,
        now_ms: int,
        origin: str = CLIENT,
        follows_another: bool = False,
    ) -> LogAppendInfo:
        """Numbers one batch and appends it. The buffer is changed in place. Of a leader that `follows_another` a
        producer that the log does not know is taken from its first batch on: the leader before may have that in hand.

        Raises CorruptRecordError, InvalidRecordError, InvalidTimestampError, MessageTooLargeError,
        RecordListTooLargeError, OutOfOrderSequenceError, InvalidProducerEpochError, InvalidTxnStateError,
        UnsupportedForMessageFormatError, NotLeaderOrFollowerError, KafkaStorageError; the log is then as it was,
        though it may have rolled.
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
        try:
            if leader_epoch != self.leader_epoch_cache.latest_epoch or self._unsynced:
                self._sync_before_append(leader_epoch, first_offset)
            segment = self._active
            if not segment.fits(batch_size, last_offset, max_timestamp, now_ms):
                segment = self._make_room(batch_size, first_offset, now_ms)
        except KafkaStorageError:
            self._note_refused(batch, origin)
            raise

        producer_id = batch.producer_id
        if producer_id >= 0:
            duplicate = self._check_producer(batch, first_offset, origin, follows_another=follows_another)
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
            start = segment.append(batch.buffer, batch.position, batch_size, last_offset, max_timestamp)
        except OSError as error:
            self._note_refused(batch, origin)
            raise self._append_error(error) from error
        self.log_end_offset = last_offset + 1
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
        self, records: "Buffer", position: int = 0, size: int = -1, *, leader_epoch: int, now_ms: int
    ) -> LogAppendInfo:
        """Appends what a leader sent, as it is, after checking every CRC.

        A torn batch at the end is left out, and so is the first batch with an epoch above `leader_epoch`
        (that of the fetch that asked for it) with all that follows: it may not be the leader's history (rule
        10). Raises CorruptRecordError, UnexpectedAppendOffsetError, KafkaStorageError.
        """
        self.log_dir.check()
        limit = -1 if size < 0 else position + size
        batches = ReplicatedBatches(
            records, position, limit, next_offset=self.log_end_offset, max_leader_epoch=leader_epoch
        )
        if batches.misplaced is not None:
            raise self._misplaced(batches.misplaced, batches.next_offset, is_first=batches.size_in_bytes == 0)
        self._check_markers(batches.with_producer)
        valid_bytes = batches.size_in_bytes
        if not valid_bytes:
            return LogAppendInfo(-1, -1, NO_TIMESTAMP, self.log_start_offset, 0, NO_TIMESTAMP, 0)
        first_offset, next_offset = batches.first_offset, batches.next_offset
        if next_offset - 1 - first_offset > MAX_RELATIVE_OFFSET:
            raise RecordListTooLargeError(
                f"offsets {first_offset} to {next_offset - 1} do not fit one segment of {self.topic_partition}"
            )
        for epoch, start_offset in batches.epochs:
            self.leader_epoch_cache.assign(epoch, start_offset)
        self._sync_before_append(NO_PARTITION_LEADER_EPOCH, first_offset)
        segment = self._active
        if not segment.fits(valid_bytes, next_offset - 1, batches.max_timestamp, now_ms):
            segment = self._make_room(valid_bytes, first_offset, now_ms)
        start = segment.size
        noted = batches.index_points(
            start,
            segment.bytes_since_index_entry,
            segment.index_interval_bytes,
            segment.max_timestamp,
            segment.max_timestamp_offset,
        )
        try:
            segment.append_noted(records, position, valid_bytes, batches.max_timestamp, *noted)
        except OSError as error:
            raise self._append_error(error) from error
        self.log_end_offset = next_offset
        for batch in batches.with_producer:
            self._note_producer(batch, segment, start + batch.position - position)
        self.producer_state.map_end_offset = next_offset
        return LogAppendInfo(
            first_offset,
            next_offset - 1,
            NO_TIMESTAMP,
            self.log_start_offset,
            valid_bytes,
            batches.max_timestamp,
            next_offset - first_offset,
            False,
            batches.last_leader_epoch,
        )

    def _check_markers(self, batches: list[RecordBatch]) -> None:
        """Before anything is written: the state of producers is made of them."""
        for batch in batches:
            if batch.is_control:
                try:
                    batch.control_record()
                except InvalidRecordError as error:
                    raise CorruptRecordError(f"{self.topic_partition}, offset {batch.base_offset}: {error}") from error

    def _misplaced(self, batch: RecordBatch, due: int, *, is_first: bool) -> KafkaError:
        if batch.base_offset < due and not is_first:
            return CorruptRecordError(
                f"{self.topic_partition}: a batch from offset {batch.base_offset} on came behind offset {due - 1}"
            )
        if batch.base_offset < due:
            return UnexpectedAppendOffsetError(
                f"{self.topic_partition}: a batch from offset {batch.base_offset} on came where {due} or more was due"
                f" (the log begins at {self.log_start_offset})",
                batch.base_offset,
                batch.last_offset,
            )
        return CorruptRecordError(
            f"{self.topic_partition}: a batch from offset {batch.base_offset} on has the last offset delta"
            f" {batch.last_offset_delta}"
        )

    def _append_error(self, error: OSError) -> KafkaError:
        return self.log_dir.io_error(f"appending records to {self.topic_partition}", error)

    def _sync_before_append(self, leader_epoch: int, offset: int) -> None:
        """Topic id and leader epochs are on the disk before the first record that needs them."""
        if leader_epoch != NO_PARTITION_LEADER_EPOCH:
            self.leader_epoch_cache.assign(leader_epoch, offset)
        try:
            # A new log has no record that needs the epochs: its files are synced together.
            self.leader_epoch_cache.flush(sync=not self._names_unsynced)
        except OSError as error:
            self._unsynced = True  # the epoch is known now, but not to the disk: the next append tries again
            raise self._append_error(error) from error
        if self._names_unsynced:
            try:
                for name in NAMED_FILES:
                    self.directory.sync_file(name)
                self.directory.sync()
                sync_name(self.directory, self.log_dir, self._name_number)
            except OSError as error:
                raise self.log_dir.sync_error(f"syncing the directory of {self.topic_partition}", error) from error
        self._unsynced = self._names_unsynced = False

    def _make_room(self, size: int, first_offset: int, now_ms: int) -> Segment:
        """A new segment for `size` bytes."""
        if size > self.config.segment_bytes:
            raise RecordListTooLargeError(
                f"{size} bytes do not fit a segment of {self.topic_partition}, which holds {self.config.segment_bytes}"
            )
        return self.roll(now_ms=now_ms, expected_next_offset=first_offset)

    def _note_refused(self, batch: RecordBatch, origin: str) -> None:
        if batch.producer_id >= 0 and origin == CLIENT:
            self._refused.note(batch.producer_id, batch.producer_epoch, batch.base_sequence)

    def _check_producer(
        self, batch: RecordBatch, offset: int, origin: str, *, follows_another: bool
    ) -> BatchMetadata | None:
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
            self._refused.check(producer_id, epoch, first_sequence)
            if follows_another and first_sequence > 0 and producer_id not in state.producers:
                self._note_refused(batch, origin)
                raise NotLeaderOrFollowerError(
                    f"{self.topic_partition}: producer {producer_id} sent sequence {first_sequence} to a new leader"
                    " before its first batch, which the leader before may still have"
                )
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
        self._refused.forget(batch.producer_id)
        completed = apply_batch(state, batch, segment.base_offset, position)
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

    def roll(self, *, now_ms: int, expected_next_offset: int = 0) -> Segment:
        """Begins a new active segment. Raises KafkaStorageError."""
        new_offset = max(expected_next_offset, self.log_end_offset)
        active = self._active
        if active.size == 0 and active.base_offset == new_offset:
            return active
        if new_offset <= active.base_offset:
            raise AssertionError(
                f"{self.topic_partition} cannot roll to {new_offset}: its active segment begins at {active.base_offset}"
            )
        try:
            for suffix in SEGMENT_SUFFIXES:
                if self.directory.delete(file_name(new_offset, suffix)):
                    logger.warning(
                        "%s: %s was in the way of a new segment",
                        self.topic_partition,
                        file_name(new_offset, suffix),
                    )
            segment = create_segment(self.directory, new_offset, self.config, now_ms)
        except OSError as error:
            raise self.log_dir.io_error(f"rolling a segment of {self.topic_partition}", error) from error
        try:
            active.seal()
        except OSError as error:
            # Index entries that found no room stay in memory until the flush, which must write them.
            self.log_dir.io_error(f"sealing a segment of {self.topic_partition}", error)
        self.segments.add(segment)
        self._sealed.append(active)
        self._active = segment
        # A snapshot at the new base offset lets recovery begin there.
        self.producer_state.map_end_offset = new_offset
        take_snapshot(self.producer_state, self.log_dir)
        if self.high_watermark == self.log_end_offset:
            self._set_high_watermark(self.high_watermark)
        self.log_dir.rolled.append(self.topic_partition)
        return segment

    def skip_to(self, offset: int, *, now_ms: int) -> None:
        """Lets the log end at `offset`: its leader has nothing between this log's end and its own. Raises
        KafkaStorageError."""
        # The base offset of the segment says after a start where the log ends.
        self.roll(now_ms=now_ms, expected_next_offset=offset)
        self.log_end_offset = offset

    def take_place_of(self, other: "LogWriter") -> None:
        """Takes over what is known of another log besides its records, which are the same. Raises OSError."""
        self.take_over_epochs(other)
        self.producer_state.take_over(other.producer_state)
        self._update_first_unstable_offset()
        self.first_dirty_offset = other.first_dirty_offset
        self._refused = other._refused
