"""A partition's log in memory, with the same surface, that forgets what was not flushed when it crashes.

It is the same code over a `MemoryDirectory`; simulations and embedded use without a disk stand on it.
"""

from kstore.log.config import LogConfig
from kstore.log.log_dir import LogDir
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition


class MemoryLog(PartitionLog):
    __slots__ = ()

    @classmethod
    def create(
        cls,
        topic_partition: TopicPartition,
        config: LogConfig | None = None,
        *,
        now_ms: int,
        topic_id: bytes | None = None,
        directory: MemoryDirectory | None = None,
    ) -> "MemoryLog":
        directory = directory or MemoryDirectory(f"/memory/{topic_partition}")
        log = cls.open(directory, topic_partition, config or LogConfig(), now_ms=now_ms, topic_id=topic_id)
        assert isinstance(log, MemoryLog)
        return log

    @property
    def memory(self) -> MemoryDirectory:
        directory = self.directory
        assert isinstance(directory, MemoryDirectory)
        return directory

    def crash(self, *, now_ms: int) -> "MemoryLog":
        """What is there after a power loss: a log that was recovered from what had been flushed. This one is dead."""
        self.memory.crash()
        log = type(self).open(
            self.memory,
            self.topic_partition,
            self.config,
            log_dir=LogDir(self.log_dir.path),
            log_start_offset=self.log_start_offset,
            recovery_point=self.recovery_point,
            clean_shutdown=False,
            now_ms=now_ms,
            topic_id=self.topic_id,
            producer_id_expiration_ms=self.producer_state.expiration_ms,
        )
        assert isinstance(log, MemoryLog)
        return log
