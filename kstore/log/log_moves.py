"""Replicas on their way to another log directory of the same broker (KIP-113).

    orders-0                                  the replica, which goes on
    orders-0.<unique>-future                  its copy in the other directory, until it has all that the replica has

Then the copy is closed, takes the replica's name, and the replica's directory waits for its removal under a `-delete`
name. A start in the middle finds the copy under its name and goes on; one between the two renamings finds two replicas
with one history, of which one is set aside (LogManager.scala, replaceCurrentWithFutureLog).
"""

import logging
import os
from typing import Protocol

from kstore.errors import InvalidTopicError, KafkaError, KafkaStorageError, LogDirNotFoundError
from kstore.log.checkpoint_file import (
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
)
from kstore.log.directory import (
    FUTURE_DIR_SUFFIX,
    MAX_NAME,
    DiskDirectory,
    delete_dir_name,
    partition_dir_name,
)
from kstore.log.flush import FlushJob
from kstore.log.log_dir import PASSING, LogDir
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition

logger = logging.getLogger(__name__)

# Of so many replicas that are yet to come it is known where they are wanted, some 2 MB: anybody may name any topic. The
# oldest wish is forgotten first.
MAX_PREFERRED = 10_000


class Table(Protocol):
    """The partitions of a broker, as `LogTable` keeps them."""

    dirs: list[LogDir]
    logs: dict[TopicPartition, PartitionLog]
    producer_id_expiration_ms: int

    @property
    def live_dirs(self) -> list[LogDir]: ...

    def forget_in_checkpoints(self, log_dir: LogDir, topic_partition: TopicPartition) -> None: ...

    def write_checkpoint(self, log_dir: LogDir, name: str) -> None: ...

    def delete_later(self, log: PartitionLog, now_ms: int) -> None: ...


def is_durable(source: PartitionLog, future: PartitionLog) -> bool:
    """Whether of the copy at least so much is on the disk as of the replica."""
    return source.recovery_point <= max(future.recovery_point, source.log_start_offset)


class LogMoves:
    """`futures` are the copies that are not complete, `preferred` the directories for replicas that are yet to come."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.futures: dict[TopicPartition, PartitionLog] = {}
        self.preferred: dict[TopicPartition, str] = {}

    def dir_at(self, path: str) -> LogDir:
        """Raises LogDirNotFoundError, KafkaStorageError."""
        wanted = os.path.abspath(path)
        found = next((log_dir for log_dir in self._table.dirs if log_dir.path == wanted), None)
        if found is None:
            raise LogDirNotFoundError(f"{path} is not among log.dirs")
        found.check()
        return found

    def prefer(self, topic_partition: TopicPartition, path: str) -> None:
        """Where the replica is to be made if it is not here yet. Raises LogDirNotFoundError, KafkaStorageError,
        InvalidTopicError."""
        longest = f"{partition_dir_name(topic_partition)}.{32 * 'x'}{FUTURE_DIR_SUFFIX}"
        if len(longest) > MAX_NAME:
            raise InvalidTopicError(f"the name of {topic_partition} is too long to be moved")
        found = self.dir_at(path)
        if topic_partition not in self._table.logs:
            self.preferred.pop(topic_partition, None)
            self.preferred[topic_partition] = found.path
            if len(self.preferred) > MAX_PREFERRED:
                del self.preferred[next(iter(self.preferred))]

    def begin(self, topic_partition: TopicPartition, path: str, now_ms: int) -> PartitionLog | None:
        """The copy that is to be filled; None where the replica lies there already, and a copy elsewhere is given up.

        Raises KafkaStorageError, also while a directory is offline: a copy may lie in it.
        """
        log_dir = self.dir_at(path)
        log = self._table.logs[topic_partition]
        future = self.futures.get(topic_partition)
        if future is not None and future.log_dir is log_dir:
            return future
        self.give_up(topic_partition, now_ms=now_ms)
        if log.log_dir is log_dir:
            return None
        if len(self._table.live_dirs) < len(self._table.dirs):
            raise KafkaStorageError(f"{topic_partition} is not moved while a log directory is offline")
        # Whole, as `topic-partition.<unique>-future`: begin is not reached with a name that is too long.
        directory = DiskDirectory(os.path.join(log_dir.path, delete_dir_name(topic_partition, FUTURE_DIR_SUFFIX)))
        try:
            self._table.forget_in_checkpoints(log_dir, topic_partition)
            directory.create()
            future = PartitionLog.open(
                directory, topic_partition, log.config, log_dir=log_dir, now_ms=now_ms, topic_id=log.topic_id
            )
        except OSError as error:
            raise log_dir.io_error(f"beginning the copy of {topic_partition}", error) from error
        self.futures[topic_partition] = future
        logger.info("%s is copied from %s to %s", topic_partition, log.log_dir.path, log_dir.path)
        return future

    def give_up(self, topic_partition: TopicPartition, *, now_ms: int) -> None:
        """The copy is not wanted any more."""
        future = self.futures.pop(topic_partition, None)
        if future is None:
            return
        logger.info("the copy of %s in %s is given up", topic_partition, future.log_dir.path)
        for segment in future.segments:
            segment.drop_handles()
        try:
            future.directory.rename_self(delete_dir_name(topic_partition))
        except OSError as error:
            future.log_dir.io_error(f"giving up the copy of {topic_partition}", error)
        self._table.delete_later(future, now_ms)

    def take_failed(self, log_dir: LogDir) -> None:
        """Its copies are gone with a directory that has failed."""
        for topic_partition in [key for key, log in self.futures.items() if log.log_dir is log_dir]:
            for segment in self.futures.pop(topic_partition).segments:
                segment.drop_handles()

    def complete(self, topic_partition: TopicPartition, now_ms: int) -> PartitionLog:
        """Puts the copy, which has all that the replica has and is as durable, in the replica's place.

        Raises KafkaStorageError; the replica is then what it was.
        """
        table = self._table
        source, future = table.logs[topic_partition], self.futures[topic_partition]
        assert source.log_end_offset == future.log_end_offset, f"{future} is not yet {source}"
        assert is_durable(source, future), f"{future} is not on the disk as {source} is"
        log_dir, directory = future.log_dir, future.directory
        moved: PartitionLog | None = None
        # Where this raises, the copy is what it was, too.
        unflushed = future.begin_close()
        try:
            log_dir.check()
            future.close()
            del self.futures[topic_partition]
            directory.rename_self(partition_dir_name(topic_partition))
            assert isinstance(directory, DiskDirectory)
            directory.sync_parent()
            moved = PartitionLog.open(
                directory,
                topic_partition,
                source.config,
                log_dir=log_dir,
                log_start_offset=source.log_start_offset,
                now_ms=now_ms,
                topic_id=source.topic_id,
                producer_id_expiration_ms=table.producer_id_expiration_ms,
            )
            moved.take_unflushed(future, unflushed)
            moved.take_place_of(source)
            moved.update_high_watermark(source.high_watermark)
            table.logs[topic_partition] = moved
            for name in (RECOVERY_POINT_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT):
                table.write_checkpoint(log_dir, name)
            # Some of what a disk refuses is not raised, as a snapshot that could not be written.
            log_dir.check()
            self._give_up_name(source)
        except Exception as error:
            table.logs[topic_partition] = source
            self._take_back(future, moved, unflushed, now_ms)
            if isinstance(error, OSError):
                raise log_dir.io_error(f"moving {topic_partition} there", error) from error
            raise
        logger.info("%s lies in %s now", topic_partition, log_dir.path)
        self._let_go(source, now_ms)
        return moved

    def _take_back(
        self, future: PartitionLog, moved: PartitionLog | None, unflushed: FlushJob | None, now_ms: int
    ) -> None:
        """It is a copy again, and may be tried once more: left under the replica's name it would be a second one."""
        topic_partition, directory, log_dir = future.topic_partition, future.directory, future.log_dir
        assert isinstance(directory, DiskDirectory)
        self.futures.pop(topic_partition, None)
        for segment in (moved or future).segments:
            segment.drop_handles()
        try:
            directory.rename_self(delete_dir_name(topic_partition, FUTURE_DIR_SUFFIX))
        except OSError as error:
            log_dir.fail(f"renaming {directory.path} back", error)
        if log_dir.failure is not None:
            return
        try:
            again = PartitionLog.open(
                directory, topic_partition, future.config, log_dir=log_dir, now_ms=now_ms, topic_id=future.topic_id
            )
        except (OSError, KafkaError) as error:
            logger.error("%s is left alone until the next start: %s", directory.path, error)
            return
        again.take_unflushed(future, unflushed)
        self.futures[topic_partition] = again

    def _give_up_name(self, source: PartitionLog) -> None:
        """The replica's name is the copy's now. Raises OSError where it may be tried again: with its old name the
        directory would be in the way of a replica that comes back."""
        try:
            source.directory.rename_self(delete_dir_name(source.topic_partition))
        except OSError as error:
            if error.errno in PASSING:
                raise
            source.log_dir.fail(f"renaming the directory that {source.topic_partition} was moved from", error)

    def _let_go(self, source: PartitionLog, now_ms: int) -> None:
        for segment in source.segments:
            segment.drop_handles()
        try:
            assert isinstance(source.directory, DiskDirectory)
            source.directory.sync_parent()
        except OSError as error:
            source.log_dir.sync_error(f"syncing the directory that {source.topic_partition} was moved from", error)
        self._table.delete_later(source, now_ms)
