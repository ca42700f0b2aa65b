"""The replicas that this broker holds: a table, not a brain.

A partition is in exactly one of four states: held (in `partitions`), offline (its directory has failed;
asked for, it answers KAFKA_STORAGE_ERROR), elsewhere, or unknown.
"""

import logging
from collections.abc import Callable, Iterable, Iterator

from kstore.errors import KafkaError, KafkaStorageError, NotLeaderOrFollowerError, UnknownTopicOrPartitionError
from kstore.log.config import LogConfig
from kstore.log.manager import LogManager
from kstore.model import TopicPartition
from kstore.replica.effects import NO_EFFECTS, Effect
from kstore.replica.leader import LAG_TIME_MAX_MS
from kstore.replica.partition import Partition
from kstore.replica.throttle import ReplicationQuotas

logger = logging.getLogger(__name__)


class ReplicaManager:
    def __init__(self, logs: LogManager, *, broker_id: int) -> None:
        self.logs = logs
        self.broker_id = broker_id
        # Keyed by plain (topic, partition) pairs too: a TopicPartition equals its pair.
        self.partitions: dict[tuple[str, int], Partition] = {}
        self.offline: dict[tuple[str, int], str] = {}
        # The brokers that are alive, as far as the controller has told; None where nobody does.
        self.alive: set[int] | None = None
        # Whether other brokers have a partition, as far as the controller has told.
        self.is_elsewhere: Callable[[str, int], bool] = lambda _topic, _partition: False
        self.lag_time_max_ms = LAG_TIME_MAX_MS
        self.quotas = ReplicationQuotas(broker_id)
        # Counted since the start: what the controller has agreed to, and what it has refused.
        self.isr_expands = 0
        self.isr_shrinks = 0
        self.failed_isr_updates = 0
        # What followers were sent.
        self.bytes_out = 0

    def __iter__(self) -> Iterator[Partition]:
        return iter(self.partitions.values())

    @property
    def under_replicated_partitions(self) -> int:
        return sum(partition.is_under_replicated for partition in self)

    @property
    def under_min_isr_partitions(self) -> int:
        return sum(partition.is_under_min_isr for partition in self)

    @property
    def at_min_isr_partitions(self) -> int:
        return sum(partition.is_at_min_isr for partition in self)

    def get(self, topic: str, partition: int) -> Partition:
        found = self.partitions.get((topic, partition))
        if found is None:
            raise self.missing(topic, partition)
        return found

    def missing(self, topic: str, partition: int) -> KafkaError:
        """Why a partition is not there, as the error that says so (ReplicaManager.getPartitionOrError)."""
        reason = self.offline.get((topic, partition))
        if reason is not None:
            return KafkaStorageError(f"{topic}-{partition} is offline: {reason}")
        if self.is_elsewhere(topic, partition):
            return NotLeaderOrFollowerError(f"other brokers have {topic}-{partition}")
        return UnknownTopicOrPartitionError(f"this broker has no partition {topic}-{partition}")

    def lead(
        self,
        topic_partition: TopicPartition,
        *,
        topic_id: bytes,
        directory_id: bytes | None,
        config: LogConfig,
        epoch: int,
        replicas: tuple[int, ...],
        isr: frozenset[int],
        is_new: bool,
        now_ms: int,
        monotonic_ms: int = 0,
        partition_epoch: int = 0,
    ) -> tuple[Effect, ...]:
        """Opens or makes the partition's log and leads it from `epoch` on. What keeps that from happening takes
        the partition offline instead, and no other one with it.

        A partition that is not new and is not found may lie in a directory that is offline: it is not begun anew.
        """
        try:
            log = self.logs.get_or_create(
                topic_partition,
                topic_id=topic_id,
                directory_id=directory_id,
                config=config,
                is_new=is_new,
                now_ms=now_ms,
            )
            partition = self.partitions.get(topic_partition) or Partition(log)
            effects = partition.become_leader(
                broker_id=self.broker_id,
                epoch=epoch,
                replicas=replicas,
                isr=isr,
                partition_epoch=partition_epoch,
                alive=self.alive,
                lag_time_max_ms=self.lag_time_max_ms,
                monotonic_ms=monotonic_ms,
            )
        except (KafkaError, OSError) as error:
            return self._lose(topic_partition, error)
        return self._take(partition, effects)

    def follow(
        self,
        topic_partition: TopicPartition,
        *,
        topic_id: bytes,
        config: LogConfig,
        leader_id: int,
        epoch: int,
        is_new: bool,
        now_ms: int,
    ) -> tuple[Effect, ...]:
        """As `lead`, for a partition that `leader_id` leads; while it has no leader the log is there and waits."""
        try:
            log = self.logs.get_or_create(
                topic_partition, topic_id=topic_id, config=config, is_new=is_new, now_ms=now_ms
            )
            partition = self.partitions.get(topic_partition) or Partition(log)
            effects = partition.become_follower(leader_id=leader_id, epoch=epoch)
        except (KafkaError, OSError) as error:
            return self._lose(topic_partition, error)
        return self._take(partition, effects)

    def _take(self, partition: Partition, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        self.partitions[partition.topic_partition] = partition
        self.offline.pop(partition.topic_partition, None)
        return effects

    def _lose(self, topic_partition: TopicPartition, error: Exception) -> tuple[Effect, ...]:
        logger.error("%s is offline: %s", topic_partition, error)
        return self.take_offline([topic_partition], str(error))

    def stop(self, topic_partition: TopicPartition) -> tuple[Effect, ...]:
        """Neither leads nor follows any longer; the log stays."""
        partition = self.partitions.pop(topic_partition, None)
        return NO_EFFECTS if partition is None else partition.resign()

    def take_offline(self, topic_partitions: Iterable[TopicPartition], reason: str) -> tuple[Effect, ...]:
        effects: tuple[Effect, ...] = NO_EFFECTS
        for topic_partition in topic_partitions:
            self.offline[topic_partition] = reason
            partition = self.partitions.pop(topic_partition, None)
            if partition is not None:
                effects += partition.resign()
        return effects

    def delete(self, topic_partition: TopicPartition, *, now_ms: int) -> tuple[Effect, ...]:
        """Renames the partition's directory away; its files go after `file.delete.delay.ms`.

        It is gone even if the disk refuses: the next start finds a directory that belongs to no topic.
        """
        self.offline.pop(topic_partition, None)
        partition = self.partitions.pop(topic_partition, None)
        effects = NO_EFFECTS if partition is None else partition.resign()
        try:
            self.logs.delete(topic_partition, now_ms=now_ms)
        except KafkaStorageError as error:
            logger.error("%s is deleted, its files are not: %s", topic_partition, error)
        return effects
