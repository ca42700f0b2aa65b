"""The topics of a cluster, as handlers see them: read from the image, changed by whoever controls.

What decides on one broker's own decides here too; its records become znodes. A broker that does not control refuses
with NOT_CONTROLLER, and sends what it makes of its own accord (topics that a client asks for) to the one that does.
Configurations lie in ZooKeeper alone: any broker reads and changes them there, whatever it holds of the topic.
"""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kstore.cluster.assignment import Rotation
from kstore.cluster.image import TOPIC_RESOURCE, ClusterImage, TopicImage
from kstore.cluster.topic_changes import Counts, Placement, TopicCreation
from kstore.cluster.zk.configs import Resource
from kstore.errors import (
    BrokerUnreachableError,
    CorruptMetadataError,
    InvalidRequestError,
    InvalidUpdateVersionError,
    RequestTimedOutError,
    SessionLostError,
    UnknownServerError,
)
from kstore.model import ZERO_UUID
from kstore.protocol.messages.create_topics import CreateTopicsRequest
from kstore.server.membership import Membership, TopicChanges
from kstore.server.topic_wishes import TopicWishes
from kstore.server.topics import Catalog, Decision

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

CREATE_TOPICS_VERSION = 7
TIMEOUT_MS = 30_000
# A configuration that others change all the time is given up after so many.
CONFIG_TRIES = 20
CONFIG_TIMEOUT_S = 10


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

    async def change_configs(self, resources: Sequence[Resource], decide: Decision) -> None:
        """Decides on what stands in ZooKeeper now, and writes it if it still does; else decides anew."""
        try:
            async with asyncio.timeout(CONFIG_TIMEOUT_S):
                for _ in range(CONFIG_TRIES):
                    if await self._change_configs(resources, decide):
                        return
        except (SessionLostError, TimeoutError) as error:
            raise RequestTimedOutError(f"ZooKeeper gave no answer: {error}") from None
        except CorruptMetadataError as error:
            raise UnknownServerError(str(error)) from None
        raise InvalidUpdateVersionError(f"others change the configuration of {resources} all the time")

    async def _change_configs(self, resources: Sequence[Resource], decide: Decision) -> bool:
        """False if somebody else has changed one of them in between."""
        stored = await self._member.configs.read(resources)
        image = self._with({resource: found.configs for resource, found in stored.items()})
        for kind, name in resources:
            # A topic may have been made a moment ago, and this broker not told yet.
            if kind == TOPIC_RESOURCE and name not in image.topics and await self._member.configs.topic_exists(name):
                image = image._replace(topics={**image.topics, name: TopicImage(name, ZERO_UUID, {})})
        wishes = TopicWishes(image, decide(image))
        for resource, configs in wishes.configs.items():
            if not await self._member.configs.write(resource, configs, stored[resource].version):
                return False
        return True

    async def image_with_configs(self, resources: Sequence[Resource]) -> ClusterImage:
        try:
            async with asyncio.timeout(CONFIG_TIMEOUT_S):
                stored = await self._member.configs.read(resources)
        except (SessionLostError, TimeoutError) as error:
            raise RequestTimedOutError(f"ZooKeeper gave no answer: {error}") from None
        except CorruptMetadataError as error:
            raise UnknownServerError(str(error)) from None
        return self._with({resource: found.configs for resource, found in stored.items()})

    def _with(self, configs: Mapping[Resource, Mapping[str, str]]) -> ClusterImage:
        return self.image._replace(configs={**self.image.configs, **configs})

    def creation(self, image: ClusterImage) -> TopicCreation:
        config = self._context.config
        return TopicCreation(image, self.placement(), Counts(config.num_partitions, config.default_replication_factor))

    def placement(self) -> Placement:
        """Over all brokers that are alive; a new topic begins anywhere, so that not all first partitions lie on one."""
        brokers = self._controller.brokers if self._controller.is_active else self.image.brokers
        count = max(len(brokers), 1)
        return Placement(
            sorted(brokers),
            lambda _broker: ZERO_UUID,
            racks={id: broker.rack for id, broker in brokers.items() if broker.rack},
            rotation=lambda: Rotation(random.randrange(count), random.randrange(count)),
        )

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
