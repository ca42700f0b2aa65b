"""Which groups this broker coordinates: a shard for each partition of `__consumer_offsets` that it leads.

A group belongs to the partition that its id hashes to, so its coordinator is that partition's leader. A partition
that holds records is loaded in the background when this broker becomes its leader; one that is empty costs nothing
until somebody asks for a group of its (GroupCoordinator.scala, GroupMetadataManager.scala).
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from kstore.cluster.image import ClusterImage
from kstore.cluster.topic_changes import Counts
from kstore.cluster.topic_names import GROUPS_TOPIC
from kstore.errors import (
    InvalidReplicationFactorError,
    KafkaError,
    NotControllerError,
    NotCoordinatorError,
    PartlyRefusedError,
)
from kstore.model import TopicPartition

if TYPE_CHECKING:
    from kstore.coordinator.group.results import Decision, ListedGroup
    from kstore.coordinator.group.shard import GroupShard
    from kstore.server.context import Context
    from kstore.server.group_shard import HostedShard

log = logging.getLogger(__name__)

Value = TypeVar("Value")

# When the groups of a partition could not be read.
RELOAD_S = 10.0


class Groups:
    def __init__(self, context: "Context") -> None:
        self._context = context
        # Partition -> the leader epoch in which this broker coordinates its groups.
        self._led: dict[int, int] = {}
        # Those that somebody has asked for, or that hold records.
        self._hosted: dict[int, HostedShard] = {}
        self._unloaded: deque[HostedShard] = deque()
        self._loading = False
        self._stopping = False

    # --- which partitions ---

    def elected(self, topic_partition: TopicPartition, leader_epoch: int) -> None:
        """This broker leads a partition; if it is one of ours its groups are loaded."""
        if topic_partition.topic != GROUPS_TOPIC:
            return
        index = topic_partition.partition
        self._led[index] = leader_epoch
        partition_log = self._context.replicas.get(*topic_partition).log
        if partition_log.log_end_offset > partition_log.log_start_offset:
            self._begin_loading(self._host(index))

    def renewed(self, topic_partition: TopicPartition, leader_epoch: int) -> None:
        """This broker leads on in a new epoch: its groups are what they were, and go on in it."""
        if topic_partition.topic != GROUPS_TOPIC:
            return
        self._led[topic_partition.partition] = leader_epoch
        hosted = self._hosted.get(topic_partition.partition)
        if hosted is not None:
            hosted.leader_epoch = leader_epoch

    def resigned(self, topic_partition: TopicPartition) -> None:
        """This broker leads a partition no longer; who waits there is told."""
        if topic_partition.topic == GROUPS_TOPIC and self._led.pop(topic_partition.partition, None) is not None:
            hosted = self._hosted.pop(topic_partition.partition, None)
            if hosted is not None:
                hosted.unload()

    def _host(self, index: int) -> "HostedShard":
        # Most brokers start without a group; what groups need is read when the first one comes.
        from kstore.server.group_shard import HostedShard

        hosted = self._hosted[index] = HostedShard(
            self._context, TopicPartition(GROUPS_TOPIC, index), leader_epoch=self._led[index]
        )
        return hosted

    async def _load(self) -> None:
        """Loads one partition after the other, and ends when all are."""
        try:
            while self._unloaded and not self._stopping:
                hosted = self._unloaded.popleft()
                await hosted.load()
                if hosted.shard.failure is not None:
                    self._context.loop.call_later(RELOAD_S, self._load_again, hosted)
        finally:
            self._loading = False

    def _load_again(self, failed: "HostedShard") -> None:
        """What failed in passing may go well now; with a directory that is offline the leadership ends."""
        index = failed.topic_partition.partition
        if self._stopping or self._hosted.get(index) is not failed:
            return
        hosted = self._host(index)
        hosted.topics_deleted(failed.deleted_topics)
        self._begin_loading(hosted)

    def _begin_loading(self, hosted: "HostedShard") -> None:
        self._unloaded.append(hosted)
        if not self._loading:
            self._loading = True
            self._context.start_task(self._load())

    def stop(self) -> None:
        """Decides no more; nothing is appended after this."""
        self._stopping = True
        for hosted in self._hosted.values():
            hosted.stop()

    # --- asking them ---

    def partition_for(self, group_id: str) -> int:
        from kstore.coordinator.group.records import partition_for

        topic = self._context.topics.image.topics.get(GROUPS_TOPIC)
        count = len(topic.partitions) if topic is not None else self._context.config.offsets_topic_num_partitions
        return partition_for(group_id, count)

    def _hosted_for(self, group_id: str) -> "HostedShard":
        """Raises NotCoordinatorError."""
        index = self.partition_for(group_id)
        hosted = self._hosted.get(index)
        if hosted is not None:
            return hosted
        if index not in self._led:
            raise NotCoordinatorError(f"this broker does not coordinate group {group_id!r}")
        hosted = self._host(index)
        hosted.begin_empty()
        return hosted

    def decide(self, group_id: str, ticket: Any, call: "Callable[[GroupShard, int], Decision]") -> None:
        """Has the group's shard decide; `ticket` is answered now or later."""
        try:
            hosted = self._hosted_for(group_id)
        except KafkaError as error:
            ticket.answer(error)
            return
        hosted.decide(call)

    def ask(self, group_id: str, call: "Callable[[GroupShard, int], Value]") -> Value:
        """What the group's shard answers at once. Raises KafkaError."""
        return self._hosted_for(group_id).ask(call)

    def listed(self, states: Collection[str], types: Collection[str]) -> "Iterator[ListedGroup | KafkaError]":
        """All groups, and an error for each shard that cannot tell its groups."""
        for hosted in list(self._hosted.values()):
            try:
                yield from hosted.ask(lambda shard, _: shard.list_groups(states, types))
            except KafkaError as error:
                yield error

    def loaded_shards(self) -> "Iterator[GroupShard]":
        """For who watches."""
        return (hosted.shard for hosted in self._hosted.values() if hosted.shard.is_loaded)

    def by_shard(self, group_ids: Collection[str]) -> "dict[int, list[str]]":
        """Partition -> those of the groups that it holds."""
        shards: dict[int, list[str]] = {}
        for group_id in dict.fromkeys(group_ids):
            shards.setdefault(self.partition_for(group_id), []).append(group_id)
        return shards

    def topics_deleted(self, names: Collection[str]) -> None:
        """Offsets of topics that are gone are forgotten."""
        for hosted in list(self._hosted.values()):
            hosted.topics_deleted(names)

    # --- the topic ---

    async def create_topic(self) -> None:
        """Makes `__consumer_offsets` if it is not there. Raises KafkaError."""
        config = self._context.config
        counts = Counts(config.offsets_topic_num_partitions, self._replication_factor())
        configs = {
            "cleanup.policy": "compact",
            # A record of the topic is compressed as its coordinator does it.
            "compression.type": "producer",
            "segment.bytes": str(config.offsets_topic_segment_bytes),
        }

        def decide(image: ClusterImage) -> list[Any]:
            if GROUPS_TOPIC in image.topics:
                return []
            creation = self._context.topics.creation(image)
            creation.add(GROUPS_TOPIC, counts, assignments={}, configs=configs)
            return creation.records

        try:
            await self._context.topics.change(decide)
        except NotControllerError:
            await self._context.topics.create_elsewhere(GROUPS_TOPIC, counts, configs)
        except PartlyRefusedError as error:
            log.info("somebody else was quicker: %s", error)
        except InvalidReplicationFactorError as error:
            log.warning("%s cannot be made, offsets.topic.replication.factor: %s", GROUPS_TOPIC, error)
            raise

    def _replication_factor(self) -> int:
        """Kafka's default of 3 would keep a broker on its own from having groups; one that is set is meant. A cluster
        waits until it has so many brokers (KIP-115): what the first one makes alone would have one replica for good."""
        config = self._context.config
        if self._context.cluster is not None or config.is_set("offsets.topic.replication.factor"):
            return config.offsets_topic_replication_factor
        return min(config.offsets_topic_replication_factor, len(self._context.topics.placement().brokers))
