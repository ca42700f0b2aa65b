"""The checkpoints of the log directories: one small file of offsets for each kind, replaced when it would say something
else.

    recovery-point-offset-checkpoint   below these offsets everything is on the disk
    log-start-offset-checkpoint        where DeleteRecords moved the start within a segment
    replication-offset-checkpoint      high watermarks
"""

import logging
import os
from collections.abc import Iterable

from kstore.log.checkpoint_file import (
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
    CorruptCheckpointError,
    read_offsets,
)
from kstore.log.log_dir import LogDir
from kstore.log.partition_log import PartitionLog
from kstore.log.work import CheckpointWork
from kstore.model import TopicPartition

logger = logging.getLogger(__name__)

CHECKPOINTS = (RECOVERY_POINT_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT)


class Checkpoints:
    """Knows what the files say. `not_loaded` are, by directory, partitions of which they go on saying what they said:
    those may be repaired."""

    def __init__(self) -> None:
        self._written: dict[tuple[str, str], dict[TopicPartition, int]] = {}
        self.not_loaded: dict[str, set[TopicPartition]] = {}

    def read(self, log_dir: LogDir, name: str) -> dict[TopicPartition, int]:
        """What a file says; nothing when it is damaged. Raises OSError."""
        try:
            offsets = read_offsets(os.path.join(log_dir.path, name))
        except CorruptCheckpointError as error:
            # Without it more is read on recovery, and less is known of deleted records; nothing is lost.
            logger.warning("%s is not used: %s", os.path.join(log_dir.path, name), error)
            return {}
        self._written[log_dir.path, name] = offsets
        return offsets

    def mentions(self, log_dir: LogDir, name: str, topic_partition: TopicPartition) -> bool:
        return topic_partition in self._written.get((log_dir.path, name), ())

    def _offsets(self, log_dir: LogDir, name: str, logs: Iterable[PartitionLog]) -> dict[TopicPartition, int]:
        not_loaded = self.not_loaded.get(log_dir.path, ())
        offsets = {tp: n for tp, n in self._written.get((log_dir.path, name), {}).items() if tp in not_loaded}
        for log in logs:
            if name == RECOVERY_POINT_CHECKPOINT:
                offsets[log.topic_partition] = log.recovery_point
            elif name == HIGH_WATERMARK_CHECKPOINT:
                offsets[log.topic_partition] = log.high_watermark
            elif log.log_start_offset > log.segments.first.base_offset:
                # Only where it is not simply the first segment's.
                offsets[log.topic_partition] = log.log_start_offset
        return offsets

    def work(self, log_dir: LogDir, name: str, logs: Iterable[PartitionLog]) -> CheckpointWork | None:
        """The replacement of a file, or None where it would say the same."""
        offsets = self._offsets(log_dir, name, logs)
        if self._written.get((log_dir.path, name)) == offsets:
            return None
        return CheckpointWork(self._written, log_dir, name, offsets)

    def write(self, log_dir: LogDir, name: str, logs: Iterable[PartitionLog]) -> None:
        """Replaces a file in this thread, unless it would say the same. Raises OSError."""
        work = self.work(log_dir, name, logs)
        if work is not None:
            work.run()
            if work.error is not None:
                raise work.error
            work.complete(0)
