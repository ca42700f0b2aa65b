"""The log of one partition: opened, written, read, kept within its limits, cut, flushed, closed.

It has no locks: one thread owns it. What is slow is offered as a job for another thread (`begin_flush`) or left in
`log_dir` (files to unlink). An I/O error takes the whole log directory offline, except that a full disk only refuses
what was asked (UnifiedLog.scala, LocalLog.scala).
"""

import logging
from itertools import pairwise

from kstore.errors import NotCachedError
from kstore.log.checkpoint_file import (
    CLEANER_OFFSET_CHECKPOINT,
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
)
from kstore.log.config import LogConfig
from kstore.log.directory import DELETED_SUFFIX, SWAP_SUFFIX, DiskDirectory, delete_dir_name
from kstore.log.files import Directory
from kstore.log.flush import NAMED_FILES, FlushJob
from kstore.log.loading import load
from kstore.log.log_dir import DeletedFiles, LogDir
from kstore.log.log_reader import HIGH_WATERMARK, LOG_END, TXN_COMMITTED, FetchData, LogReader, TimestampAndOffset
from kstore.log.log_writer import LogWriter, UnexpectedAppendOffsetError
from kstore.log.replay import rebuild_producer_state, take_snapshot
from kstore.log.retention import SegmentFacts, deletable_segments
from kstore.log.segment import Segment, create_segment
from kstore.model import TopicPartition

logger = logging.getLogger(__name__)

# The segment's three files, a snapshot and another segment that is read, its directory.
DESCRIPTORS_OF_A_CUT = 8

__all__ = [
    "HIGH_WATERMARK",
    "LOG_END",
    "TXN_COMMITTED",
    "FetchData",
    "PartitionLog",
    "TimestampAndOffset",
    "UnexpectedAppendOffsetError",
]


class PartitionLog(LogWriter):
    __slots__ = ()

    @classmethod
    def open(
        cls,
        directory: Directory | str,
        topic_partition: TopicPartition,
        config: LogConfig,
        *,
        log_dir: LogDir | None = None,
        log_start_offset: int = 0,
        high_watermark: int | None = None,
        recovery_point: int = 0,
        clean_shutdown: bool = True,
        now_ms: int,
        topic_id: bytes | None = None,
        producer_id_expiration_ms: int = 24 * 60 * 60 * 1000,
    ) -> "PartitionLog":
        """Loads the log that lies in `directory`, recovering it after an unclean stop; an empty directory
        becomes an empty log. Offsets are those of the checkpoints; where the high watermark's is given, a log start
        that is beyond that and beyond the log's end is not believed. Raises OSError,
        UnsupportedForMessageFormatError, InconsistentTopicIdError."""
        if isinstance(directory, str):
            directory = DiskDirectory(directory)
        if log_dir is None:
            log_dir = LogDir(directory.parent)
        loaded = load(
            directory,
            log_dir,
            topic_partition,
            config,
            log_start_offset=log_start_offset,
            high_watermark=high_watermark,
            recovery_point=recovery_point,
            clean_shutdown=clean_shutdown,
            now_ms=now_ms,
            producer_id_expiration_ms=producer_id_expiration_ms,
        )
        return cls(directory, log_dir, topic_partition, config, loaded, now_ms=now_ms, topic_id=topic_id)

    # --- compaction ---

    def replace_segments(self, base_offsets: list[int], new: Segment, *, now_ms: int) -> None:
        """Puts `new`, whose files are named `.swap` and durable, in the place of others; a start after a crash would do
        the same. What is being read of the old ones is read to its end. Raises KafkaStorageError."""
        old = [segment for base_offset in base_offsets if (segment := self.segments.get(base_offset)) is not None]
        self._remove_segments(old, now_ms, keep_snapshot_at=new.base_offset)
        self.segments.add(new)
        self.forget_positions()

    def complete_replacement(self, new: Segment) -> None:
        """Gives the files their own names, once it is durable that the old ones have lost them. Raises
        KafkaStorageError."""
        if self.segments.get(new.base_offset) is not new or not new.suffix:
            return  # deleted since, with the names that it had; or cut, and given its own before
        self._give_own_names(new)

    def _give_own_names(self, segment: Segment) -> None:
        try:
            segment.change_suffix("")
        except OSError as error:
            raise self.log_dir.fail(f"replacing segments of {self.topic_partition}", error) from error

    def finish_replacements(self) -> None:
        """Gives segments that took the place of others their own names, where a cleaning was broken off. Raises
        KafkaStorageError."""
        unnamed = [segment for segment in self.segments if segment.suffix]
        if not unnamed:
            return
        try:
            self.directory.sync()
        except OSError as error:
            raise self.log_dir.sync_error(f"replacing segments of {self.topic_partition}", error) from error
        for segment in unnamed:
            self._give_own_names(segment)

    def _end_rewrites(self) -> None:
        """Before anything is cut: what a cleaning has ready to be put in place holds records that are to go. A start
        after a crash would bring them back, in the place of what is appended behind the cut. Raises OSError,
        KafkaStorageError."""
        self.finish_replacements()
        with self.rewrite_lock:
            self._truncations += 1
            swaps = [name for name in self.directory.names() if name.endswith(SWAP_SUFFIX)]
            for name in swaps:
                self.directory.delete(name)
            if swaps:
                self._sync_names()

    # --- retention and truncation ---

    def delete_old_segments(self, now_ms: int, *, wait: bool = True) -> int:
        """Deletes the segments that retention lets go; returns how many. Without `wait` NotCachedError, and nothing is
        deleted, where the age of one lies on the disk only."""
        self.log_dir.check()
        config = self.config
        segments = list(self.segments)
        ends = [segment.base_offset for segment in segments[1:]] + [self.log_end_offset]
        need_times = config.delete and config.retention_ms >= 0
        try:
            verdict = deletable_segments(
                [
                    SegmentFacts(s.base_offset, end, s.size, s.largest_timestamp(wait=wait) if need_times else now_ms)
                    for s, end in zip(segments, ends, strict=True)
                ],
                high_watermark=self.high_watermark,
                log_start_offset=self.log_start_offset,
                retention_bytes=config.retention_bytes,
                retention_ms=config.retention_ms,
                delete_policy=config.delete,
                now_ms=now_ms,
            )
        except NotCachedError as error:
            self.send_for(error, _ask_ages)
            raise
        except OSError as error:
            raise self.log_dir.io_error(f"looking for old segments of {self.topic_partition}", error) from error
        if not verdict.segments:
            return 0
        logger.info(
            "%s: deleting %d segments up to offset %d (log start %d, size %d, time %d)",
            self.topic_partition,
            verdict.segments,
            ends[verdict.segments - 1],
            verdict.by_log_start,
            verdict.by_size,
            verdict.by_time,
        )
        sealed = min(verdict.segments, len(segments) - 1)
        if sealed:
            self.maybe_increment_log_start_offset(ends[sealed - 1])
            self._remove_segments(segments[:sealed], now_ms)
        if sealed < verdict.segments:
            # Last, for beginning a new segment takes room that a full disk may have only now.
            self.roll(now_ms=now_ms)
            self.maybe_increment_log_start_offset(ends[sealed])
            self._remove_segments(segments[sealed:], now_ms)
        return verdict.segments

    def _remove_segments(self, segments: list[Segment], now_ms: int, *, keep_snapshot_at: int = -1) -> None:
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
                if segment.base_offset == keep_snapshot_at:
                    continue
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

        A cut inside a batch takes the whole batch. Raises KafkaStorageError, and CorruptRecordError with nothing cut.
        """
        self.log_dir.check()
        if offset < 0:
            raise ValueError(f"cannot cut {self.topic_partition} at {offset}")
        if offset >= self.log_end_offset:
            # A leader may have noted its epoch here and appended nothing.
            self.leader_epoch_cache.truncate_from_end(self.log_end_offset)
            return False
        if self.segments.first.base_offset > offset:
            self.truncate_fully_and_start_at(offset, now_ms=now_ms)
            return True
        survivor = self.segments.floor(offset)
        try:
            if survivor is not None:
                # Damage where it would be cut is found before anything is removed.
                survivor.translate_offset(offset)
        except OSError as error:
            raise self.log_dir.io_error(f"truncating {self.topic_partition}", error) from error
        logger.info("%s: truncating from %d to offset %d", self.topic_partition, self.log_end_offset, offset)
        self._prepare_cut(offset, min(offset, self.log_start_offset))
        above = self.segments.above(offset)
        self._remove_segments(above, now_ms)
        if above:
            self._sync_names()
        active = self._active = self.segments.active
        try:
            active.become_writable()
            active.truncate_to(offset, now_ms)
            active.set_roll_limits(self.config.segment_bytes, self.config.max_segment_ms)
        except OSError as error:
            raise self.log_dir.fail(f"truncating {self.topic_partition}", error) from error
        self._after_truncation(offset, min(offset, self.log_start_offset), now_ms)
        return True

    def truncate_fully_and_start_at(self, offset: int, *, now_ms: int, log_start_offset: int | None = None) -> None:
        """Deletes everything; the next record will have `offset`."""
        self.log_dir.check()
        logger.info("%s: deleting all and starting at offset %d", self.topic_partition, offset)
        self._prepare_cut(offset, offset if log_start_offset is None else log_start_offset)
        self._remove_segments(list(self.segments), now_ms)
        try:
            segment = create_segment(self.directory, offset, self.config, now_ms)
            self.segments.add(segment)
            self._active = segment
            self.leader_epoch_cache.clear()
            self.producer_state.truncate_fully_and_start_at(offset)
        except OSError as error:
            raise self.log_dir.fail(f"truncating {self.topic_partition}", error) from error
        self._sync_names()
        self._after_truncation(offset, offset if log_start_offset is None else log_start_offset, now_ms)

    def _prepare_cut(self, end_offset: int, log_start_offset: int) -> None:
        """Before anything is cut: what is appended behind the cut must not be taken for what was flushed there, nor
        for what was deleted or cleaned, if the machine stops before the next checkpoint."""
        checkpoints = self.log_dir.checkpoints
        last = self.segments.floor(end_offset)
        try:
            # A cut is not begun that would have to stop in its middle.
            self.directory.check_descriptors(DESCRIPTORS_OF_A_CUT)
            self._end_rewrites()
            checkpoints[RECOVERY_POINT_CHECKPOINT].lower(self.topic_partition, end_offset)
            # What comes behind the cut is not committed by what was there before (rule 18).
            checkpoints[HIGH_WATERMARK_CHECKPOINT].lower(self.topic_partition, end_offset)
            checkpoints[LOG_START_OFFSET_CHECKPOINT].lower(self.topic_partition, log_start_offset)
            # Nothing of the segment that will be the active one is clean (LogCleanerManager.maybeTruncateCheckpoint).
            clean_offset = end_offset if last is None else last.base_offset
            checkpoints[CLEANER_OFFSET_CHECKPOINT].lower(self.topic_partition, clean_offset)
        except OSError as error:
            raise self.log_dir.io_error(f"truncating {self.topic_partition}", error) from error

    def _sync_names(self) -> None:
        """What has another name, or none, must not come back with its old one beside what takes its place."""
        try:
            self.directory.sync()
        except OSError as error:
            raise self.log_dir.fail(f"truncating {self.topic_partition}", error) from error

    def _after_truncation(self, end_offset: int, log_start_offset: int, now_ms: int) -> None:
        self.log_end_offset = end_offset
        self.log_start_offset = log_start_offset
        self.recovery_point = min(self.recovery_point, end_offset)
        self.first_dirty_offset = min(self.first_dirty_offset, self._active.base_offset)
        self.leader_epoch_cache.truncate_from_end(end_offset)
        try:
            rebuild_producer_state(self.producer_state, self.segments, log_start_offset, end_offset, now_ms=now_ms)
        except OSError as error:
            raise self.log_dir.fail(f"rebuilding the producer state of {self.topic_partition}", error) from error
        take_snapshot(self.producer_state, self.log_dir)
        self.forget_positions()
        self.first_unstable_offset = -1
        if self.high_watermark >= end_offset or self.high_watermark < log_start_offset:
            self.update_high_watermark(self.high_watermark)
        self._update_first_unstable_offset()

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
        # Sealed where the last flush had ended: only its indexes are new.
        segments = [s for s in self._sealed if self.segments.get(s.base_offset) is s and s not in segments] + segments
        # Names that came and went since the last flush: segments that were deleted before it must not come back, for
        # what is missing in them would lie below the recovery point.
        sync_directory = closing or self._active.base_offset >= self.recovery_point
        names: list[str] = []
        obsolete_snapshot = -1
        try:
            for segment in segments:
                segment.flush_indexes()
                if segment is not self._active or closing:
                    names += segment.file_names()[1:]
                elif segment.txn_index.exists:
                    # Its entries below the recovery point would not be made again.
                    names.append(segment.txn_index.name)
                    sync_directory = True
            self.leader_epoch_cache.flush()
            if offset == self.log_end_offset and self.producer_state.map_end_offset == offset:
                # Recovery can begin here instead of at the segment's start.
                obsolete_snapshot = self._snapshot_at_end()
            snapshots = self.producer_state.unsynced
            names += self.producer_state.take_unsynced()
        except OSError as error:
            raise self.log_dir.io_error(f"flushing {self.topic_partition}", error) from error
        sealed, self._sealed = self._sealed, []
        return FlushJob(
            self.directory,
            self.log_dir,
            self._flush_lock,
            offset,
            [segment.records for segment in segments],
            names,
            sync_directory=sync_directory,
            truncations=self._truncations,
            obsolete_snapshot=obsolete_snapshot,
            sealed=sealed,
            snapshots=snapshots,
        )

    def _snapshot_at_end(self) -> int:
        """Writes a snapshot at the log end; returns that of the flush before, which may go when the new one is durable,
        or -1 where there is none or it belongs to a segment."""
        state = self.producer_state
        before = state.snapshots[-1] if state.snapshots else -1
        if state.take_snapshot() is None or before in self.segments:
            return -1
        return before

    def complete_flush(self, job: FlushJob, *, now_ms: int) -> None:
        """Takes the result of a job that has run. A failed fsync takes the directory offline for good."""
        if job.error is not None:
            self._sealed[:0] = job.sealed
            self.producer_state.unsynced[:0] = job.snapshots
            raise self.log_dir.sync_error(f"flushing {self.topic_partition}", job.error) from job.error
        self.last_flush_ms = now_ms
        if job.truncations == self._truncations and job.offset > self.recovery_point:
            self.recovery_point = min(job.offset, self.log_end_offset)
            for segment in job.sealed:
                segment.release_descriptors(is_durable=True)
        if job.obsolete_snapshot >= 0:
            try:
                self.producer_state.delete_snapshot(job.obsolete_snapshot)
            except OSError as error:
                self.log_dir.io_error(f"deleting a producer snapshot of {self.topic_partition}", error)

    def flush(self, *, now_ms: int) -> None:
        """Makes everything durable, in this thread. Raises KafkaStorageError."""
        job = self.begin_flush()
        if job is not None:
            job.run()
            self.complete_flush(job, now_ms=now_ms)

    def begin_prepare(self) -> FlushJob | None:
        """What makes a new log's files and names durable before its first append, which does it itself otherwise."""
        self.log_dir.check()
        if not self._names_unsynced:
            return None
        try:
            self.leader_epoch_cache.flush(sync=self.log_end_offset > 0)
        except OSError as error:
            raise self.log_dir.io_error(f"preparing {self.topic_partition}", error) from error
        return FlushJob(
            self.directory,
            self.log_dir,
            self._flush_lock,
            0,
            [],
            list(NAMED_FILES),
            sync_directory=True,
            truncations=self._truncations,
            name_number=self._name_number,
        )

    def complete_prepare(self, job: FlushJob) -> None:
        """Takes the result of a job of `begin_prepare`."""
        if job.error is not None:
            raise self.log_dir.sync_error(f"preparing {self.topic_partition}", job.error) from job.error
        self._names_unsynced = False
        self._unsynced = self.leader_epoch_cache.dirty

    def release_descriptors(self) -> None:
        """Lets go of those that the next use opens again; one stays, for appends."""
        for segment, following in pairwise(self.segments):
            segment.release_descriptors(is_durable=following.base_offset <= self.recovery_point)
        self._active.release_descriptors(is_durable=False)

    def begin_close(self) -> FlushJob | None:
        """The last flush; `close` follows when it is complete."""
        try:
            self._active.write_last_time_entry()
            self._active.flush_indexes()
            self.leader_epoch_cache.flush()
        except OSError as error:
            raise self.log_dir.io_error(f"closing {self.topic_partition}", error) from error
        return self.begin_flush(closing=True)

    def take_unflushed(self, before: "PartitionLog", job: FlushJob | None) -> None:
        """This log was just opened on the files of another one that was closed, whose last flush did not run: what that
        was to make durable is for the next one, and what an append would have."""
        self.recovery_point = before.recovery_point
        if before._names_unsynced:
            self._unsynced = self._names_unsynced = True
            self.log_dir.made.append(self.topic_partition)
        if job is not None:
            sealed = [self.segments.get(segment.base_offset) for segment in job.sealed]
            self._sealed[:0] = [segment for segment in sealed if segment is not None]
            self.producer_state.unsynced[:0] = job.snapshots

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


def _ask_ages(log: LogReader) -> None:
    """What `delete_old_segments` asks, of a twin."""
    for segment in log.segments:
        segment.largest_timestamp()
        segment.close_handles()  # there may be more of them than descriptors
