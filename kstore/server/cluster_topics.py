"""The topics of a cluster, as handlers see them: read from the image, changed by whoever controls.

What decides on one broker's own decides here too; its records become znodes. A broker that does not control refuses
with NOT_CONTROLLER, and sends what it makes of its own accord (topics that a client asks for) to the one that does.
"""

import logging
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kstore.cluster.image import TOPIC_RESOURCE, ClusterImage, TopicImage
from kstore.cluster.topic_changes import Counts, Placement, TopicCreation
from kstore.cluster.zk.store import new_partition
from kstore.errors import (
    BrokerUnreachableError,
    InvalidRequestError,
    PolicyViolationError,
)
from kstore.model import ZERO_UUID
from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.protocol.messages.metadata_records import ConfigRecord, PartitionRecord, RemoveTopicRecord, TopicRecord
from kstore.server.membership import Membership, TopicChanges
from kstore.server.topics import Catalog, Decision

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

CREATE_TOPICS_VERSION = 7
TIMEOUT_MS = 30_000


class TopicWishes:
    """Records, sorted into what is to be done in ZooKeeper."""

    def __init__(self, image: ClusterImage, records: Sequence[Any]) -> None:
        self.made: dict[str, TopicImage] = {}
        self.grown: dict[str, TopicImage] = {}
        self.deleted: list[str] = []
        self.configs: dict[str, dict[str, str]] = {}
        names = dict(image.topic_names)
        for record in records:
            match record:
                case TopicRecord():
                    names[record.topic_id] = record.name
                    self.made[record.name] = TopicImage(record.name, record.topic_id, {})
                case PartitionRecord():
                    self._add(image, names[record.topic_id], record)
                case RemoveTopicRecord():
                    self.deleted.append(names[record.topic_id])
                case ConfigRecord() if record.resource_type == TOPIC_RESOURCE:
                    self._configure(image, record)
                case _:
                    raise PolicyViolationError(f"a cluster with ZooKeeper cannot be told yet: {record!r}")

    def _add(self, image: ClusterImage, name: str, record: Any) -> None:
        where = self.made if name in self.made else self.grown
        topic = where.get(name) or image.topics[name]
        partitions = {**topic.partitions, record.partition_id: new_partition(tuple(record.replicas))}
        where[name] = topic._replace(partitions=partitions)

    def _configure(self, image: ClusterImage, record: Any) -> None:
        name = record.resource_name
        configs = self.configs.setdefault(name, dict(image.topic_config(name)))
        if record.value is None:
            configs.pop(record.name, None)
        else:
            configs[record.name] = record.value


class ClusterTopics(Catalog):
    def __init__(self, context: "Context", member: Membership, controller: TopicChanges) -> None:
        self._context = context
        self._member = member
        self._controller = controller

    @property
    def image(self) -> ClusterImage:
        return self._member.image

    async def change(self, decide: Decision) -> ClusterImage:
        """As on one broker; raises NotControllerError where another one controls."""
        await self._controller.change_topics(decide)
        return self.image

    def creation(self, image: ClusterImage) -> TopicCreation:
        config = self._context.config
        return TopicCreation(image, self.placement(), Counts(config.num_partitions, config.default_replication_factor))

    def placement(self) -> Placement:
        """Round robin from a broker by chance on, so that not all first partitions lie on one."""
        brokers = sorted(self.image.brokers)
        start = random.randrange(len(brokers)) if brokers else 0
        return Placement(brokers[start:] + brokers[:start], lambda _broker: ZERO_UUID)

    async def auto_create(self, names: Sequence[str]) -> None:
        if self._controller.is_active:
            await super().auto_create(names)
            return
        await self._ask_controller(
            [
                CreateTopicsRequest.CreatableTopic(name=name, num_partitions=-1, replication_factor=-1)
                for name in dict.fromkeys(names)
            ]
        )

    async def create_elsewhere(self, name: str, counts: Counts, configs: Mapping[str, str]) -> None:
        await self._ask_controller(
            [
                CreateTopicsRequest.CreatableTopic(
                    name=name,
                    num_partitions=counts.partitions,
                    replication_factor=counts.replication_factor,
                    configs=[
                        CreateTopicsRequest.CreatableTopicConfig(name=key, value=value)
                        for key, value in configs.items()
                    ],
                )
            ]
        )

    async def _ask_controller(self, topics: list[Any]) -> None:
        request = CreateTopicsRequest(topics=topics, timeout_ms=TIMEOUT_MS)
        try:
            await self._member.ask_controller(request, CREATE_TOPICS_VERSION, timeout_ms=TIMEOUT_MS)
        except (BrokerUnreachableError, InvalidRequestError) as error:
            log.info("topics are not made yet: %s", error)
