"""Reading segments again after an unclean stop, and making all that is derived from them fit.

What lies below the recovery point was fsynced and is believed. From there on the CRC of every batch is checked; the
first that is torn or wrong ends the log. Where it had been flushed, no crash has left it so: what is cut is kept beside
the log. Indexes, leader epochs, transaction index and producer state follow in the same pass, all from the batches'
headers; no batch is ever in memory as a whole, for a damaged one may claim the rest of its segment
(LogSegment.recover, LogLoader.recoverLog; rules 37 and 43).
"""

import logging
from collections.abc import Iterator

from kstore.errors import CorruptRecordError, UnsupportedForMessageFormatError
from kstore.log.config import LogConfig
from kstore.log.damaged_end import keep_damaged_end, keep_segment
from kstore.log.directory import DELETED_SUFFIX
from kstore.log.files import CheckedHeaders, Directory, Header
from kstore.log.leader_epoch import LeaderEpochCache
from kstore.log.log_dir import DeletedFiles, LogDir
from kstore.log.producer_state import ProducerState
from kstore.log.replay import apply_header, replay, take_snapshot
from kstore.log.segment import Segment
from kstore.log.segments import Segments
from kstore.model import TopicPartition

logger = logging.getLogger(__name__)


LARGE_SEGMENT_BYTES = 256 * 1024 * 1024


class SegmentOverflowError(Exception):
    """A segment whose offsets do not fit its indexes, from before Kafka 1.1 (KAFKA-6264); it must be split."""

    def __init__(self, segment: Segment) -> None:
        super().__init__(f"segment {segment.base_offset} has offsets beyond {segment.last_possible_offset}")
        self.segment = segment


class Recovery:
    """Reads segments again and makes all that is derived from them fit.

    What lies below `recovery_point` had been fsynced; so had all of a log that `was_closed`, but for what was only
    preallocated.
    """

    def __init__(
        self,
        directory: Directory,
        log_dir: LogDir,
        topic_partition: TopicPartition,
        config: LogConfig,
        segments: Segments,
        state: ProducerState,
        epochs: LeaderEpochCache,
        recovery_point: int,
        now_ms: int,
        *,
        was_closed: bool,
    ) -> None:
        self.directory = directory
        self.log_dir = log_dir
        self.topic_partition = topic_partition
        self.config = config
        self.segments = segments
        self.state = state
        self.epochs = epochs
        self.recovery_point = recovery_point
        self.was_closed = was_closed
        self.now_ms = now_ms
        self._has_gaps = False

    def rebuild_indexes(self, segment: Segment, log_start_offset: int) -> None:
        """For a segment whose indexes are missing or damaged; its batches are believed up to the first bad one."""
        # The log's own state comes from its latest snapshot; this one serves the transaction index.
        state = ProducerState(self.topic_partition, self.directory)
        self._load_state(state, segment.base_offset, log_start_offset)
        segment.become_writable()
        # Damage inside the log stays where it is, for readers to be told of; only the end of the log is cut.
        self._read_segment(segment, segment.base_offset, state, cut=segment is self.segments.active)
        segment.write_last_time_entry()
        segment.flush_indexes()
        segment.become_sealed()

    def _load_state(self, state: ProducerState, offset: int, log_start_offset: int) -> None:
        """Makes `state` that of a log that ends at `offset`."""
        state.load_before(offset, log_start_offset, self.now_ms)
        replay(state, self.segments, offset)
        # A transaction may have begun before records were deleted: what is read next counts from its first batch.
        state.map_end_offset = offset

    def recover(self, log_start_offset: int, recovery_point: int) -> None:
        """Reads everything from the recovery point on; the log ends before the first batch that is not whole, unless a
        segment below the log start holds it: then the log begins behind that."""
        unflushed = self.segments.starting_from(recovery_point)
        first_offset = max(recovery_point, unflushed[0].base_offset)
        self.state.delete_snapshots_after(first_offset)
        self._load_state(self.state, first_offset, log_start_offset)
        before = self.segments.lower(first_offset)
        if before is not None and unflushed[0].base_offset == first_offset:
            # It may have been sealed since the last flush: its batches are durable, its indexes need not be.
            self._seal_again(before, first_offset)
        for index, segment in enumerate(unflushed):
            # Told only where it takes a while: a thousand small partitions are one line of the manager's.
            logger.log(
                logging.INFO if segment.size > LARGE_SEGMENT_BYTES else logging.DEBUG,
                "%s: recovering segment %d from offset %d (%d of %d)",
                self.topic_partition,
                segment.base_offset,
                max(first_offset, segment.base_offset),
                index + 1,
                len(unflushed),
            )
            segment.become_writable()
            if segment.base_offset > first_offset:
                self.state.map_end_offset = segment.base_offset
                take_snapshot(self.state, self.log_dir)
            removed, end_offset = self._read_segment(segment, max(first_offset, segment.base_offset), self.state)
            segment.write_last_time_entry()
            segment.flush_indexes()
            if segment is not unflushed[-1]:
                segment.become_sealed()
            following = unflushed[index + 1 :]
            if not removed and not self._is_hole(end_offset, following):
                continue
            if following and following[0].base_offset <= log_start_offset:
                # What is missing had been deleted: the log begins behind it.
                self._take_out(self.segments.between(0, following[0].base_offset), keeps=False)
                continue
            self.remove(following, keeps=end_offset < self.recovery_point)
            break
        self.epochs.flush()

    def _seal_again(self, segment: Segment, end_offset: int) -> None:
        """Completes the indexes of a segment that ends at `end_offset`; its batches are believed."""
        segment.become_writable()
        self._read_segment(segment, end_offset, self.state, cut=False)
        segment.write_last_time_entry()
        segment.flush_indexes()
        segment.become_sealed()

    def _is_hole(self, end_offset: int, following: list[Segment]) -> bool:
        """Whether records are missing before the next segment: a power loss may keep its name and not their bytes.

        Only compaction leaves holes on purpose, and then within segments too.
        """
        if not following or following[0].base_offset <= end_offset or self.config.compact or self._has_gaps:
            return False
        logger.warning("%s: offsets %d to %d are lost", self.topic_partition, end_offset, following[0].base_offset - 1)
        return True

    def _read_segment(
        self, segment: Segment, from_offset: int, state: ProducerState, *, cut: bool = True
    ) -> tuple[int, int]:
        """Reads the batches from `from_offset` on, all of them checked; returns how many bytes are no whole batches,
        and the offset where those end."""
        position = segment.prepare_recovery(from_offset)
        epochs = self.epochs
        next_offset = segment.base_offset
        checked = segment.records.check(position)
        error: CorruptRecordError | None = None
        for batch in _whole_batches(segment, checked):
            last_offset = batch.last_offset
            if last_offset > segment.last_possible_offset:
                raise SegmentOverflowError(segment)
            if not next_offset <= batch.base_offset <= last_offset:
                error = CorruptRecordError(
                    f"batch at position {position} has the offsets {batch.base_offset} to {last_offset},"
                    f" expected {next_offset} or more"
                )
                break
            if batch.base_offset > next_offset and (position == 0 or next_offset > segment.base_offset):
                self._has_gaps = True
            segment.note_batch(position, batch.size_in_bytes, last_offset, batch.max_timestamp)
            position += batch.size_in_bytes
            next_offset = last_offset + 1
            if batch.partition_leader_epoch > epochs.latest_epoch:
                epochs.assign(batch.partition_leader_epoch, batch.base_offset)
            if batch.producer_id >= 0 and batch.last_offset >= state.map_end_offset:
                completed = apply_header(state, segment, batch)
                if completed is not None:
                    if completed.is_aborted and last_offset >= from_offset:
                        segment.note_aborted(state.aborted_txn(completed))
                    state.complete(completed)
        state.map_end_offset = max(state.map_end_offset, next_offset)
        removed = segment.size - position
        if removed:
            count, last_offset = _behind(segment, position)
            logger.log(
                logging.ERROR if count else logging.WARNING,
                "%s: segment %d ends at position %d of %d: %s%s",
                self.topic_partition,
                segment.base_offset,
                position,
                segment.size,
                error or checked.error or "what lies there is no batch",
                f"; {count} batches up to offset {last_offset} lie behind the damage" if count else "",
            )
            if cut:
                was_durable = self._was_durable(segment, position, next_offset, has_wrong_offsets=error is not None)
                if was_durable:
                    keep_damaged_end(self.directory, segment, position)
                if was_durable or count:
                    self.log_dir.note_lost_batches()
                segment.cut(position)
        return removed, next_offset

    def _was_durable(self, segment: Segment, position: int, next_offset: int, *, has_wrong_offsets: bool) -> bool:
        """Whether no crash can have left the segment's end as it is from `position` on, where `next_offset` was due.
        Offsets that do not fit, which no checksum covers, say nothing of how much had been flushed."""
        if next_offset < self.recovery_point or has_wrong_offsets:
            return True
        return self.was_closed and not segment.holds_only_zeros(position)

    def remove(self, segments: list[Segment], *, keeps: bool) -> None:
        """Takes segments out of the log. Their files go later, but for those of records if it `keeps` them."""
        if segments:
            self.log_dir.note_lost_batches()
            self._take_out(segments, keeps=keeps)

    def _take_out(self, segments: list[Segment], *, keeps: bool) -> None:
        names = []
        for segment in segments:
            logger.warning("%s: removing segment %d", self.topic_partition, segment.base_offset)
            self.segments.remove(segment)
            if keeps:
                keep_segment(self.directory, segment)
            for name in segment.file_names():
                if self.directory.rename(name, name + DELETED_SUFFIX):
                    names.append(name + DELETED_SUFFIX)
            segment.drop_handles()
            snapshot = self.state.mark_snapshot_deleted(segment.base_offset)
            if snapshot is not None:
                names.append(snapshot)
        # They must not come back beside what is appended in their place.
        self.directory.sync()
        if names:
            due_ms = self.now_ms + self.config.file_delete_delay_ms
            self.log_dir.deleted.append(DeletedFiles(self.directory, names, due_ms))


def _whole_batches(segment: Segment, checked: CheckedHeaders) -> Iterator[Header]:
    """What is found up to where there are no batches. Raises UnsupportedForMessageFormatError for old messages."""
    try:
        yield from checked
    except UnsupportedForMessageFormatError as error:
        if error.position is None or segment.holds_old_message(error.position):
            raise


def _behind(segment: Segment, position: int) -> tuple[int, int]:
    """How many batches follow the damaged one at `position`, by their headers, and the last offset of them."""
    count = last_offset = -1
    try:
        for header in segment.records.batch_headers(position, segment.size):
            count += 1
            last_offset = header.last_offset
    except (CorruptRecordError, UnsupportedForMessageFormatError):
        pass
    return max(count, 0), last_offset
