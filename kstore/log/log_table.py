"""The partitions in the log directories: found at a start, made, deleted, lost with their directory.

A partition is loaded, or offline with a reason, or not known here. It lies in one directory, and a new one goes where
it is wanted or where there are the fewest (LogManager.getOrCreateLog, handleLogDirFailure).
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from kstore.errors import KafkaStorageError
from kstore.log.checkpoints import Checkpoints
from kstore.log.config import LogConfig
from kstore.log.directory import DiskDirectory, partition_dir_name
from kstore.log.files import Directory
from kstore.log.load_dirs import DirLoad, IsStray
from kstore.log.log_dir import LogDir
from kstore.log.log_dirs import LogDirs
from kstore.log.log_moves import LogMoves
from kstore.log.partition_log import PartitionLog
from kstore.log.twins import Onlooker
from kstore.model import TopicPartition

logger = logging.getLogger(__name__)


class LogTable(LogDirs):
    """`logs` are the partitions that can be served; `offline` says of the others why they cannot."""

    def __init__(
        self,
        log_dirs: Sequence[str],
        default_config: LogConfig,
        *,
        cluster_id: str | None,
        node_id: int,
        recovery_threads: int,
        producer_id_expiration_ms: int,
    ) -> None:
        """Creates and locks the directories. Raises ConfigError when none can be used, when one is listed
        twice or used by another process, and when one belongs to another cluster or node."""
        super().__init__(log_dirs, cluster_id=cluster_id, node_id=node_id)
        self.default_config = default_config
        self.logs: dict[TopicPartition, PartitionLog] = {}
        self.offline: dict[TopicPartition, str] = {}
        self.producer_id_expiration_ms = producer_id_expiration_ms
        self.recovery_threads = recovery_threads or os.cpu_count() or 1
        self._deleted_directories: list[tuple[int, LogDir, Directory]] = []
        self._checkpoints = Checkpoints()
        self._reported: set[str] = set()
        self._clean: dict[str, bool] = {}
        self.moves = LogMoves(self)

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
            self.moves.take_failed(log_dir)
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
        for log in (*self.logs.values(), *self.moves.futures.values()):
            for segment in log.segments:
                segment.drop_handles()
        self.logs.clear()
        self.moves.futures.clear()
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
            self.logs,
            self.offline,
            self.moves.futures,
            self._clean,
            config_for=config_for or (lambda topic: self.default_config),
            is_stray=is_stray,
            producer_id_expiration_ms=self.producer_id_expiration_ms,
            now_ms=now_ms,
        )
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
        for log_dir in self._candidates(live, directory_id, self.moves.preferred.pop(topic_partition, "")):
            try:
                log = self._create(log_dir, topic_partition, topic_id, config or self.default_config, now_ms)
            except OSError as error:
                log_dir.io_error(f"making the log of {topic_partition}", error)
                continue
            self.logs[topic_partition] = log
            return log
        raise KafkaStorageError(f"there is no log directory that {topic_partition} can go to")

    def _candidates(self, dirs: list[LogDir], directory_id: bytes | None, path: str) -> list[LogDir]:
        """Where a new partition may go: the wanted directory first, then those with the fewest partitions."""
        if len(dirs) == 1:
            return dirs
        if directory_id is not None or path:
            wanted = [each for each in dirs if each.path == path]
            wanted = wanted or [each for each in dirs if self.directory_ids.get(each.path) == directory_id]
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
        self._checkpoints.forget(log_dir, topic_partition, self.logs_in)
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
        self.moves.preferred.pop(topic_partition, None)
        self.moves.give_up(topic_partition, now_ms=now_ms)
        log = self.logs.get(topic_partition)
        if log is None:
            return False
        del self.logs[topic_partition]
        try:
            log.rename_for_delete()
        finally:
            for segment in log.segments:
                segment.drop_handles()
        self.delete_later(log, now_ms)
        return True

    def delete_later(self, log: PartitionLog, now_ms: int) -> None:
        """Removes the directory of a log that is nobody's any more, in its time."""
        # The broker's delay, not the topic's, whose configuration is gone with it (LogManager.deleteLogs).
        due_ms = now_ms + self.default_config.file_delete_delay_ms
        self._deleted_directories.append((due_ms, log.log_dir, log.directory))
        log.log_dir = Onlooker(log.log_dir.path)

    def forget_in_checkpoints(self, log_dir: LogDir, topic_partition: TopicPartition) -> None:
        """Raises OSError."""
        self._checkpoints.forget(log_dir, topic_partition, self.logs_in)

    def write_checkpoint(self, log_dir: LogDir, name: str) -> None:
        """Raises OSError."""
        self._checkpoints.write(log_dir, name, self.logs_in(log_dir))

    def logs_in(self, log_dir: LogDir) -> list[PartitionLog]:
        return [log for log in self.logs.values() if log.log_dir is log_dir]
