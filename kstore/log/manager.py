"""All partition logs of a broker, over one or several log directories.

The manager belongs to one thread. `tick` gives out work whose slow part (`run`) may go to any thread and whose result
(`complete`) comes back to the owner. A directory says `.kafka_cleanshutdown` only while nothing runs in it, and only
after an orderly stop (LogManager.scala; replication rules 18 and 43).
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from kstore.errors import KafkaError, KafkaStorageError, NotCachedError
from kstore.log.checkpoint_file import (
    CLEANER_OFFSET_CHECKPOINT,
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
    replace_file,
)
from kstore.log.checkpoints import Checkpoints
from kstore.log.cleaner.cleaner import LogCleaner
from kstore.log.cleaner.config import CleanerConfig
from kstore.log.config import LogConfig
from kstore.log.directory import DiskDirectory, partition_dir_name
from kstore.log.files import Directory
from kstore.log.load_dirs import CLEAN_SHUTDOWN_FILE, DirLoad, IsStray
from kstore.log.log_dir import CHECKPOINTS, LogDir
from kstore.log.log_dirs import LogDirs
from kstore.log.parallel import run_all
from kstore.log.partition_log import PartitionLog
from kstore.log.rarely import Rarely
from kstore.log.work import FlushWork, PrepareWork, RemoveDirectoryWork, RetentionWork, UnlinkWork, Work
from kstore.model import TopicPartition

logger = logging.getLogger(__name__)

# Files of old segments that were read are closed so often; to open one again costs some microseconds.
DESCRIPTOR_SWEEP_MS = 60_000

__all__ = ["CLEAN_SHUTDOWN_FILE", "IsStray", "LogManager"]


class LogManager(LogDirs):
    """`logs` are the partitions that can be served; `offline` says of the others why they cannot."""

    # How many flushes one tick begins: each costs the owner's thread some tens of microseconds.
    FLUSHES_PER_TICK = 16

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
        super().__init__(log_dirs, cluster_id=cluster_id, node_id=node_id)
        self.default_config = default_config or LogConfig()
        self.logs: dict[TopicPartition, PartitionLog] = {}
        self.offline: dict[TopicPartition, str] = {}
        self.cleaner = LogCleaner(self.logs, cleaner_config or CleanerConfig())
        self.broker_epoch = broker_epoch
        self.producer_id_expiration_ms = producer_id_expiration_ms
        self.recovery_threads = recovery_threads or os.cpu_count() or 1
        self.flushing: set[PartitionLog] = set()
        self._to_flush: deque[PartitionLog] = deque()
        self._flush_round_open = False
        self._deleted_directories: list[tuple[int, LogDir, Directory]] = []
        self._checkpoints = Checkpoints()
        self._reported: set[str] = set()
        self._rarely = Rarely(logger)
        self._clean: dict[str, bool] = {}
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

    # --- directories ---

    @property
    def unclean_dirs(self) -> list[LogDir]:
        """The directories that were not closed properly before this start."""
        return [log_dir for log_dir in self.dirs if not self._clean.get(log_dir.path, True)]

    def take_failed_dirs(self) -> dict[str, list[TopicPartition]]:
        """Directories that failed since the last call, with their partitions, which are offline now."""
        failed: dict[str, list[TopicPartition]] = {}
        for log_dir in self.dirs:
            if log_dir.failure is None or log_dir.path in self._reported:
                continue
            self._reported.add(log_dir.path)
            gone = [tp for tp, log in self.logs.items() if log.log_dir is log_dir]
            for topic_partition in gone:
                log = self.logs.pop(topic_partition)
                self.offline[topic_partition] = log_dir.failure
                for segment in log.segments:
                    segment.drop_handles()
            failed[log_dir.path] = gone
        return failed

    def close_handles(self) -> None:
        """Gives the directories up without closing the logs, as a crash would. For tests and for failed
        starts."""
        for log in self.logs.values():
            for segment in log.segments:
                segment.drop_handles()
        self.logs.clear()
        self._unlock()

    # --- loading ---

    def load_all(
        self,
        now_ms: int,
        config_for: Callable[[str], LogConfig] | None = None,
        is_stray: IsStray | None = None,
    ) -> None:
        """Loads every partition of every online directory; after an unclean stop on all cores.

        `config_for` gives a topic's configuration, `is_stray` tells the partitions to be set aside. A partition that
        cannot be served goes to `offline` with the reason; an I/O error takes its directory offline. Raises
        ConfigError for a partition that two directories hold.
        """
        started = time.monotonic()
        load = DirLoad(
            self._checkpoints,
            config_for=config_for or (lambda topic: self.default_config),
            is_stray=is_stray,
            producer_id_expiration_ms=self.producer_id_expiration_ms,
            now_ms=now_ms,
        )
        # Shared, so that a load that fails half-way can still be given up.
        self.logs, self.offline, self._clean = load.logs, load.offline, load.clean
        self.cleaner.logs = self.logs
        load.run(self.live_dirs, self.recovery_threads)
        for log_dir in self.live_dirs:
            try:
                self._checkpoints.correct(log_dir, self.logs_in(log_dir))
            except OSError as error:
                log_dir.io_error("correcting its checkpoints", error)
        due_ms = now_ms + self.default_config.file_delete_delay_ms
        self._deleted_directories += [(due_ms, log_dir, directory) for log_dir, directory in load.deleted]
        logger.info(
            "loaded %d partitions in %d ms%s",
            load.loaded,
            (time.monotonic() - started) * 1000,
            f", unclean directories: {[d.path for d in self.unclean_dirs]}" if self.unclean_dirs else "",
        )

    # --- partitions ---

    def reconfigure(self, default_config: LogConfig, *, producer_id_expiration_ms: int) -> None:
        """Takes what may change while a broker runs; each log's own configuration is its owner's to change."""
        self.default_config = default_config
        self.producer_id_expiration_ms = producer_id_expiration_ms
        for log in self.logs.values():
            log.producer_state.expiration_ms = producer_id_expiration_ms

    def get(self, topic_partition: TopicPartition) -> PartitionLog | None:
        return self.logs.get(topic_partition)

    def get_or_create(
        self,
        topic_partition: TopicPartition,
        *,
        topic_id: bytes | None = None,
        directory_id: bytes | None = None,
        config: LogConfig | None = None,
        is_new: bool = True,
        now_ms: int,
    ) -> PartitionLog:
        """The log of a partition; a new one goes to the directory with the given id, else to that with the
        fewest partitions.

        With `is_new` false the partition has been here before: if it is not found and a directory is offline,
        it is there, and must not be begun anew. Raises KafkaStorageError, InconsistentTopicIdError.
        """
        log = self.logs.get(topic_partition)
        if log is not None:
            if topic_id is not None:
                log.assign_topic_id(topic_id)
            return log
        if topic_partition in self.offline:
            raise KafkaStorageError(f"{topic_partition} is offline: {self.offline[topic_partition]}")
        live = self.live_dirs
        if not is_new and len(live) < len(self.dirs):
            gone = ", ".join(d.path for d in self.dirs if d.failure is not None)
            raise KafkaStorageError(
                f"{topic_partition} may lie in {gone}, which cannot be used now: it is not begun anew"
            )
        for log_dir in self._candidates(live, directory_id):
            try:
                log = self._create(log_dir, topic_partition, topic_id, config or self.default_config, now_ms)
            except OSError as error:
                log_dir.io_error(f"making the log of {topic_partition}", error)
                continue
            self.logs[topic_partition] = log
            return log
        raise KafkaStorageError(f"there is no log directory that {topic_partition} can go to")

    def _candidates(self, dirs: list[LogDir], directory_id: bytes | None) -> list[LogDir]:
        """Where a new partition may go: the wanted directory first, then those with the fewest partitions."""
        if len(dirs) == 1:
            return dirs
        if directory_id is not None:
            wanted = [each for each in dirs if self.directory_ids.get(each.path) == directory_id]
            if wanted:
                return wanted + [each for each in dirs if each is not wanted[0]]
        counts = self._partitions_by_dir()
        return sorted(dirs, key=lambda log_dir: counts[log_dir.path])

    def _partitions_by_dir(self) -> dict[str, int]:
        counts = {log_dir.path: 0 for log_dir in self.live_dirs}
        for log in self.logs.values():
            if log.log_dir.path in counts:
                counts[log.log_dir.path] += 1
        return counts

    def directory_chooser(self) -> Callable[[], bytes]:
        """Gives the directory ids for partitions that are to come, so that directories fill evenly.

        What is given raises KafkaStorageError when no directory is online.
        """
        counts = self._partitions_by_dir()

        def choose() -> bytes:
            if not counts:
                raise KafkaStorageError("no log directory is online")
            path = min(counts, key=counts.__getitem__)
            counts[path] += 1
            return self.directory_ids[path]

        return choose

    def _create(
        self,
        log_dir: LogDir,
        topic_partition: TopicPartition,
        topic_id: bytes | None,
        config: LogConfig,
        now_ms: int,
    ) -> PartitionLog:
        for checkpoint in log_dir.checkpoints.values():
            # What it says of a deleted partition must not be taken for one of the same name.
            checkpoint.forget(topic_partition)
        directory = DiskDirectory(os.path.join(log_dir.path, partition_dir_name(topic_partition)))
        created = directory.create()
        try:
            return PartitionLog.open(
                directory,
                topic_partition,
                config,
                log_dir=log_dir,
                now_ms=now_ms,
                topic_id=topic_id,
                producer_id_expiration_ms=self.producer_id_expiration_ms,
            )
        except (OSError, KafkaStorageError):
            if created:
                # The partition goes elsewhere; an empty one here would stand beside it after the next start.
                with suppress(OSError):
                    directory.delete_self()
            raise

    def delete(self, topic_partition: TopicPartition, *, now_ms: int) -> bool:
        """Takes a partition away at once; its files go after `file.delete.delay.ms`. False if there is none.

        Raises KafkaStorageError when the files keep their name; the partition is gone all the same.
        """
        self.offline.pop(topic_partition, None)
        for not_loaded in self._checkpoints.not_loaded.values():
            not_loaded.discard(topic_partition)
        log = self.logs.get(topic_partition)
        if log is None:
            return False
        del self.logs[topic_partition]
        try:
            log.rename_for_delete()
        finally:
            for segment in log.segments:
                segment.drop_handles()
        # The broker's delay, not the topic's, whose configuration is gone with it (LogManager.deleteLogs).
        due_ms = now_ms + self.default_config.file_delete_delay_ms
        self._deleted_directories.append((due_ms, log.log_dir, log.directory))
        return True

    def logs_in(self, log_dir: LogDir) -> list[PartitionLog]:
        return [log for log in self.logs.values() if log.log_dir is log_dir]

    # --- background work ---

    def tick(self, now_ms: int) -> list[Work]:
        """Work that is due. Called often; while it returns flushes there may be more at once."""
        work: list[Work] = []
        if not self._due:
            self._due = {name: now_ms + interval for name, interval in self._intervals.items()}
        if self._is_due("producers", now_ms):
            for log in self.logs.values():
                log.remove_expired_producers(now_ms)
        if self._is_due("retention", now_ms):
            work += self._delete_old_segments(now_ms)
        if self._is_due("descriptors", now_ms) or any(log_dir.lacks_descriptors for log_dir in self.dirs):
            self._release_descriptors()
        if self._is_due("flush", now_ms):
            waiting = set(self._to_flush)
            self._to_flush.extend(log for log in self.logs.values() if log.unflushed_messages and log not in waiting)
            self._flush_round_open = True
        work += self._preparations()
        work += self._flushes(now_ms)
        if self._flush_round_open and not self._to_flush and not self.flushing and not work:
            self._flush_round_open = False
            work += self._changed(RECOVERY_POINT_CHECKPOINT)
        start_offsets = self._changed(LOG_START_OFFSET_CHECKPOINT) if self._is_due("start_offsets", now_ms) else []
        if self._is_due("high_watermarks", now_ms) or start_offsets:
            # Before the start offsets, which are believed up to the high watermark.
            work += self._changed(HIGH_WATERMARK_CHECKPOINT)
            work += self._changed(CLEANER_OFFSET_CHECKPOINT)
        work += start_offsets
        work += self._deletions(now_ms)
        return work

    def _is_due(self, name: str, now_ms: int) -> bool:
        if now_ms < self._due[name]:
            return False
        self._due[name] = now_ms + self._intervals[name]
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
        for log_dir in self.dirs:
            log_dir.lacks_descriptors = False
        for log in self.logs.values():
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

    def _flushes(self, now_ms: int) -> list[Work]:
        for log_dir in self.dirs:
            if log_dir.rolled:
                # A sealed segment is written out soon, that the recovery point can pass it.
                self._to_flush.extendleft(self.logs[tp] for tp in log_dir.rolled if tp in self.logs)
                log_dir.rolled.clear()
        if self._is_due("flush_ms", now_ms):
            self._to_flush.extend(
                log
                for log in self.logs.values()
                if now_ms - log.last_flush_ms >= log.config.flush_ms and log.unflushed_messages
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

    def run_due(self, now_ms: int) -> int:
        """Does all that is due in this thread; returns how much it was. For embedded use and tests."""
        done = 0
        while work := self.tick(now_ms):
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
        for log in self.logs.values():
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
        for log in self.logs.values():
            try:
                log.close()
            except OSError as error:
                # What an index holds in memory found no room: the directory is not marked as clean then.
                logger.error("closing %s: %s", log.topic_partition, error)
        self.logs.clear()
        self._unlock()

    def _close_dir(self, log_dir: LogDir, *, orderly: bool) -> None:
        for name in CHECKPOINTS:
            self._checkpoints.write(log_dir, name, self.logs_in(log_dir))
        if self._checkpoints.not_loaded.get(log_dir.path) and not self._clean[log_dir.path]:
            orderly = False  # they have not been recovered from the stop before this start
        if orderly and all(log.recovery_point == log.log_end_offset for log in self.logs_in(log_dir)):
            content = f'{{"version":0,"brokerEpoch":{self.broker_epoch}}}'.encode()
            replace_file(os.path.join(log_dir.path, CLEAN_SHUTDOWN_FILE), content)
