"""A member's configurations: read from ZooKeeper when it starts and when topics come to it, and after every change.

A change is told by a znode in /config/changes. What could not be read, because the session dropped, is read again until
it is known. Kafka: ZkConfigManager.scala, ConfigHandler.scala, DynamicBrokerConfig.scala.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from kstore.cluster.image import BROKER_RESOURCE, TOPIC_RESOURCE, ClusterImage
from kstore.cluster.zk.configs import Resource
from kstore.errors import CorruptMetadataError, SessionLostError
from kstore.server.membership import Membership
from kstore.server.topics import log_config

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

RETRY_S = 0.5


class ClusterConfigs:
    def __init__(self, context: "Context", member: Membership, changed: Callable[[], None]) -> None:
        self._context = context
        self._member = member
        self._told = changed
        # Takes a changed configuration of this broker; the composition root gives it.
        self.reconfigure_broker: Callable[[ClusterImage], None] = lambda _image: None
        self._seen: set[str] = set()
        self._is_stale = False
        # What is to be read, and could not be yet.
        self._missing: set[Resource] = set()
        self._reading: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def read_all(self, broker_id: int) -> None:
        """Before the logs are loaded. Raises CorruptMetadataError, SessionLostError."""
        image = self._member.image
        self._member.image = image._replace(configs=await self._member.configs.all(broker_id))

    def lost(self) -> None:
        """The session is over: changes may be told, and forgotten, before there is another one."""
        self._is_stale = True

    async def know(self, names: Iterable[str]) -> None:
        """Reads the configurations of topics that are new to this broker, before their logs are made."""
        await self._read([(TOPIC_RESOURCE, name) for name in names])

    async def follow(self) -> None:
        """Takes over what has changed since the last look, and looks again when there is more."""
        async with self._turn:
            changes = await self._member.configs.changes(
                watcher=self._changed, seen=self._seen, now_ms=self._context.clock.now_ms()
            )
            new = [change.resource for name, change in changes.items() if name not in self._seen]
            if self._is_stale:
                new += await self._member.configs.resources()
                new += self._member.image.configs
            self._seen, self._is_stale = set(changes), False
            await self._read(each for each in dict.fromkeys(new) if each is not None and self._is_ours(each))
            await self._member.configs.forget(name for name, change in changes.items() if change.is_old)

    def _is_ours(self, resource: Resource) -> bool:
        kind, name = resource
        return kind == TOPIC_RESOURCE or name in ("", str(self._context.node_id))

    def _changed(self) -> None:
        async def follow() -> None:
            while not self._member.is_stopping:
                try:
                    return await self.follow()
                except SessionLostError as error:
                    log.info("changed configurations are not taken yet: %s", error)
                    await asyncio.sleep(RETRY_S)

        if not self._member.is_stopping:
            self._context.start_task(follow())

    async def _read(self, resources: Iterable[Resource]) -> None:
        wanted = list(resources)
        if not wanted:
            return
        try:
            for resource, found in (await self._member.configs.read(wanted)).items():
                self._set(resource, found.configs)
            self._missing.difference_update(wanted)
        except SessionLostError as error:
            if not self._missing.issuperset(wanted):
                log.warning("the configuration of %s is not known yet: %s", [name for _, name in wanted], error)
            self._missing.update(wanted)
            if self._reading is None:
                self._reading = self._context.start_task(self._read_missing())
        except CorruptMetadataError as error:
            if len(wanted) == 1:
                log.error("%s", error)
            else:
                # The others are not held up.
                for resource in wanted:
                    await self._read([resource])

    async def _read_missing(self) -> None:
        try:
            while self._missing and not self._member.is_stopping:
                await asyncio.sleep(RETRY_S)
                await self._read(list(self._missing))
        finally:
            self._reading = None

    def _set(self, resource: Resource, config: Mapping[str, str]) -> None:
        image = self._member.image
        if image.configs.get(resource, {}) == config:
            return
        configs = {other: found for other, found in image.configs.items() if other != resource}
        if config:
            configs[resource] = config
        image = self._member.image = image._replace(configs=configs)
        kind, name = resource
        if kind == BROKER_RESOURCE:
            self.reconfigure_broker(image)
        for partition in list(self._context.replicas):
            topic = partition.topic_partition.topic
            if kind == BROKER_RESOURCE or topic == name:
                wanted = log_config(self._context.config, image.topic_config(topic))
                if partition.log.config != wanted:
                    partition.log.update_config(wanted)
                    # What waited for a flush that nobody asks for any more may be seen.
                    self._context.deliver(partition.flushed())
        log.info("the configuration of %s is %s", name or "all brokers", dict(config))
        self._told()
