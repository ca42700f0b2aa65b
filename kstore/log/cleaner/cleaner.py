"""Which log is cleaned when, and by whom; what becomes of logs that cannot be.

Belongs to the thread that owns the logs. `take` gives out the work of one cleaning: `run` does a slice of it in any
thread, `complete` takes the slice in, until it is `done`. At most `threads` are under way. A log with damage is set
aside and not tried again before the next start (LogCleaner.scala, LogCleanerManager.scala).
"""

import logging
from collections.abc import Container, Mapping
from errno import ENOENT
from typing import TYPE_CHECKING, NamedTuple

from kstore.errors import KafkaError, KafkaStorageError, KstoreError, NotCachedError
from kstore.log.cleaner.cleanable import Cleanable, LogFacts, SegmentFacts, cleanable
from kstore.log.cleaner.config import CleanerConfig
from kstore.log.cleaner.steps import RENAME, SWAP, WAIT, SyncFailedError
from kstore.log.cleaner.throttle import Throttle
from kstore.log.config import LONG_MAX
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition

if TYPE_CHECKING:
    from kstore.log.cleaner.cleaning import Cleaning

logger = logging.getLogger(__name__)

# Half a second of work at the most: a stop waits for a slice.
SLICE_SIZE = 8 * 1024 * 1024
# Until a file is tried to be opened again for which there was no descriptor.
WAIT_MS = 1000


class CleaningStats(NamedTuple):
    """Of a cleaning that came to its end."""

    topic_partition: TopicPartition
    first_dirty_offset: int
    end_offset: int
    bytes_mapped: int
    bytes_read: int
    bytes_written: int
    records_read: int
    records_kept: int
    map_used: float
    elapsed_ms: int


class CleaningWork:
    """`pause_ms` is how long to wait before the next `run`, so that the disk is left to others."""

    def __init__(self, cleaner: "LogCleaner", log: PartitionLog, cleaning: "Cleaning") -> None:
        self._cleaner = cleaner
        self.log = log
        self.cleaning = cleaning
        self.done = False
        self.pause_ms = 0
        self._dropping = False
        self._ended = False
        self._event: str | None = None
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            if self._dropping:
                self.cleaning.drop()
                self._ended = True
            else:
                self._event = self.cleaning.next_slice()
                self._ended = self._event is None
        except Exception as error:
            self._error = error
            self._ended = True

    def complete(self, now_ms: int) -> None:
        self.pause_ms = self._cleaner.throttle.pause_ms(self.cleaning.take_done(), now_ms)
        if self._event == WAIT:
            self.pause_ms = max(self.pause_ms, WAIT_MS)
        if self._ended:
            self.done = True
            self._cleaner.end(self, self._error, now_ms)
            return
        cleaning = self.cleaning
        try:
            if self._event == RENAME and cleaning.new is not None and self._cleaner.is_here(self.log):
                self.log.complete_replacement(cleaning.new)
            if self._cleaner.is_stale(self):
                self._dropping = True
            elif self._event == SWAP and cleaning.new is not None:
                cleaning.is_in_place = True  # or partly: a start after this completes it
                self.log.replace_segments(cleaning.old, cleaning.new, now_ms=now_ms)
        except KafkaStorageError:
            self._dropping = True  # the directory is offline now


class LogCleaner:
    """`stats` are those of the last cleaning, `uncleanable` the logs that were set aside, each with the reason."""

    def __init__(
        self,
        logs: Mapping[TopicPartition, PartitionLog],
        config: CleanerConfig,
        moving: Container[TopicPartition] = (),
    ) -> None:
        self.logs = logs
        self.config = config
        self.throttle = Throttle(config.io_max_bytes_per_second)
        self.in_progress: dict[PartitionLog, CleaningWork] = {}
        self.uncleanable: dict[PartitionLog, str] = {}
        # Not cleaned while there is a copy of them in another directory, whoever fills it at the moment: it must not
        # miss a tombstone that it comes too late for.
        self._moving = moving
        self.stats: CleaningStats | None = None
        self.max_dirty_ratio = 0.0
        self.last_run_ms = -1
        self._stopping = False
        self._resting_until_ms = -1

    def reconfigure(self, config: CleanerConfig) -> None:
        """Takes effect with the next cleaning; the rate at once."""
        self.config = config
        self.throttle.bytes_per_second = config.io_max_bytes_per_second
        self._resting_until_ms = -1

    def stop(self) -> None:
        """Nothing new is begun, and what is under way ends after its slice."""
        self._stopping = True

    def take(self, now_ms: int) -> CleaningWork | None:
        """The cleaning of the dirtiest log, or None: then there is nothing to do for `backoff_ms`."""
        if self._stopping or not self.config.enable or now_ms < self._resting_until_ms:
            return None
        if len(self.in_progress) >= max(1, self.config.threads):
            return None
        self.last_run_ms = now_ms
        found = self._dirtiest(now_ms)
        if found is None:
            self._resting_until_ms = now_ms + self.config.backoff_ms
            return None
        from kstore.log.cleaner.cleaning import Cleaning  # most brokers start without anything to clean

        log, part = found
        try:
            # A cleaning before this one may have been broken off behind the exchange.
            log.finish_replacements()
        except KafkaStorageError:
            self._resting_until_ms = now_ms + self.config.backoff_ms
            return None
        slice_size = self.throttle.slice_size(SLICE_SIZE)
        work = CleaningWork(self, log, Cleaning(log, part, self.config, slice_size=slice_size, now_ms=now_ms))
        self.in_progress[log] = work
        return work

    def _dirtiest(self, now_ms: int) -> tuple[PartitionLog, Cleanable] | None:
        self.uncleanable = {log: why for log, why in self.uncleanable.items() if self.is_here(log)}
        found: tuple[PartitionLog, Cleanable] | None = None
        self.max_dirty_ratio = 0.0
        for log in self.logs.values():
            if not log.config.compact or log in self.in_progress or log in self.uncleanable:
                continue
            if log.topic_partition in self._moving:
                continue
            if log.log_dir.failure is not None:
                continue
            try:
                part = self.part_of(log, now_ms)
            except OSError as error:
                log.log_dir.io_error(f"looking for what to clean in {log.topic_partition}", error)
                continue
            except KafkaError as error:
                self._set_aside(log, error)
                continue
            self.max_dirty_ratio = max(self.max_dirty_ratio, part.ratio)
            if part.wants_cleaning(log.config.min_cleanable_dirty_ratio) and (
                found is None or part.ratio > found[1].ratio
            ):
                found = (log, part)
        return found

    def part_of(self, log: PartitionLog, now_ms: int) -> Cleanable:
        """What of a log can be cleaned now. Raises OSError, CorruptRecordError."""
        config = log.config
        segments = list(log.segments)
        has_min_lag, has_max_lag = config.min_compaction_lag_ms > 0, config.max_compaction_lag_ms < LONG_MAX
        facts = LogFacts(
            [
                SegmentFacts(
                    segment.base_offset,
                    segment.size,
                    segment.largest_timestamp() if has_min_lag else -1,
                    segment.first_batch_timestamp() if has_max_lag else -1,
                )
                for segment in segments
            ],
            log.log_start_offset,
            log.log_end_offset,
            log.last_stable_offset,
            log.recovery_point,
            log.first_dirty_offset,
        )
        return cleanable(
            facts,
            min_lag_ms=config.min_compaction_lag_ms,
            max_lag_ms=config.max_compaction_lag_ms,
            now_ms=now_ms,
        )

    def is_here(self, log: PartitionLog) -> bool:
        return self.logs.get(log.topic_partition) is log

    def is_stale(self, work: CleaningWork) -> bool:
        """Whether the log is no longer what the cleaning took it for."""
        log = work.log
        return (
            self._stopping
            or not self.is_here(log)
            or log.truncations != work.cleaning.truncations
            or log.log_dir.failure is not None
            or not log.config.compact
            or log.topic_partition in self._moving
        )

    def end(self, work: CleaningWork, error: Exception | None, now_ms: int) -> None:
        """A cleaning has ended, or was dropped."""
        log, cleaning = work.log, work.cleaning
        del self.in_progress[log]
        if isinstance(error, SyncFailedError) and (self.is_here(log) or error.errno != ENOENT):
            # What was to be written may be gone, whether or not anybody still wants the cleaning.
            log.log_dir.sync_error(f"cleaning {log.topic_partition}", error)
            self._resting_until_ms = now_ms + self.config.backoff_ms
            return
        if self.is_stale(work):
            logger.info("%s: cleaning given up", log.topic_partition)
            return
        if error is None:
            log.first_dirty_offset = cleaning.end_offset
            self._note_stats(cleaning, now_ms)
            try:
                # Retention leaves alone what is being cleaned.
                log.delete_old_segments(now_ms, wait=False)
            except NotCachedError:
                pass  # the next run of retention asks a thread
            except KafkaError as failure:
                logger.error("retention of %s: %s", log.topic_partition, failure)
        elif isinstance(error, MemoryError):
            logger.error("%s: no memory for cleaning it", log.topic_partition)
            self._resting_until_ms = now_ms + self.config.backoff_ms
        elif isinstance(error, OSError):
            log.log_dir.io_error(f"cleaning {log.topic_partition}", error)
            self._resting_until_ms = now_ms + self.config.backoff_ms
        else:
            self._set_aside(log, error)

    def let_go(self, work: CleaningWork) -> None:
        """Its owner was interrupted: the log may be cleaned again."""
        self.in_progress.pop(work.log, None)
        work.cleaning.drop()

    def give_up(self, work: CleaningWork, error: Exception) -> None:
        """A step of it failed that never should."""
        self.in_progress.pop(work.log, None)
        self._set_aside(work.log, error)

    def _set_aside(self, log: PartitionLog, error: Exception) -> None:
        self.uncleanable[log] = str(error)
        if isinstance(error, KstoreError):
            logger.error("%s is not cleaned any more: %s", log.topic_partition, error)
        else:
            logger.error("%s is not cleaned any more", log.topic_partition, exc_info=error)

    def _note_stats(self, cleaning: "Cleaning", now_ms: int) -> None:
        stats = self.stats = CleaningStats(
            cleaning.topic_partition,
            cleaning.part.first_dirty_offset,
            cleaning.end_offset,
            cleaning.bytes_mapped,
            cleaning.bytes_read - cleaning.bytes_mapped,
            cleaning.bytes_written,
            cleaning.records_read,
            cleaning.records_kept,
            cleaning.map_used,
            max(0, now_ms - cleaning.now_ms),
        )
        logger.info(
            "%s: clean up to offset %d (dirty from %d): %d of %d records, %d of %d bytes stay, map %d%% full, %d ms%s",
            stats.topic_partition,
            stats.end_offset,
            stats.first_dirty_offset,
            stats.records_kept,
            stats.records_read,
            stats.bytes_written,
            stats.bytes_read,
            100 * stats.map_used,
            stats.elapsed_ms,
            f"; {cleaning.records_without_key} records without a key were dropped"
            if cleaning.records_without_key
            else "",
        )

    def run_due(self, now_ms: int) -> int:
        """Cleans all that is due in this thread; returns how many logs it was. For tests: it does not pause."""
        count = 0
        while (work := self.take(now_ms)) is not None:
            while not work.done:
                work.run()
                work.complete(now_ms)
            count += 1
        return count
