"""What lies in the log directories, loaded at a start: every partition in one directory, and each in one only.

A directory was left clean when it says so; the word is taken back before anything is loaded (KAFKA-10471). What belongs
to no topic is set aside under a `-stray` name, so that it is in nobody's way. One partition in two directories stops
the start: only its owner can say which of them is right (LogManager.loadLogs, loadLog, isStrayKraftReplica).
"""

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock

from kstore.errors import ConfigError, KafkaError, KafkaStorageError
from kstore.log.checkpoint_file import (
    CLEANER_OFFSET_CHECKPOINT,
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
    fsync_directory,
)
from kstore.log.checkpoints import Checkpoints
from kstore.log.config import LogConfig
from kstore.log.directory import (
    DELETE_DIR_SUFFIX,
    FUTURE_DIR_SUFFIX,
    PARTITION_METADATA,
    STRAY_DIR_SUFFIX,
    DiskDirectory,
    delete_dir_name,
    parse_partition_dir_name,
    parse_partition_metadata,
)
from kstore.log.files import Directory
from kstore.log.log_dir import OUT_OF_DESCRIPTORS, LogDir
from kstore.log.parallel import run_all
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition

logger = logging.getLogger(__name__)

CLEAN_SHUTDOWN_FILE = ".kafka_cleanshutdown"
METADATA_TOPIC = "__cluster_metadata"
IGNORED_DIRECTORIES = ("remote-log-index-cache", "lost+found")

# Whether a log with this topic id, or with none yet, is nobody's any more.
IsStray = Callable[[TopicPartition, bytes | None], bool]


class DirLoad:
    """One start: fills `logs` with those that can be served, `offline` with the reasons why others cannot, and `clean`
    with whether each directory was closed properly; `deleted` are directories that only wait for their removal."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        logs: dict[TopicPartition, PartitionLog],
        offline: dict[TopicPartition, str],
        futures: dict[TopicPartition, PartitionLog],
        clean: dict[str, bool],
        *,
        config_for: Callable[[str], LogConfig],
        is_stray: IsStray | None,
        producer_id_expiration_ms: int,
        now_ms: int,
    ) -> None:
        self.logs = logs
        self.offline = offline
        # Copies of replicas that were being moved (`-future`).
        self.futures = futures
        self.clean = clean
        self.deleted: list[tuple[LogDir, DiskDirectory]] = []
        self.loaded = 0
        self._checkpoints = checkpoints
        self._config_for = config_for
        self._is_stray = is_stray
        self._producer_id_expiration_ms = producer_id_expiration_ms
        self._now_ms = now_ms
        # Where the partitions lie that are loaded or cannot be; threads that load find out one at a time.
        self._places: dict[TopicPartition, Directory] = {}
        self._finding = Lock()

    def run(self, log_dirs: Sequence[LogDir], recovery_threads: int) -> None:
        """Loads all; after an unclean stop in so many threads.

        An I/O error takes its directory offline. Raises ConfigError for a partition that two directories hold.
        """
        pending: list[Callable[[], None]] = []
        for log_dir in log_dirs:
            try:
                pending += self._loads_in(log_dir)
            except OSError as error:
                log_dir.fail("loading the log directory", error)
        self.loaded = len(pending)
        clean = all(self.clean.values())
        run_all(pending, 1 if clean else recovery_threads, "loaded" if clean else "recovered")
        for topic_partition, future in self.futures.items():
            self._begin_anew_if_compacted(future, self.logs.get(topic_partition))

    def _begin_anew_if_compacted(self, future: PartitionLog, source: PartitionLog | None) -> None:
        """While the copy's directory was away its replica may have been compacted: what was deleted behind the copy's
        end, tombstones too, would be served again out of the copy."""
        if source is None or not source.config.compact or not future.log_end_offset:
            return
        if 0 <= source.first_dirty_offset <= future.log_end_offset:
            return
        logger.info("the copy of %s in %s is begun anew", future.topic_partition, future.log_dir.path)
        with suppress(KafkaStorageError):
            future.truncate_fully_and_start_at(source.log_start_offset, now_ms=self._now_ms)

    def _loads_in(self, log_dir: LogDir) -> list[Callable[[], None]]:
        """One call for each partition in a directory. Raises OSError."""
        marker = os.path.join(log_dir.path, CLEAN_SHUTDOWN_FILE)
        clean = os.path.exists(marker)
        if clean:
            # Gone before anything is loaded: a crash from here on is a crash (KAFKA-10471).
            os.unlink(marker)
            fsync_directory(log_dir.path)
        recovery_points = self._checkpoints.read(log_dir, RECOVERY_POINT_CHECKPOINT)
        start_offsets = self._checkpoints.read(log_dir, LOG_START_OFFSET_CHECKPOINT)
        high_watermarks = self._checkpoints.read(log_dir, HIGH_WATERMARK_CHECKPOINT)
        dirty_offsets = self._checkpoints.read(log_dir, CLEANER_OFFSET_CHECKPOINT)
        loads: list[Callable[[], None]] = []
        for name in sorted(entry.name for entry in os.scandir(log_dir.path) if entry.is_dir()):
            topic_partition = parse_partition_dir_name(name)
            directory = DiskDirectory(os.path.join(log_dir.path, name))
            if topic_partition is None:
                if name not in IGNORED_DIRECTORIES:
                    logger.warning("%s is not the directory of a partition, leaving it alone", directory.path)
            elif name.endswith(DELETE_DIR_SUFFIX):
                self.deleted.append((log_dir, directory))
            elif name.endswith(STRAY_DIR_SUFFIX):
                logger.warning("%s is left alone", directory.path)
            elif name.endswith(FUTURE_DIR_SUFFIX):
                loads.append(self._future_loader(log_dir, directory, topic_partition, clean))
            elif topic_partition.topic != METADATA_TOPIC:
                loads.append(
                    self._loader(
                        log_dir,
                        directory,
                        topic_partition,
                        clean,
                        recovery_points.get(topic_partition, 0),
                        start_offsets.get(topic_partition, 0),
                        high_watermarks.get(topic_partition, 0),
                        dirty_offsets.get(topic_partition, -1),
                    )
                )
        self.clean[log_dir.path] = clean or not loads
        if loads and not clean:
            logger.info("recovering %d partitions of %s after an unclean stop", len(loads), log_dir.path)
        return loads

    def _loader(
        self,
        log_dir: LogDir,
        directory: DiskDirectory,
        topic_partition: TopicPartition,
        clean: bool,
        recovery_point: int,
        log_start_offset: int,
        high_watermark: int,
        first_dirty_offset: int,
    ) -> Callable[[], None]:
        config = self._config_for(topic_partition.topic)

        def load() -> None:
            try:
                log = PartitionLog.open(
                    directory,
                    topic_partition,
                    config,
                    log_dir=log_dir,
                    log_start_offset=log_start_offset,
                    high_watermark=high_watermark,
                    recovery_point=recovery_point,
                    clean_shutdown=clean,
                    now_ms=self._now_ms,
                    producer_id_expiration_ms=self._producer_id_expiration_ms,
                )
            except KafkaError as error:
                with self._finding:
                    self._refuse(log_dir, directory, topic_partition, error)
                return
            except OSError as error:
                if error.errno in OUT_OF_DESCRIPTORS:
                    raise ConfigError(
                        f"the limit of open files (ulimit -n) is too low for {self.loaded} partitions: {error}"
                    ) from error
                log_dir.fail(f"loading {directory.path}", error)
                self.offline[topic_partition] = str(error)
                return
            if self._is_stray is not None and self._is_stray(topic_partition, log.topic_id):
                set_aside(log_dir, directory, topic_partition)
                return
            log.update_high_watermark(high_watermark)
            if first_dirty_offset <= log.log_end_offset:
                log.first_dirty_offset = first_dirty_offset
            with self._finding:
                self._add(log)

        return load

    def _future_loader(
        self, log_dir: LogDir, directory: DiskDirectory, topic_partition: TopicPartition, clean: bool
    ) -> Callable[[], None]:
        """Of a copy; what is wrong with it is nobody's loss, for the replica is still where it was."""
        config = self._config_for(topic_partition.topic)

        def load() -> None:
            try:
                log = PartitionLog.open(
                    directory,
                    topic_partition,
                    config,
                    log_dir=log_dir,
                    clean_shutdown=clean,
                    now_ms=self._now_ms,
                    producer_id_expiration_ms=self._producer_id_expiration_ms,
                )
            except KafkaError as error:
                logger.warning("the copy in %s is begun anew: %s", directory.path, error)
                set_aside(log_dir, directory, topic_partition)
                return
            except OSError as error:
                log_dir.fail(f"loading {directory.path}", error)
                return
            with self._finding:
                if self.futures.setdefault(topic_partition, log) is log:
                    return
            log.close()
            set_aside(log_dir, directory, topic_partition)

        return load

    def _add(self, log: PartitionLog) -> None:
        """Takes a log in. Raises ConfigError when there is another one of the same partition."""
        topic_partition = log.topic_partition
        twin = self.logs.setdefault(topic_partition, log)
        if twin is not log:
            # A directory that was begun and given up has neither records nor the topic's id.
            for one, other in ((log, twin), (twin, log)):
                if one.topic_id is None and not one.log_end_offset and (other.topic_id or other.log_end_offset):
                    set_aside(one.log_dir, one.directory, topic_partition)
                    self.logs[topic_partition] = other
                    self._places[topic_partition] = other.directory
                    return
            for one, other in ((log, twin), (twin, log)):
                if is_part_of(one, other):
                    # A move was broken off between its two renamings; the checkpoints speak of one of the two only.
                    other.update_high_watermark(max(one.high_watermark, other.high_watermark))
                    with suppress(KafkaStorageError):
                        other.maybe_increment_log_start_offset(one.log_start_offset)
                    one.close()
                    why = f"holds nothing that is not in {other.directory.path}"
                    set_aside(one.log_dir, one.directory, topic_partition, why)
                    self.logs[topic_partition] = other
                    self._places[topic_partition] = other.directory
                    return
        self._claim(topic_partition, log.directory)

    def _refuse(
        self, log_dir: LogDir, directory: Directory, topic_partition: TopicPartition, error: KafkaError
    ) -> None:
        """A partition that cannot be served, or was nobody's anyway."""
        if self._is_stray is not None and self._is_stray(topic_partition, read_topic_id(directory)):
            set_aside(log_dir, directory, topic_partition)
            return
        logger.error("%s is offline: %s", topic_partition, error)
        self.offline[topic_partition] = str(error)
        self._checkpoints.not_loaded.setdefault(log_dir.path, set()).add(topic_partition)
        self._claim(topic_partition, directory)

    def _claim(self, topic_partition: TopicPartition, directory: Directory) -> None:
        other = self._places.setdefault(topic_partition, directory)
        if other is not directory:
            raise ConfigError(
                f"{other.path} and {directory.path} both hold {topic_partition}; a directory may have failed while a"
                " replica was moved: move away the one of the two that is older"
            )


def is_part_of(log: PartitionLog, other: PartitionLog) -> bool:
    """Whether the other log of the same topic has all that this one has: an epoch has one history (KIP-101)."""
    if log.topic_id is None or log.topic_id != other.topic_id:
        return False
    if log.latest_epoch < 0:
        return log.log_end_offset in (0, other.log_end_offset)
    end = other.epoch_end_offset(log.latest_epoch)
    return end.epoch == log.latest_epoch and log.log_end_offset <= end.end_offset


def read_topic_id(directory: Directory) -> bytes | None:
    """The topic id of a log that could not be loaded, as far as it can be told."""
    try:
        return parse_partition_metadata(directory.read_file(PARTITION_METADATA) or b"")
    except OSError:
        return None


def set_aside(
    log_dir: LogDir, directory: Directory, topic_partition: TopicPartition, why: str = "belongs to no topic"
) -> None:
    """Gives the directory of a partition that nobody needs any more a `-stray` name; nothing in it is deleted.

    A disk that refuses goes offline, and whoever else is on it with it.
    """
    old_path = directory.path
    try:
        directory.rename_self(delete_dir_name(topic_partition, STRAY_DIR_SUFFIX))
    except OSError as error:
        log_dir.fail(f"setting {old_path} aside, which {why}", error)
        return
    logger.warning("%s %s, its files are now in %s", old_path, why, directory.path)
