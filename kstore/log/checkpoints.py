"""The checkpoints of the log directories: what they are to say, and what of it is new.

recovery-point-offset-checkpoint   below these offsets everything is on the disk
log-start-offset-checkpoint        where DeleteRecords moved the start within a segment
replication-offset-checkpoint      high watermarks
cleaner-offset-checkpoint          below these offsets compacted logs are clean
"""

import logging
from collections.abc import Callable, Iterable, Mapping

from kstore.log.checkpoint_file import (
    CLEANER_OFFSET_CHECKPOINT,
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
    CorruptCheckpointError,
)
from kstore.log.log_dir import LogDir
from kstore.log.partition_log import PartitionLog
from kstore.log.work import CheckpointWork
from kstore.model import TopicPartition

logger = logging.getLogger(__name__)


class Checkpoints:
    """`not_loaded` are, by directory, partitions of which the files go on saying what they said: those may be
    repaired."""

    def __init__(self) -> None:
        self.not_loaded: dict[str, set[TopicPartition]] = {}

    def read(self, log_dir: LogDir, name: str) -> Mapping[TopicPartition, int]:
        """What a file says; nothing when it is damaged. Raises OSError."""
        checkpoint = log_dir.checkpoints[name]
        try:
            return checkpoint.read()
        except CorruptCheckpointError as error:
            # Without it more is read on recovery, and less is known of deleted records; nothing is lost.
            logger.warning("%s is not used: %s", checkpoint.path, error)
            return {}

    def _offsets(self, log_dir: LogDir, name: str, logs: Iterable[PartitionLog]) -> dict[TopicPartition, int]:
        not_loaded = self.not_loaded.get(log_dir.path, ())
        said = log_dir.checkpoints[name].offsets
        offsets = {tp: offset for tp, offset in said.items() if tp in not_loaded}
        for log in logs:
            if name == RECOVERY_POINT_CHECKPOINT:
                offsets[log.topic_partition] = log.recovery_point
            elif name == HIGH_WATERMARK_CHECKPOINT:
                offsets[log.topic_partition] = log.high_watermark
            elif name == CLEANER_OFFSET_CHECKPOINT:
                if log.first_dirty_offset >= 0:
                    offsets[log.topic_partition] = log.first_dirty_offset
            elif log.log_start_offset > log.segments.first.base_offset:
                # Only where it is not simply the first segment's.
                offsets[log.topic_partition] = log.log_start_offset
        return offsets

    def correct(self, log_dir: LogDir, logs: Iterable[PartitionLog]) -> None:
        """After a start: where a log has less than a file says, the file is not left to speak of bytes that are yet
        to come. Raises OSError."""
        logs = list(logs)
        for name in (RECOVERY_POINT_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, CLEANER_OFFSET_CHECKPOINT):
            said = log_dir.checkpoints[name].offsets
            offsets = self._offsets(log_dir, name, logs)
            if any(said.get(log.topic_partition, 0) > offsets.get(log.topic_partition, 0) for log in logs):
                self.write(log_dir, name, logs)

    def work(self, log_dir: LogDir, name: str, logs: Iterable[PartitionLog]) -> CheckpointWork | None:
        """The replacement of a file, or None where it would say the same."""
        checkpoint = log_dir.checkpoints[name]
        offsets = self._offsets(log_dir, name, logs)
        return None if checkpoint.says(offsets) else CheckpointWork(log_dir, checkpoint.begin(offsets))

    def forget(
        self, log_dir: LogDir, topic_partition: TopicPartition, logs_in: Callable[[LogDir], Iterable[PartitionLog]]
    ) -> None:
        """Sees to it that no file speaks of a partition that is gone: one of the same name may come. One write serves
        all that are gone. Raises OSError."""
        for name, checkpoint in log_dir.checkpoints.items():
            if checkpoint.mentions(topic_partition):
                checkpoint.write(self._offsets(log_dir, name, logs_in(log_dir)))

    def write(self, log_dir: LogDir, name: str, logs: Iterable[PartitionLog]) -> None:
        """Replaces a file in this thread, unless it would say the same. Raises OSError."""
        checkpoint = log_dir.checkpoints[name]
        offsets = self._offsets(log_dir, name, logs)
        if not checkpoint.says(offsets):
            checkpoint.write(offsets)
