"""All partition logs of a broker, over one or several log directories: tended in the background, and closed.

The manager belongs to one thread. `tick` gives out work whose slow part (`run`) may go to any thread and whose result
(`complete`) comes back to the owner. A directory says `.kafka_cleanshutdown` only while nothing runs in it, and only
after an orderly stop (LogManager.scala; replication rules 18 and 43).
"""

import logging
import os
from collections import deque
from collections.abc import Sequence

from kstore.errors import KafkaError, KafkaStorageError, NotCachedError
from kstore.log.checkpoint_file import (
    CLEANER_OFFSET_CHECKPOINT,
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
    replace_file,
)
from kstore.log.cleaner.cleaner import LogCleaner
from kstore.log.cleaner.config import CleanerConfig
from kstore.log.config import LogConfig
from kstore.log.incarnation import end_incarnation
from kstore.log.load_dirs import CLEAN_SHUTDOWN_FILE, IsStray
from kstore.log.log_dir import CHECKPOINTS, LogDir
from kstore.log.log_table import LogTable
from kstore.log.parallel import run_all
from kstore.log.partition_log import PartitionLog
from kstore.log.rarely import Rarely
from kstore.log.work import FlushWork, PrepareWork, RemoveDirectoryWork, RetentionWork, UnlinkWork, Work

logger = logging.getLogger(__name__)

# Files of old segments that were read are closed so often; to open one again costs some microseconds.
DESCRIPTOR_SWEEP_MS = 60_000

__all__ = ["CLEAN_SHUTDOWN_FILE", "IsStray", "LogManager"]


class LogManager(LogTable):
    """Tends the logs of its table."""

    # How many flushes one tick begins: each costs the owner's thread some tens of microseconds.
    FLUSHES_PER_TICK = 16
    # Of how many logs one tick lets go of descriptors: it looks at each of their segments.
    RELEASES_PER_TICK = 256

    def __init__(
        self,
        log_dirs: Sequence[str],
        default_config: LogConfig | None = None,
        *,
        cluster_id: str | None = None,
        node_id: int = -1,
        recovery_threads: int = 0,
        retention_check_ms: int = 300_000,
        flush_check_ms: int = 0,
        flush_checkpoint_ms: int = 60_000,
        start_offset_checkpoint_ms: int = 60_000,
        high_watermark_checkpoint_ms: int = 5_000,
        producer_id_expiration_ms: int = 86_400_000,
        producer_id_expiration_check_ms: int = 600_000,
        broker_epoch: int = -1,
        cleaner_config: CleanerConfig | None = None,
    ) -> None:
        """Creates and locks the directories. Raises ConfigError when none can be used, when one is listed
        twice or used by another process, and when one belongs to another cluster or node."""
        super().__init__(
            log_dirs,
            default_config or LogConfig(),
            cluster_id=cluster_id,
            node_id=node_id,
            recovery_threads=recovery_threads,
            producer_id_expiration_ms=producer_id_expiration_ms,
        )
        self.cleaner = LogCleaner(self.logs, cleaner_config or CleanerConfig(), self.moves.futures)
        self.broker_epoch = broker_epoch
        self.flushing: set[PartitionLog] = set()
        self._to_flush: deque[PartitionLog] = deque()
        self._flush_round_open = False
        self._to_release: list[PartitionLog] = []
        self._rarely = Rarely(logger)
        self._intervals = {
            "flush": flush_checkpoint_ms,
            "flush_ms": flush_check_ms,
            "start_offsets": start_offset_checkpoint_ms,
            "high_watermarks": high_watermark_checkpoint_ms,
            "retention": retention_check_ms,
            "producers": producer_id_expiration_check_ms,
            "descriptors": DESCRIPTOR_SWEEP_MS,
        }
        self._due: dict[str, int] = {}

    # --- background work ---

    def tick(self, now_ms: int, monotonic_ms: int) -> list[Work]:
        """Work that is due. Called often; while it returns flushes there may be more at once. The wall clock says how
        old records are, the monotonic one how long it is since the last time."""
        work: list[Work] = []
        if not self._due:
            self._due = {name: monotonic_ms + interval for name, interval in self._intervals.items()}
        if self._is_due("producers", monotonic_ms):
            for log in self.logs.values():
                log.remove_expired_producers(now_ms)
        if self._is_due("retention", monotonic_ms):
            work += self._delete_old_segments(now_ms)
        if self._is_due("descriptors", monotonic_ms):
            self._to_release = list(self.logs.values())
        self._release_descriptors()
        if self._is_due("flush", monotonic_ms):
            waiting = set(self._to_flush)
            self._to_flush.extend(log for log in self.logs.values() if log.unflushed_messages and log not in waiting)
            self._flush_round_open = True
        work += self._preparations()
        work += self._flushes(now_ms, monotonic_ms)
        if self._flush_round_open and not self._to_flush and not self.flushing and not work:
            self._flush_round_open = False
            work += self._changed(RECOVERY_POINT_CHECKPOINT)
        start_offsets = (
            self._changed(LOG_START_OFFSET_CHECKPOINT) if self._is_due("start_offsets", monotonic_ms) else []
        )
        if self._is_due("high_watermarks", monotonic_ms) or start_offsets:
            # Before the start offsets, which are believed up to the high watermark.
            work += self._changed(HIGH_WATERMARK_CHECKPOINT)
            work += self._changed(CLEANER_OFFSET_CHECKPOINT)
        work += start_offsets
        work += self._deletions(now_ms)
        return work

    def _is_due(self, name: str, monotonic_ms: int) -> bool:
        if monotonic_ms < self._due[name]:
            return False
        self._due[name] = monotonic_ms + self._intervals[name]
        return True

    def _delete_old_segments(self, now_ms: int) -> list[Work]:
        work: list[Work] = []
        for log in list(self.logs.values()):
            if not self._may_delete(log):
                continue
            try:
                log.delete_old_segments(now_ms, wait=False)
            except NotCachedError as error:
                work.append(RetentionWork(log, error.look_up, self._may_delete))
            except KafkaError as error:  # damage in one log must not keep the others from being tended
                self._rarely.log("retention", logging.ERROR, "retention of %s: %s", log.topic_partition, error)
        return work

    def _may_delete(self, log: PartitionLog) -> bool:
        """A log that is being cleaned does this at its end."""
        return self.logs.get(log.topic_partition) is log and log not in self.cleaner.in_progress

    def _release_descriptors(self) -> None:
        """Some logs after the others; all at once where there is no descriptor left."""
        count = self.RELEASES_PER_TICK
        if any(log_dir.lacks_descriptors for log_dir in self.dirs):
            self._to_release = list(self.logs.values())
            count = len(self._to_release)
        for log_dir in self.dirs:
            log_dir.lacks_descriptors = False
        for _ in range(min(count, len(self._to_release))):
            log = self._to_release.pop()
            if self.logs.get(log.topic_partition) is log:
                log.release_descriptors()

    def _preparations(self) -> list[Work]:
        """Of partitions that were made since: many are made at once, and their first appends come soon."""
        work: list[Work] = []
        for log_dir in self.live_dirs:
            made, log_dir.made = log_dir.made, []
            for topic_partition in made:
                log = self.logs.get(topic_partition)
                try:
                    job = None if log is None else log.begin_prepare()
                except KafkaStorageError as error:
                    self._rarely.log("prepare", logging.ERROR, "%s", error)
                    continue
                if log is not None and job is not None:
                    work.append(PrepareWork(log, job))
        return work

    def _flushes(self, now_ms: int, monotonic_ms: int) -> list[Work]:
        for log_dir in self.dirs:
            if log_dir.rolled:
                # A sealed segment is written out soon, that the recovery point can pass it.
                self._to_flush.extendleft(self.logs[tp] for tp in log_dir.rolled if tp in self.logs)
                log_dir.rolled.clear()
        if self._is_due("flush_ms", monotonic_ms):
            self._to_flush.extend(
                log
                for log in self.logs.values()
                # A log notes the date of its flushes: a clock that was set back puts none off.
                if log.unflushed_messages and not 0 <= now_ms - log.last_flush_ms < log.config.flush_ms
            )
        work: list[Work] = []
        for _ in range(min(len(self._to_flush), self.FLUSHES_PER_TICK)):
            log = self._to_flush.popleft()
            if log in self.flushing or self.logs.get(log.topic_partition) is not log:
                continue
            try:
                job = log.begin_flush()
            except KafkaStorageError as error:
                self._rarely.log("flush", logging.ERROR, "flushing %s: %s", log.topic_partition, error)
                continue
            if job is not None:
                self.flushing.add(log)
                work.append(FlushWork(self.flushing, log, job))
        return work

    def _changed(self, name: str) -> list[Work]:
        """Replacements of one checkpoint file in the directories where it would say something else."""
        pieces = [self._checkpoints.work(log_dir, name, self.logs_in(log_dir)) for log_dir in self.live_dirs]
        return [piece for piece in pieces if piece is not None]

    def _deletions(self, now_ms: int) -> list[Work]:
        work: list[Work] = []
        for log_dir in self.live_dirs:
            due = [files for files in log_dir.deleted if files.due_ms <= now_ms]
            if due:
                log_dir.deleted[:] = [files for files in log_dir.deleted if files.due_ms > now_ms]
                work += [UnlinkWork(log_dir, files) for files in due]
        due_directories = [entry for entry in self._deleted_directories if entry[0] <= now_ms]
        if due_directories:
            self._deleted_directories[:] = [entry for entry in self._deleted_directories if entry[0] > now_ms]
            work += [
                RemoveDirectoryWork(self._deleted_directories, log_dir, directory)
                for _, log_dir, directory in due_directories
            ]
        return work

    def run_due(self, now_ms: int, monotonic_ms: int | None = None) -> int:
        """Does all that is due in this thread; returns how much it was. For tests, of which most set no clock: they
        have one time for both."""
        done = 0
        while work := self.tick(now_ms, now_ms if monotonic_ms is None else monotonic_ms):
            for piece in work:
                piece.run()
                piece.complete(now_ms)
            done += len(work)
        return done + self.cleaner.run_due(now_ms)

    # --- stopping ---

    def close(self, now_ms: int) -> None:
        """Flushes and closes every log, writes the checkpoints and says so in `.kafka_cleanshutdown`.

        A directory in which anything failed is left as after a crash. Cleanings have ended before.
        """
        self.cleaner.stop()
        closing: list[FlushWork] = []
        not_closed: set[LogDir] = set()
        futures = list(self.moves.futures.values())
        for log in [*self.logs.values(), *futures]:
            if log.log_dir.failure is None:
                try:
                    job = log.begin_close()
                except KafkaStorageError as error:
                    logger.error("closing %s: %s", log.topic_partition, error)
                    not_closed.add(log.log_dir)
                    continue
                if job is not None:
                    closing.append(FlushWork(self.flushing, log, job))
        run_all([work.run for work in closing], 2 * self.recovery_threads, "flushed")
        for work in closing:
            work.complete(now_ms)
        for log_dir in self.live_dirs:
            try:
                self._close_dir(log_dir, orderly=log_dir not in not_closed)
            except OSError as error:
                log_dir.fail("closing the log directory", error)
        for log in [*self.logs.values(), *futures]:
            try:
                log.close()
            except OSError as error:
                # What an index holds in memory found no room: the directory is not marked as clean then.
                logger.error("closing %s: %s", log.topic_partition, error)
        if len(self.live_dirs) < len(self.dirs):
            end_incarnation(self.dirs)
        self.logs.clear()
        self.moves.futures.clear()
        self._unlock()

    def _close_dir(self, log_dir: LogDir, *, orderly: bool) -> None:
        for name in CHECKPOINTS:
            self._checkpoints.write(log_dir, name, self.logs_in(log_dir))
        if self._checkpoints.not_loaded.get(log_dir.path) and not self._clean[log_dir.path]:
            orderly = False  # they have not been recovered from the stop before this start
        if orderly and all(log.recovery_point == log.log_end_offset for log in self.logs_in(log_dir)):
            content = f'{{"version":0,"brokerEpoch":{self.broker_epoch}}}'.encode()
            replace_file(os.path.join(log_dir.path, CLEAN_SHUTDOWN_FILE), content)
